/** The arguments of a task as somebody typed them. Nothing here needs a page. */

const SHAPE = 'It must be {"args": [ … ], "kwargs": { … }}.';

/**
 * Return the arguments. Throw an Error with the reason if the text cannot be used.
 *
 * @param {string} text
 * @returns {{args: unknown[], kwargs: Record<string, unknown>}}
 */
export function parsedArguments(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Error(`The text is not valid JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw new Error(SHAPE);
  const { args = [], kwargs = {}, ...others } = found;
  const isObject = typeof kwargs === "object" && kwargs !== null && !Array.isArray(kwargs);
  if (!Array.isArray(args) || !isObject || Object.keys(others).length) throw new Error(SHAPE);
  return { args, kwargs };
}
