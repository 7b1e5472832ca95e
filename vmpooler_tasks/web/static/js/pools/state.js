/** The state of a pool in words. The server decides the state; here it is only formatted. Nothing here needs a page. */

/** @import { Tone } from "../shared/tone.js" */
/** @import { Pool } from "../shared/types.js" */

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
  braked: { text: "Brake engaged", tone: "degraded" },
  suspended: { text: "Suspended", tone: "unhealthy" },
  paused: { text: "Paused", tone: "closed" },
  draining: { text: "Draining", tone: "closed" },
  removed: { text: "Not configured", tone: "degraded" },
};

/**
 * Return the state of a pool in words.
 *
 * @param {Pool} pool
 * @param {number} now
 * @returns {PoolState}
 */
export function stateOf(pool, now) {
  const found = ownStateOf(pool, now);
  if (!pool.brake || pool.state === "braked") return found;
  return { ...found, why: [found.why, `Brake engaged: ${pool.brake}`].filter(Boolean).join(". ") };
}

/**
 * @param {Pool} pool
 * @param {number} now
 * @returns {PoolState}
 */
function ownStateOf({ state, size, ready, cloning, since, until, why }, now) {
  /** @type {{text: string, tone: Tone}} */
  const known = Object.hasOwn(STATES, state) ? STATES[state] : { text: state, tone: "closed" };
  const missing = `Short by ${size - ready}`;
  if (state === "suspended") return { ...known, ...suspension(until, now), why };
  if (state === "empty" && size === 0) return { tone: "closed", text: "Size 0", time: null, why: "" };
  if (state === "short") {
    return { ...known, text: cloning ? `${missing}, cloning ${cloning}` : missing, time: null, why: "" };
  }
  if (state === "stalled") return { ...known, text: `${missing}, not moving`, time: timeOf(since, "running"), why };
  return { ...known, time: timeOf(since, "age"), why };
}

/**
 * @param {number | null} at
 * @param {"age" | "running" | "left"} display
 */
const timeOf = (at, display) => (at === null ? null : { at, display });

/**
 * @param {number | null} until
 * @param {number} now
 */
function suspension(until, now) {
  const isTimed = until !== null && until > now;
  return {
    text: isTimed ? "Suspended, next attempt in" : "Suspended until a clone succeeds",
    time: isTimed ? timeOf(until, "left") : null,
  };
}
