/** The filter of dead letters: as in the hash, as the API takes it, and in words. Nothing here needs a page. */

import { epochOf, localTime, serverNow } from "../shared/format.js";

/** @import { Selection } from "../shared/types.js" */

/** @typedef {Partial<Record<string, string>>} Filter only names of NAMES, and no empty values */

/** @type {[string, string][]} */
export const SINCE = [
  ["", "any time"],
  ["15m", "last 15 minutes"],
  ["1h", "last hour"],
  ["6h", "last 6 hours"],
  ["1d", "last day"],
  ["7d", "last 7 days"],
];

/** @type {Record<string, number>} */
const UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 };

/**
 * Filters without a field in the form. Each is shown as a chip that removes it.
 *
 * @type {Record<string, (value: string) => string>}
 */
const CHIPS = {
  error: (value) => `error: ${value}`,
  error_class: (value) => `class: ${value}`,
  vm: (value) => `VM: ${value}`,
  request: (value) => `request: ${value}`,
  until: (value) => `until ${localTime(Number(value))}`,
};

const NAMES = ["search", "queue", "pool", "since", ...Object.keys(CHIPS)];

/**
 * Return the filter that the words of a hash name. A time that cannot be read is left out.
 *
 * @param {Partial<Record<string, string>>} words
 * @returns {Filter}
 */
export function filterOf(words) {
  const named = NAMES.filter((name) => words[name]).map((name) => [name, words[name]]);
  const filter = Object.fromEntries(named);
  if (sinceEpoch(filter.since) === undefined) delete filter.since;
  if (filter.until && numericEpoch(filter.until) === undefined) delete filter.until;
  return filter;
}

/**
 * Return the filter without one of its conditions.
 *
 * @param {Filter} filter
 * @param {string} name
 * @returns {Filter}
 */
export function without(filter, name) {
  const { [name]: _, ...others } = filter;
  return others;
}

/**
 * Return the names of the chips that a filter has, and their text.
 *
 * @param {Filter} filter
 */
export function chipsOf(filter) {
  return Object.entries(CHIPS).flatMap(([name, textOf]) => {
    const value = filter[name];
    return value ? [{ name, text: textOf(value) }] : [];
  });
}

/**
 * Return an epoch. `1h` is one hour ago, whenever the link is opened; a number is an epoch already.
 *
 * @param {string | undefined} since
 */
function sinceEpoch(since) {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(since ?? "") ?? [];
  if (unit) return numericEpoch(String(Math.max(0, Math.floor(serverNow() - Number(count) * UNIT_SECONDS[unit]))));
  return numericEpoch(since);
}

/** @param {string | undefined} text */
function numericEpoch(text) {
  const epoch = /^\d+(\.\d+)?$/.test(text ?? "") ? epochOf(text) : null;
  return epoch === null ? undefined : epoch;
}

/**
 * Return the filter as the parameters of a query.
 *
 * @param {Filter} filter
 * @returns {Record<string, unknown>}
 */
export const asQuery = (filter) => ({ ...filter, since: sinceEpoch(filter.since) });

/**
 * Return the filter as the body of a redrive or a deletion. It ends now if it has no end: dead letters that arrive
 * after the preview are not selected.
 *
 * @param {Filter} filter
 * @returns {Selection}
 */
export function asSelection(filter) {
  const { queue, since, until, ...others } = filter;
  const isEverything = Object.keys(without(filter, "queue")).length === 0;
  return {
    ...others,
    queues: queue ? [queue] : [],
    ...(since ? { since: sinceEpoch(since) } : {}),
    until: until ? Number(until) : Math.ceil(serverNow()),
    ...(isEverything ? { every: true } : {}),
  };
}

/**
 * Return the filter in words, for a dialog.
 *
 * @param {Filter} filter
 */
export function inWords(filter) {
  const words = Object.entries(filter).map(([name, value = ""]) => {
    if (name === "since") return sinceText(value);
    return Object.hasOwn(CHIPS, name) ? CHIPS[name](value) : `${name} “${value}”`;
  });
  return words.length ? words.join(", ") : "all dead letters";
}

/**
 * Return the words for the filter `since`.
 *
 * @param {string} since
 */
export function sinceText(since) {
  const known = SINCE.find(([value]) => value === since);
  if (known) return known[1];
  return /[smhd]$/.test(since) ? `last ${since}` : `since ${localTime(Number(since))}`;
}
