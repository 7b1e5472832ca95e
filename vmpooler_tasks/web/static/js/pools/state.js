/** The state of a pool in words. The server decides the state; here it is only formatted. Nothing here needs a page. */

/** @import { Pool } from "../shared/types.js" */

/** @typedef {"healthy" | "degraded" | "unhealthy" | "working" | "closed"} Tone */

/**
 * `time` stands behind the words: how long ago it started, for how long it has been so, or how long it still lasts.
 *
 * @typedef {object} PoolState
 * @property {Tone} tone
 * @property {string} text
 * @property {{at: number, display: "age" | "running" | "left"} | null} time
 * @property {string} why
 */

/** @type {Record<string, {text: string, tone: Tone}>} */
const STATES = {
  full: { text: "Full", tone: "healthy" },
  short: { text: "Short", tone: "working" },
  empty: { text: "Empty", tone: "degraded" },
  stalled: { text: "Short, not moving", tone: "unhealthy" },
  suspended: { text: "Suspended", tone: "unhealthy" },
  paused: { text: "Paused", tone: "closed" },
  draining: { text: "Draining", tone: "closed" },
};

/**
 * Return the state of a pool in words.
 *
 * @param {Pool} pool
 * @param {number} now
 * @returns {PoolState}
 */
export function stateOf({ state, size, ready, cloning, since, until, why }, now) {
  const known = Object.hasOwn(STATES, state) ? STATES[state] : { text: state, tone: /** @type {Tone} */ ("closed") };
  if (state === "suspended") return suspended(known, until, why, now);
  if (state === "empty" && size === 0) return { tone: "closed", text: "Size 0", time: null, why: "" };
  if (state === "short") {
    const text = cloning ? `Short by ${size - ready}, cloning ${cloning}` : `Short by ${size - ready}`;
    return { tone: known.tone, text, time: null, why: "" };
  }
  if (state === "stalled") {
    const time = since === null ? null : { at: since, display: /** @type {const} */ ("running") };
    return { tone: known.tone, text: `Short by ${size - ready}, not moving`, time, why };
  }
  return { ...known, time: since === null ? null : { at: since, display: "age" }, why };
}

/**
 * @param {{text: string, tone: Tone}} known
 * @param {number | null} until
 * @param {string} why
 * @param {number} now
 * @returns {PoolState}
 */
function suspended(known, until, why, now) {
  if (until !== null && until > now) {
    return { ...known, text: "Suspended, next attempt in", time: { at: until, display: "left" }, why };
  }
  return { ...known, text: "Suspended until a clone succeeds", time: null, why };
}
