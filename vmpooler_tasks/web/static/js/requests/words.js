/** On-demand requests in words. Nothing here needs a page. */

import { plural } from "../shared/format.js";

/** @import { Filters } from "../shared/route.js" */
/** @import { Tone } from "../shared/tone.js" */
/** @import { Request } from "../shared/types.js" */

/** @type {Record<string, {text: string, tone: Tone}>} */
const STATUSES = {
  waiting: { text: "Waiting", tone: "working" },
  filling: { text: "Being filled", tone: "working" },
  ready: { text: "Ready", tone: "healthy" },
  failed: { text: "Failed", tone: "unhealthy" },
  deleted: { text: "Cancelled", tone: "closed" },
};

/** What the list can show, by the filter `status` of the address. "" is what it shows first. */
export const CHOICES = [
  { value: "", label: "Open", statuses: ["waiting", "filling"], none: "No request is waiting or being filled." },
  { value: "failed", label: "Failed", statuses: ["failed"], none: "No request has failed in the last month." },
  { value: "ready", label: "Ready", statuses: ["ready"], none: "No request was filled in the last month." },
  { value: "deleted", label: "Cancelled", statuses: ["deleted"], none: "No request was cancelled in the last month." },
  { value: "all", label: "All", statuses: [], none: "There are no requests." },
];

/** Workers accept a request within seconds. One that waits for longer is shown as a problem. */
const MAX_WAIT_SECONDS = 60;

/** @type {{text: string, tone: Tone}} */
const LATE = { text: "Waiting", tone: "degraded" };

/**
 * Return the status of a request in words.
 *
 * @param {Request} request
 * @param {number} now
 */
export function statusOf({ status, since }, now) {
  if (status === "waiting" && since !== null && now - since > MAX_WAIT_SECONDS) return LATE;
  /** @type {{text: string, tone: Tone}} */
  const unknown = { text: status || "Unknown", tone: "closed" };
  return Object.hasOwn(STATUSES, status) ? STATUSES[status] : unknown;
}

/** @param {Request} request */
export const isOpen = ({ status }) => status === "waiting" || status === "filling";

/**
 * Return the choice that a value of the address names.
 *
 * @param {string | undefined} value
 */
export const choiceOf = (value) => CHOICES.find((choice) => choice.value === (value ?? "")) ?? CHOICES[0];

/**
 * Return the filters of an address as the parameters of the API.
 *
 * @param {Filters} filters
 */
export const asQuery = ({ status, search, pool, user }) => ({
  status: choiceOf(status).statuses,
  search,
  pool,
  user,
});

/**
 * Return what a request waits for, or why it ended: a text for each.
 *
 * @param {Request} request
 */
export function explain(request) {
  if (isOpen(request)) return request.waits_for;
  if (request.status === "ready") return [];
  if (request.failure_reason) return [request.failure_reason];
  return request.status === "failed" ? ["VMPooler gave no reason"] : [];
}

/**
 * Return `2 of 3 VMs`, over all parts of the request.
 *
 * @param {Request} request
 */
export function progressOf({ parts }) {
  const wanted = parts.reduce((sum, part) => sum + part.count, 0);
  const delivered = parts.reduce((sum, part) => sum + part.delivered, 0);
  return `${delivered} of ${plural(wanted, "VM")}`;
}

/**
 * Return the short form of an id, for one line. The whole id is in the title.
 *
 * @param {string} id
 */
export const shortId = (id) => (/^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(id) ? id.slice(0, 8) : id);
