/** Dead letters that have just arrived: they are marked for a while. Nothing here needs a page. */

import { epochOf } from "../shared/format.js";

/** @import { DeadLetter } from "../shared/types.js" */

const MARKED_SECONDS = 60;

/** @param {DeadLetter} deadLetter */
const failedAt = (deadLetter) => epochOf(deadLetter.failed_at) ?? 0;

/**
 * Return those dead letters of `after` that are not in `before` and are no older than the newest one there. Older ones
 * were on a later page, and only moved up.
 *
 * @param {DeadLetter[]} before
 * @param {DeadLetter[]} after
 */
export function newOnes(before, after) {
  const known = new Set(before.map(({ id }) => id));
  const newest = before.reduce((latest, deadLetter) => Math.max(latest, failedAt(deadLetter)), 0);
  return after.filter((deadLetter) => !known.has(deadLetter.id) && failedAt(deadLetter) >= newest);
}

export class Arrivals {
  /** Epochs of the arrival by id. @type {Map<string, number>} */
  #arrivedAt = new Map();

  /**
   * @param {DeadLetter[]} deadLetters
   * @param {number} now
   */
  add(deadLetters, now) {
    for (const { id } of deadLetters) this.#arrivedAt.set(id, now);
  }

  /**
   * Forget those that arrived more than a minute ago.
   *
   * @param {number} now
   */
  expire(now) {
    for (const [id, at] of this.#arrivedAt) if (now - at > MARKED_SECONDS) this.#arrivedAt.delete(id);
  }

  clear() {
    this.#arrivedAt.clear();
  }

  ids() {
    return new Set(this.#arrivedAt.keys());
  }
}
