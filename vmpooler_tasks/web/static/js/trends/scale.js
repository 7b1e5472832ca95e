/** Where the marks of an axis go. */

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

/** Round numbers from 0 to `most` or just above it: about `count` of them, whole ones. */
export function numberTicks(most, count = 4) {
  const raw = Math.max(most, 1) / count;
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(
    1,
    [1, 2, 5, 10].map((factor) => factor * magnitude).find((size) => size >= raw),
  );
  return multiples(step, most);
}

/** The same for seconds. */
export function durationTicks(most, count = 4) {
  const raw = Math.max(most, 1) / count;
  return multiples(DURATION_STEPS.find((step) => step >= raw) ?? Math.ceil(raw / DAY) * DAY, most);
}

function multiples(step, most) {
  const last = Math.max(1, Math.ceil(most / step));
  return Array.from({ length: last + 1 }, (_, index) => index * step);
}

/** Epochs at full hours, minutes or days of local time between two epochs, at most `count` of them. */
export function timeTicks(from, to, count) {
  const step = TIME_STEPS.find((size) => (to - from) / size <= count) ?? 7 * DAY;
  const shift = new Date(to * 1000).getTimezoneOffset() * 60;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) ticks.push(at);
  return { ticks, step };
}

const hourAndMinute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const dayOnly = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric" });

/** A mark of the time axis: the day at midnight and on long axes, else the time. */
export function timeLabel(epoch, step) {
  const date = new Date(epoch * 1000);
  const isMidnight = date.getHours() === 0 && date.getMinutes() === 0;
  return (step >= DAY || isMidnight ? dayOnly : hourAndMinute).format(date);
}
