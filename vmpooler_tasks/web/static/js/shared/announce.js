/** Messages for screen readers: polite, and at most one every few seconds. */

import { byId, setText } from "./dom.js";

const PAUSE_MS = 5000;
const FIRST_PAUSE_MS = 100;

/** @type {{text: string, topic: string}[]} */
let waiting = [];
/** @type {number | null} */
let timer = null;
let lastMs = 0;

/**
 * Announce the text soon. Of several waiting texts of one topic, only the newest is announced.
 *
 * @param {string} text
 */
export function announce(text, topic = text) {
  waiting = [...waiting.filter((message) => message.topic !== topic), { text, topic }];
  timer ??= setTimeout(speak, Math.max(FIRST_PAUSE_MS, lastMs + PAUSE_MS - Date.now()));
}

function speak() {
  setText(byId("announcer"), waiting.map((message) => message.text).join(". "));
  waiting = [];
  timer = null;
  lastMs = Date.now();
}
