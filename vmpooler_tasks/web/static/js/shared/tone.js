/** The tone of a state: its colour, and an icon where it says something good or bad. */

import { icon, part } from "./dom.js";

/** @typedef {"healthy" | "degraded" | "unhealthy" | "working" | "closed"} Tone */

const WITH_ICON = ["healthy", "degraded", "unhealthy"];

/**
 * Show the tone. The icon goes to the element with the class `mark`.
 *
 * @param {HTMLElement} node
 * @param {Tone} tone
 */
export function showTone(node, tone) {
  if (node.dataset.tone === tone) return;
  node.dataset.tone = tone;
  part(node, ".mark").replaceChildren(...(WITH_ICON.includes(tone) ? [icon(tone)] : []));
}
