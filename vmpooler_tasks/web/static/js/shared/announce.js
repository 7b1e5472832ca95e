/** What is said to those who listen: politely, and no more often than one can hear. */

import { byId } from "./dom.js";

const PAUSE_MS = 5000;
let waiting = [];
let timer = null;
let last = 0;

/** Says it soon; of several messages with the same `topic` that wait, only the newest is said. */
export function announce(text, topic = text) {
  waiting = [...waiting.filter((one) => one.topic !== topic), { text, topic }];
  timer ??= setTimeout(speak, Math.max(100, last + PAUSE_MS - Date.now()));
}

function speak() {
  byId("announcer").textContent = waiting.map((one) => one.text).join(". ");
  waiting = [];
  timer = null;
  last = Date.now();
}
