/** The filter of dead letters: as in the hash, as the API takes it, and in words. Nothing here needs a page. */

import { epochOf, localTime, serverNow } from "../shared/format.js";
import { ORDERS, SORTS } from "./sorting.js";

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

export const QUEUES = ["pending", "clone", "ready", "tasks"];

/** @type {Record<string, string[]>} */
const CHOICES = { queue: QUEUES, sort: SORTS, order: ORDERS };

/** The maximum lengths of the API. @type {Record<string, number>} */
const MAX_LENGTHS = { search: 200, pool: 500, vm: 500, request: 500, error_class: 500, error: 5000 };

/** Words of a hash that are no filters: the open dead letter, and the order of the list. */
const OTHER_WORDS = ["letter", "sort", "order"];

/** A word of a hash that cannot be used, and what is allowed. @typedef {{name: string, value: string, allowed: string}} Mistake */

/**
 * Return the filter that the words of a hash name, without those that cannot be used.
 *
 * @param {Partial<Record<string, string>>} words
 * @returns {Filter}
 */
export function filterOf(words) {
  const wrong = mistakesIn(words).map(({ name }) => name);
  return Object.fromEntries(
    NAMES.flatMap((name) => (words[name] && !wrong.includes(name) ? [[name, words[name]]] : [])),
  );
}

/**
 * Return the words of a hash that cannot be used.
 *
 * @param {Partial<Record<string, string>>} words
 * @returns {Mistake[]}
 */
export function mistakesIn(words) {
  return Object.entries(words).flatMap(([name, value = ""]) => {
    const allowed = allowedInstead(name, value);
    return allowed ? [{ name, value, allowed }] : [];
  });
}

/**
 * Return what is allowed if a word cannot be used; undefined if it can.
 *
 * @param {string} name
 * @param {string} value
 * @returns {string | undefined}
 */
function allowedInstead(name, value) {
  if (OTHER_WORDS.includes(name) && !CHOICES[name]) return undefined;
  if (![...NAMES, ...OTHER_WORDS].includes(name)) return `there is no such filter. The filters are ${NAMES.join(", ")}`;
  if (!value) return undefined;
  const choices = CHOICES[name];
  if (choices && !choices.includes(value)) return `it must be one of ${choices.join(", ")}`;
  if (name === "since" && sinceEpoch(value) === undefined)
    return "it must be a duration such as 15m, 2h or 7d, or an epoch";
  if (name === "until" && numericEpoch(value) === undefined) return "it must be an epoch, in seconds";
  return value.length > MAX_LENGTHS[name] ? `it has at most ${MAX_LENGTHS[name]} characters` : undefined;
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
