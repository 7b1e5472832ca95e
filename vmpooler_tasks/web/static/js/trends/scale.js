/** Where the marks of an axis stand, and what they say. Nothing here needs a page. */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [
  MINUTE,
  5 * MINUTE,
  10 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
];
const DURATION_STEPS = [1, 5, 10, 30, ...TIME_STEPS];
const MAX_STEP = 7 * DAY;

/**
 * Return about `count` whole, round numbers from 0 to `max` or just above it.
 *
 * @param {number} max
 */
export function numberTicks(max, count = 4) {
  const raw = Math.max(finite(max), 1) / count;
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  const factor = [1, 2, 5].find((size) => size * magnitude >= raw) ?? 10;
  return multiples(Math.max(1, factor * magnitude), max);
}

/**
 * Return about `count` durations in seconds from 0 to `max` or just above it: whole minutes, hours or days.
 *
 * @param {number} max
 */
export function durationTicks(max, count = 4) {
  const raw = Math.max(finite(max), 1) / count;
  return multiples(DURATION_STEPS.find((step) => step >= raw) ?? Math.ceil(raw / DAY) * DAY, max);
}

/** @param {number} value */
const finite = (value) => (Number.isFinite(value) ? value : 0);

/**
 * @param {number} step
 * @param {number} max
 */
function multiples(step, max) {
  const last = Math.max(1, Math.ceil(finite(max) / step));
  return Array.from({ length: last + 1 }, (_, index) => index * step);
}

/**
 * Return at most `count` epochs between two epochs, at full hours, minutes or days of local time, and their distance.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} count
 */
export function timeTicks(from, to, count) {
  const wanted = (to - from) / Math.max(1, count);
  const step = TIME_STEPS.find((size) => size >= wanted) ?? Math.ceil(wanted / MAX_STEP) * MAX_STEP;
  const shift = new Date(to * 1000).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) ticks.push(at);
  return { ticks, step };
}

const hourAndMinute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayOnly = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });

/**
 * Return the label of a mark on the time axis: the day at midnight and on long axes, else the time.
 *
 * @param {number} epoch
 * @param {number} step
 */
export function timeLabel(epoch, step) {
  const date = new Date(epoch * 1000);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  return (step >= DAY || isMidnight ? dayOnly : hourAndMinute).format(date);
}
