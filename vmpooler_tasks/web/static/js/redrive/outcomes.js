/** The outcomes of a run in words. Nothing here needs a page. */

import { number } from "../shared/format.js";

/** @import { RedriveRun } from "../shared/types.js" */

/** @type {["redriven" | "obsolete" | "kept" | "gone" | "failed_again", string][]} */
const OUTCOMES = [
  ["redriven", "redriven"],
  ["obsolete", "closed as obsolete"],
  ["kept", "kept"],
  ["gone", "gone meanwhile"],
  ["failed_again", "failed again"],
];

/** @type {Record<string, string>} */
const STATES = {
  running: "is running",
  done: "is done",
  cancelled: "was cancelled",
  stopped: "stopped: too many dead letters failed again. Fix the cause, then start a new redrive",
};

/**
 * Return the outcomes so far: `3 redriven, 1 kept`.
 *
 * @param {RedriveRun} run
 */
export function countsText(run) {
  const counts = OUTCOMES.filter(([name]) => run[name]).map(([name, what]) => `${number(run[name])} ${what}`);
  return counts.join(", ") || "nothing yet";
}

/**
 * Return the state as a sentence.
 *
 * @param {RedriveRun} run
 */
export const stateText = (run) => `Redrive ${STATES[run.state] ?? run.state}`;
