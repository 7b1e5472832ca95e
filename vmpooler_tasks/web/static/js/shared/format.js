/** Numbers, times and ages as people read them. Times from the server are epochs in seconds or ISO texts. */

import { el, setText } from "./dom.js";

const whole = new Intl.NumberFormat("en-US");
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});
const dayAndClock = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hour12: false,
});

let ahead = 0; // seconds that the server's clock is ahead of the browser's

/** Ages are counted by the server's clock: the one on a laptop may be wrong. */
export function serverTimeIs(epoch) {
  ahead = epoch - Date.now() / 1000;
}

export const serverNow = () => Date.now() / 1000 + ahead;

export const number = (value) => (Number.isFinite(value) ? whole.format(value) : String(value ?? "–"));

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Seconds since the epoch, or null for what is no time. */
export function epochOf(value) {
  if (value === null || value === undefined || value === "") return null;
  const seconds = Number.isFinite(Number(value)) ? Number(value) : Date.parse(value) / 1000;
  return Number.isFinite(seconds) ? seconds : null;
}

const iso = (epoch) => new Date(epoch * 1000).toISOString().replace(/\.000Z$/, "Z");

/** Local time; with the day unless it is today. */
export function localTime(epoch) {
  const date = new Date(epoch * 1000);
  return (date.toDateString() === new Date().toDateString() ? clock : dayAndClock).format(date);
}

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** `2 h 5 min`: whole units, and a second one only where it says something. */
export function duration(seconds) {
  const total = Math.max(0, Math.round(seconds));
  const first = UNITS.findIndex(([, size]) => total >= size);
  if (first < 0) return "0 s";
  const [name, size] = UNITS[first];
  const [nextName, nextSize] = UNITS[first + 1] ?? ["", Infinity];
  const many = Math.floor(total / size);
  const rest = Math.floor((total % size) / nextSize);
  return `${many} ${name}${rest && many < 10 ? ` ${rest} ${nextName}` : ""}`;
}

export function ago(epoch) {
  const seconds = serverNow() - epoch;
  if (seconds < -1) return `in ${duration(-seconds)}`;
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

/** A `<time>`; `as` is "age" (it ticks), "left" (until then; it ticks) or "clock". UTC stands in the title. */
export function timeEl(value, as = "clock") {
  const node = el("time");
  setTime(node, value, as);
  return node;
}

export function setTime(node, value, as = "clock") {
  const epoch = epochOf(value);
  node.dataset.epoch = epoch ?? "";
  node.dataset.as = as;
  if (epoch === null) {
    setText(node, "never");
    return;
  }
  node.dateTime = iso(epoch);
  node.title = iso(epoch);
  sayTime(node);
}

function sayTime(node) {
  const epoch = Number(node.dataset.epoch);
  if (node.dataset.as === "age") setText(node, ago(epoch));
  else if (node.dataset.as === "left") setText(node, duration(Math.max(0, epoch - serverNow())));
  else setText(node, localTime(epoch));
}

/** Once a second all ages on the page grow. */
export function startTicking() {
  setInterval(() => {
    if (document.hidden) return;
    for (const node of document.querySelectorAll("time[data-as='age'], time[data-as='left']")) {
      if (node.dataset.epoch) sayTime(node);
    }
  }, 1000);
}
