/** The words and figures of a purge's plan and report. */

import { el, notice } from "../shared/dom.js";
import { number, plural, serverNow } from "../shared/format.js";
import { timeEl } from "../shared/times.js";

/** @import { Counts, PurgeReport } from "../shared/types.js" */

const MAX_ERRORS = 10;

/** Queue by queue, what a purge does to an entry. @type {Record<string, string>} */
const EFFECTS = {
  pending: "VMs stuck in pending",
  ready: "VMs idle in ready: they move to completed",
  completed: "VMs stuck in completed",
  orphaned: "metadata of VMs in no queue: it gets an expiry",
  requests: "requests that waited too long: they are marked as failed",
};

export const QUEUES = Object.keys(EFFECTS);

/** @param {PurgeReport} report */
export const entriesText = (report) => plural(report.total, "entry", "entries");

/**
 * Return the plan in words: the total, the counts by queue, and the errors.
 *
 * @param {PurgeReport} plan
 */
export function planSummary(plan) {
  const made = el(
    "span",
    { class: "muted" },
    "Plan made at ",
    timeEl(serverNow()),
    `, in ${plan.duration_seconds.toFixed(2)} s.`,
  );
  const total = el("strong", { text: plan.total ? entriesText(plan) : "Nothing" });
  return [el("p", {}, total, " would be purged now. ", made), countsList(plan.found), ...errorNotices(plan)];
}

/**
 * Return the counts by queue as a list.
 *
 * @param {Counts} counts
 */
export function countsList(counts) {
  const items = Object.entries(counts)
    .filter(([, count]) => count)
    .map(([queue, count]) => el("li", {}, el("strong", { text: number(count) }), ` ${queue}: ${EFFECTS[queue] ?? ""}`));
  return el("ul", { class: "expected" }, items);
}

/**
 * Return the first errors of a report as notices.
 *
 * @param {PurgeReport} report
 */
export function errorNotices(report) {
  const hidden = report.error_count - MAX_ERRORS;
  return [
    ...report.errors.slice(0, MAX_ERRORS).map((text) => notice("warn", text)),
    ...(hidden > 0 ? [el("p", { class: "muted", text: `${plural(hidden, "more error")}: see the log.` })] : []),
  ];
}
