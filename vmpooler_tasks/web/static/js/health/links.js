/** The links of a health reason: to the section of this page that shows more, and to the runbook. */

import { el, safeUrl } from "../shared/dom.js";
import { hashOf, poolHash } from "../shared/route.js";

/** @import { Reason } from "../shared/types.js" */

/** Sections whose list can be narrowed to a pool and a queue. */
const FILTERED = ["letters", "purge"];

/** @typedef {{text: string, section: string, queue?: string}} View */

/** @type {Record<string, View>} */
const VIEWS = {
  dlq_size: { text: "Dead letters", section: "letters" },
  dlq_near_cap: { text: "These dead letters", section: "letters" },
  stuck_vms: { text: "Dead letters of clones", section: "letters", queue: "clone" },
  pending_queue: { text: "Pools", section: "pools" },
  ready_queue: { text: "Pools", section: "pools" },
  all_pools_empty: { text: "Pools", section: "pools" },
  inspection_stalled: { text: "Workers", section: "workers" },
  clones_stalled: { text: "Workers", section: "workers" },
  requests_stalled: { text: "Requests", section: "requests" },
  orders_waiting: { text: "Workers", section: "workers" },
  no_worker: { text: "Workers", section: "workers" },
  clock: { text: "Workers", section: "workers" },
  configurations_differ: { text: "Workers", section: "workers" },
  worker_changed: { text: "Workers", section: "workers" },
  empty_pool: { text: "Its dead letters", section: "letters" },
  purge_overdue: { text: "Purge", section: "purge" },
  purge_unfinished: { text: "Purge", section: "purge" },
  purge_failed: { text: "Purge", section: "purge" },
  purge_aborted: { text: "Plan of this purge", section: "purge" },
  breaker_open: { text: "Dead letters of clones", section: "letters", queue: "clone" },
  recycled_repeatedly: { text: "Its dead letters", section: "letters", queue: "ready" },
  dns_failing: { text: "Dead letters of clones", section: "letters", queue: "clone" },
  brake: { text: "Pools", section: "pools" },
  pool_broken: { text: "Its dead letters", section: "letters", queue: "clone" },
};

/**
 * Return the hash of the section that shows more about a reason, or null.
 *
 * @param {Reason} reason
 */
export function sectionOf(reason) {
  const view = Object.hasOwn(VIEWS, reason.code) ? VIEWS[reason.code] : null;
  if (!view) return null;
  const filters = FILTERED.includes(view.section) ? { pool: reason.pool, queue: view.queue ?? reason.queue } : {};
  return { text: view.text, href: hashOf(view.section, filters) };
}

/**
 * Return the links of a reason.
 *
 * @param {Reason} reason
 */
export function createLinks(reason) {
  const section = sectionOf(reason);
  return [
    reason.pool && el("a", { href: poolHash(reason.pool), text: "This pool" }),
    section && el("a", { href: section.href, text: section.text }),
    reason.runbook &&
      el(
        "a",
        { href: safeUrl(reason.runbook), target: "_blank", rel: "noopener noreferrer" },
        "Runbook",
        el("span", { class: "unseen", text: ` for ${reason.code}, in a new window` }),
      ),
  ];
}
