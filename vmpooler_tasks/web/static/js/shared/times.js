/** Times on the page: `<time>` elements, some of which tick. */

import { el, setText } from "./dom.js";
import { ago, duration, epochOf, isoTime, localTime, serverNow } from "./format.js";

/**
 * "age" (`5 s ago`), "running" (`for 5 s`) and "left" (the time until then) tick; "clock" is local time.
 *
 * @typedef {"age" | "running" | "left" | "clock"} Display
 */

/**
 * Return a `<time>`. Its title is the time in UTC.
 *
 * @param {unknown} value an epoch or an ISO text; the text is "never" for anything else
 * @param {Display} [display]
 */
export function timeEl(value, display = "clock") {
  const node = el("time");
  setTime(node, value, display);
  return node;
}

/**
 * Set the time that a `<time>` shows.
 *
 * @param {HTMLTimeElement} node
 * @param {unknown} value
 * @param {Display} [display]
 */
export function setTime(node, value, display = "clock") {
  const epoch = epochOf(value);
  node.dataset.epoch = String(epoch ?? "");
  node.dataset.display = display;
  if (epoch === null) {
    node.removeAttribute("datetime");
    node.removeAttribute("title");
    setText(node, "never");
    return;
  }
  node.dateTime = isoTime(epoch);
  node.title = isoTime(epoch);
  writeText(node);
}

/** @param {HTMLTimeElement} node */
function writeText(node) {
  const epoch = Number(node.dataset.epoch);
  if (node.dataset.display === "age") setText(node, ago(epoch));
  else if (node.dataset.display === "running") setText(node, `for ${duration(Math.max(0, serverNow() - epoch))}`);
  else if (node.dataset.display === "left") setText(node, duration(Math.max(0, epoch - serverNow())));
  else setText(node, localTime(epoch));
}

/** Update all ticking times on the page once a second, from now on. */
export function startTicking() {
  setInterval(() => {
    if (document.hidden) return;
    for (const node of document.querySelectorAll("time:not([data-display='clock'])")) {
      if (node instanceof HTMLTimeElement && node.dataset.epoch) writeText(node);
    }
  }, 1000);
}
