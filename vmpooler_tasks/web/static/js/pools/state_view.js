/** The state of a pool as an element: an icon, words, a time and the reason. */

import { el, part, setText, show, timeIn } from "../shared/dom.js";
import { setTime, timeEl } from "../shared/times.js";
import { showTone } from "../shared/tone.js";

/** @import { PoolState } from "./state.js" */

export const createState = () =>
  el(
    "div",
    { class: "state" },
    el("span", { class: "mark" }),
    el("span", {}, el("span", { class: "words" }), timeEl(null, "age"), el("span", { class: "why" })),
  );

/**
 * @param {HTMLElement} place
 * @param {PoolState} state
 */
export function updateState(place, { tone, text, time, why }) {
  showTone(place, tone);
  setText(part(place, ".words"), text);
  show(timeIn(place), time !== null);
  if (time) setTime(timeIn(place), time.at, time.display);
  setText(part(place, ".why"), why);
}
