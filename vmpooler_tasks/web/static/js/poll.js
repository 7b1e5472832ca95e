/** Polling of the overview: every two seconds, less often in a background tab, and ever less often while it fails. */

import { get } from "./shared/api.js";

/** @import { Overview } from "./shared/types.js" */

const INTERVAL_MS = 2000;
const HIDDEN_INTERVAL_MS = 15_000;
const MAX_INTERVAL_MS = 16_000;

/**
 * Return the milliseconds until the next request.
 *
 * @param {number} failures in a row
 * @param {boolean} isHidden
 */
export function pauseAfter(failures, isHidden) {
  if (isHidden) return HIDDEN_INTERVAL_MS;
  return Math.min(MAX_INTERVAL_MS, INTERVAL_MS * 2 ** Math.max(0, failures - 1));
}

export class Poll {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #failures = 0;
  #isRunning = false;
  #generation = 0;

  /**
   * @param {(overview: Overview) => void} onOverview
   * @param {(error: unknown, nextAttemptMs: number) => void} onFailure
   */
  constructor(onOverview, onFailure) {
    this.onOverview = onOverview;
    this.onFailure = onFailure;
    document.addEventListener("visibilitychange", () => !document.hidden && this.#requestNow());
    window.addEventListener("online", () => this.#requestNow());
  }

  start() {
    this.#isRunning = true;
    this.#failures = 0;
    this.#requestNow();
  }

  stop() {
    this.#isRunning = false;
    this.#generation += 1;
    clearTimeout(this.#timer);
  }

  /** Request the overview at once. The response to an earlier request is dropped. */
  #requestNow() {
    if (!this.#isRunning) return;
    clearTimeout(this.#timer);
    this.#generation += 1;
    this.#request(this.#generation);
  }

  /** @param {number} generation */
  async #request(generation) {
    const [result] = await Promise.allSettled([get("overview")]);
    if (generation !== this.#generation) return;
    const hasFailed = result.status === "rejected";
    this.#failures = hasFailed ? this.#failures + 1 : 0;
    const pauseMs = pauseAfter(this.#failures, document.hidden);
    this.#timer = setTimeout(() => this.#requestNow(), pauseMs);
    if (hasFailed) this.onFailure(result.reason, pauseMs);
    else this.onOverview(result.value);
  }
}
