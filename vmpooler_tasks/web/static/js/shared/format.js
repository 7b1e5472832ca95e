/** Numbers, durations, times and text from outside as text. Nothing here needs a page. */

const NOTHING = "–";

/** What is not visible or changes how the text around it is shown: controls, right-to-left marks, other blanks. */
const NOT_PRINTABLE = /(?![\n\t ])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/gu;

const MAX_EPOCH = 8.64e12; // seconds; no Date of JavaScript is later

const wholeNumber = new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 });

/** @type {Intl.DateTimeFormatOptions} */
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const clock = new Intl.DateTimeFormat(undefined, CLOCK);
const dayAndClock = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", ...CLOCK });
const dateAndClock = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  ...CLOCK,
});

/** @type {[string, number][]} */
const UNITS = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

let secondsAhead = 0; // the server's clock minus the browser's

/**
 * Set the server's time. Ages are counted by it: the clock of a laptop may be wrong.
 *
 * @param {number} epoch
 */
export function setServerTime(epoch) {
  if (Number.isFinite(epoch)) secondsAhead = epoch - Date.now() / 1000;
}

/** Return the server's time as an epoch. */
export const serverNow = () => Date.now() / 1000 + secondsAhead;

/**
 * Return a number with separators, text as it is, and a dash for everything else.
 *
 * @param {unknown} value
 */
export function number(value) {
  if (typeof value === "string") return value;
  return typeof value === "number" && Number.isFinite(value) ? wholeNumber.format(value) : NOTHING;
}

/**
 * Return `1 entry`, `2 entries`.
 *
 * @param {number} count
 * @param {string} one
 */
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** @param {string} word */
export const capitalized = (word) => word[0].toUpperCase() + word.slice(1);

/**
 * Return seconds since the epoch, or null if the value is no time. It is an epoch, an epoch as text or an ISO text.
 *
 * @param {unknown} value
 */
export function epochOf(value) {
  if (typeof value !== "number" && typeof value !== "string") return null;
  const text = String(value).trim();
  if (text === "") return null;
  const seconds = Number.isNaN(Number(text)) ? Date.parse(text) / 1000 : Number(text);
  return Math.abs(seconds) <= MAX_EPOCH ? seconds : null;
}

/**
 * Return the time in UTC, as an ISO text.
 *
 * @param {number} epoch
 */
export const isoTime = (epoch) => new Date(epoch * 1000).toISOString().replace(/\.000Z$/, "Z");

/**
 * Return local time: with the day unless it is today, and with the year unless it is this year.
 *
 * @param {number} epoch
 */
export function localTime(epoch) {
  const date = new Date(epoch * 1000);
  if (Number.isNaN(date.getTime())) return NOTHING;
  const today = new Date();
  if (date.toDateString() === today.toDateString()) return clock.format(date);
  return (date.getFullYear() === today.getFullYear() ? dayAndClock : dateAndClock).format(date);
}

/**
 * Return `45 s`, `2 h 5 min`, `12 d`: whole units, and a second unit while the first is below ten.
 *
 * @param {unknown} seconds a negative number counts as zero
 */
export function duration(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return NOTHING;
  const total = Math.max(0, Math.round(seconds));
  const first = UNITS.findIndex(([, size]) => total >= size);
  if (first < 0) return "0 s";
  const [name, size] = UNITS[first];
  const [nextName, nextSize] = UNITS[first + 1] ?? ["", Infinity];
  const whole = Math.floor(total / size);
  const rest = Math.floor((total % size) / nextSize);
  return `${number(whole)} ${name}${rest && whole < 10 ? ` ${rest} ${nextName}` : ""}`;
}

/**
 * Return how long ago a time was by the server's clock, or in how long it will be.
 *
 * @param {number} epoch
 */
export function ago(epoch, now = serverNow()) {
  const seconds = now - epoch;
  if (seconds < -1) return `in ${duration(-seconds)}`;
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

/**
 * Return the text with characters that are not printable escaped, as the command line and the log do: `\\u202e`. A line
 * break and a tab stay.
 *
 * @param {string} text
 */
export const visible = (text) => text.replace(NOT_PRINTABLE, escaped);

/** @param {string} character */
function escaped(character) {
  const code = character.codePointAt(0) ?? 0;
  const [sign, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${sign}${code.toString(16).padStart(digits, "0")}`;
}

/**
 * Return the value as indented JSON, with JSON's own escapes for characters that are not printable: a terminal into which
 * it is pasted obeys some of them.
 *
 * @param {unknown} value
 */
export const printableJson = (value) =>
  JSON.stringify(value, null, 2).replace(NOT_PRINTABLE, (character) =>
    Array.from({ length: character.length }, (_, place) => escapedUnit(character.charCodeAt(place))).join(""),
  );

/** @param {number} unit */
const escapedUnit = (unit) => `\\u${unit.toString(16).padStart(4, "0")}`;
