/** The health status, its reasons, and what to do about each reason. */

import { confirmButton, retryButton, showReport } from "../pools/orders.js";
import { announce } from "../shared/announce.js";
import { mayOperate } from "../shared/api.js";
import { copyButton } from "../shared/controls.js";
import { byId, el, icon, part, setText, timeIn } from "../shared/dom.js";
import { plural } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { setTime, timeEl } from "../shared/times.js";
import { createLinks } from "./links.js";
import { showInTab } from "./tab.js";

/** @import { Health, Reason } from "../shared/types.js" */
/** @import { TabStatus } from "./tab.js" */

/** @type {Record<string, string>} */
const STATUSES = { healthy: "Healthy", degraded: "Degraded", unhealthy: "Unhealthy" };
/** @type {Record<string, string>} */
const MEANINGS = {
  healthy: "Every value is within its threshold.",
  degraded: "These problems need a fix:",
  unhealthy: "These problems need a fix now:",
};

/** @type {Reason} */
const CHECKS_ARE_OFF = {
  code: "health_off",
  severity: "degraded",
  found: "health checks are switched off: this status is not updated",
  remedy: "set `health_check_enabled: true`",
};

/** @type {string | null} */
let announced = null;

/**
 * Show the health status.
 *
 * @param {Health} health
 * @param {boolean} isEnabled whether health checks run at all
 */
export function showHealth(health, isEnabled) {
  const status = /** @type {TabStatus} */ (Object.hasOwn(STATUSES, health.status) ? health.status : "unknown");
  const word = STATUSES[status] ?? String(health.status || "Unknown");
  const reasons = isEnabled ? health.reasons : [CHECKS_ARE_OFF, ...health.reasons];
  const hasProblems = reasons.length > 0 && status !== "healthy";
  const words = hasProblems ? `${word}: ${plural(reasons.length, "problem")}` : word;
  showChip(status, word);
  showInTab(status, words);
  const place = byId("health");
  if (place.dataset.status !== status) {
    place.dataset.status = status;
    place.replaceChildren(...frame(status));
  }
  setText(part(place, ".health-word"), words);
  setTime(timeIn(part(place, ".last-check")), health.last_check, "age");
  setText(part(place, ".measured"), measuredText(health));
  reconcile(part(place, ".reasons"), reasons, keyOf, createReason, updateReason);
  announceChange(status, word, health.reasons);
}

/** @param {Reason} reason */
const keyOf = ({ code, pool, queue, provider, host, key }) => [code, pool, queue, provider, host, key].join("/");

/** @param {string} status */
function frame(status) {
  return [
    el(
      "div",
      { class: `health ${status}` },
      icon(status),
      el(
        "div",
        {},
        el("p", { class: "health-word" }),
        el("p", { class: "health-meaning", text: MEANINGS[status] ?? "" }),
      ),
      el(
        "div",
        { class: "health-facts" },
        el("p", { class: "last-check" }, "Last check ", timeEl(null, "age")),
        el("p", { class: "measured" }),
      ),
    ),
    el("ul", { class: "reasons", "aria-label": "Reasons" }),
  ];
}

/** @param {Health} health */
function measuredText(health) {
  /** @type {[number | undefined, string][]} */
  const counts = [
    [health.stuck_vm_count, "stuck"],
    [health.orphaned_metadata_count, "orphaned"],
  ];
  return counts
    .filter(([count]) => Number.isFinite(count))
    .map(([count, what]) => `${count} ${what}`)
    .join(" · ");
}

/**
 * @param {string} status
 * @param {string} word
 */
function showChip(status, word) {
  const chip = byId("status-chip");
  if (chip.dataset.status === status) return;
  chip.dataset.status = status;
  chip.className = `status-chip ${status}`;
  chip.replaceChildren(icon(status), el("span", { text: word }));
}

/** @param {Reason} reason */
function createReason(reason) {
  return el(
    "li",
    {},
    el(
      "p",
      { class: "found" },
      icon(reason.severity),
      el("span", { class: "severity" }),
      el("span", { class: "words" }),
    ),
    el("p", { class: "remedy" }),
    el("div", { class: "links" }, orderOf(reason), createLinks(reason)),
  );
}

/**
 * Return the button that may end a suspension or a brake, for those who may press it.
 *
 * @param {Reason} reason
 */
function orderOf({ code, pool, provider }) {
  const name = code === "pool_broken" || code === "brake" ? pool : code === "breaker_open" ? provider : undefined;
  if (!name || !mayOperate()) return null;
  const orderButton = code === "brake" ? confirmButton : retryButton;
  return orderButton({ kind: code === "breaker_open" ? "providers" : "pools", name }, (report) =>
    showReport(byId("order-note"), report),
  );
}

/**
 * @param {HTMLElement} node
 * @param {Reason} reason
 */
function updateReason(node, reason) {
  node.className = `reason ${reason.severity}`;
  setText(part(node, ".severity"), STATUSES[reason.severity] ?? reason.severity);
  setText(part(node, ".words"), reason.found);
  const remedy = part(node, ".remedy");
  if (remedy.dataset.text === reason.remedy) return;
  remedy.dataset.text = reason.remedy;
  remedy.replaceChildren(
    el("span", { class: "lead", "aria-hidden": "true", text: "→ " }),
    ...withCommands(reason.remedy),
  );
}

/**
 * Return the text with its parts between backticks as code. A command has a button that copies it.
 *
 * @param {string} text
 */
function withCommands(text) {
  return String(text)
    .split("`")
    .map((piece, index) => {
      if (index % 2 === 0) return piece;
      const code = el("code", { text: piece });
      const isCommand = piece.startsWith("vmpooler-tasks ") || piece.startsWith("celery ");
      return isCommand ? el("span", { class: "command" }, code, copyButton(piece)) : code;
    });
}

/**
 * @param {string} status
 * @param {string} word
 * @param {Reason[]} reasons
 */
function announceChange(status, word, reasons) {
  const news = `${status} ${reasons.map(keyOf).sort().join()}`;
  if (announced !== null && announced !== news) {
    const found = reasons.map((reason) => reason.found).join("; ");
    announce(`Status: ${word}${found ? `. ${found}` : ""}`, "status");
  }
  announced = news;
}
