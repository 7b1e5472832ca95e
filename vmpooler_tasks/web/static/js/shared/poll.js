/** Asks for the overview again and again: every two seconds, seldom when nobody looks, ever less while it fails. */

import { get } from "./api.js";

const SEEN_MS = 2000;
const HIDDEN_MS = 15_000;
const MOST_MS = 16_000;

export class Poll {
  #timer = null;
  #failures = 0;
  #running = false;
  #generation = 0;

  /** `onOverview(data)`, and `onFailure(error, nextTryMs)` for each time that there is none. */
  constructor(onOverview, onFailure) {
    this.onOverview = onOverview;
    this.onFailure = onFailure;
    document.addEventListener("visibilitychange", () => !document.hidden && this.now());
    window.addEventListener("online", () => this.now());
  }

  start() {
    this.#running = true;
    this.#failures = 0;
    this.now();
  }

  stop() {
    this.#running = false;
    this.#generation += 1;
    clearTimeout(this.#timer);
  }

  /** Asks at once; an answer that is still under way will not count. */
  now() {
    if (!this.#running) return;
    clearTimeout(this.#timer);
    this.#generation += 1;
    this.#ask(this.#generation);
  }

  async #ask(generation) {
    let failure = null;
    let data = null;
    try {
      data = await get("overview");
    } catch (error) {
      failure = error;
    }
    if (generation !== this.#generation) return;
    this.#failures = failure ? this.#failures + 1 : 0;
    const wait = this.#wait();
    this.#timer = setTimeout(() => this.now(), wait);
    if (failure) this.onFailure(failure, wait);
    else this.onOverview(data);
  }

  #wait() {
    if (document.hidden) return HIDDEN_MS;
    return Math.min(MOST_MS, SEEN_MS * 2 ** Math.max(0, this.#failures - 1));
  }
}
