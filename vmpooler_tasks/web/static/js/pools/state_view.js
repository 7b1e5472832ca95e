/** The state of a pool as an element: an icon, words, a time and the reason. */

import { el, icon, part, setText, show, timeIn } from "../shared/dom.js";
import { setTime, timeEl } from "../shared/times.js";

/** @import { PoolState } from "./state.js" */

/** Tones with an icon: those that say something good or bad. */
const WITH_ICON = new Set(["healthy", "degraded", "unhealthy"]);

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
  if (place.dataset.tone !== tone) {
    place.dataset.tone = tone;
    part(place, ".mark").replaceChildren(...(WITH_ICON.has(tone) ? [icon(tone)] : []));
  }
  setText(part(place, ".words"), text);
  show(timeIn(place), time !== null);
  if (time) setTime(timeIn(place), time.at, time.display);
  setText(part(place, ".why"), why);
}
