/** Differences between two lists of keys. Nothing here needs a page. */

/**
 * Return the keys, with a number added to each one that occurred before: `a, b, a` becomes `a, b, a#2`.
 *
 * @param {string[]} keys
 */
export function uniqueKeys(keys) {
  const used = new Set();
  const counts = new Map();
  return keys.map((key) => {
    let count = counts.get(key) ?? 1;
    let unique = key;
    while (used.has(unique)) {
      count += 1;
      unique = `${key}#${count}`;
    }
    counts.set(key, count);
    used.add(unique);
    return unique;
  });
}

/**
 * Return the steps that turn one list of keys into another: first the removals, then the insertions in their order.
 * An insertion puts its key at an index. The key is a new one, or one that stands further behind and moves. Keys that
 * keep their order are in no step, so that their elements keep focus and selection.
 *
 * @param {string[]} before without repetition
 * @param {string[]} after without repetition
 * @returns {{removals: string[], insertions: {key: string, index: number}[]}}
 */
export function stepsBetween(before, after) {
  const wanted = new Set(after);
  const removals = before.filter((key) => !wanted.has(key));
  const present = before.filter((key) => wanted.has(key));
  const insertions = [];
  for (const [index, key] of after.entries()) {
    if (present[index] === key) continue;
    const from = present.indexOf(key, index);
    if (from >= 0) present.splice(from, 1);
    present.splice(index, 0, key);
    insertions.push({ key, index });
  }
  return { removals, insertions };
}
