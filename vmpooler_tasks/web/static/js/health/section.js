/** The verdict, why it is so, and what to do about each reason. */

import { announce } from "../shared/announce.js";
import { copyButton } from "../shared/dialogs.js";
import { byId, el, icon, reconcile, setText } from "../shared/dom.js";
import { setTime, timeEl } from "../shared/format.js";
import { link } from "../shared/route.js";

const WORDS = { healthy: "Healthy", degraded: "Degraded", unhealthy: "Unhealthy" };
const MEANING = {
  healthy: "All within the thresholds.",
  degraded: "It works, but look at this:",
  unhealthy: "Something needs you now:",
};

let said = null;

/** `health` as in the overview; `enabled` is whether checks are made at all. */
export function showStatus(health, enabled) {
  const status = WORDS[health.status] ? health.status : "unknown";
  const word = WORDS[status] ?? String(health.status ?? "Unknown");
  showChip(status, word);
  const place = byId("verdict");
  if (place.dataset.status !== status) {
    place.dataset.status = status;
    place.replaceChildren(...frame(status, word));
  }
  setTime(place.querySelector(".last-check time"), health.last_check, "age");
  setText(place.querySelector(".measured"), measured(health));
  const off = enabled
    ? []
    : [
        {
          code: "health_off",
          severity: "degraded",
          found: "health checks are switched off: this verdict is not renewed",
          remedy: "set `health_check_enabled: true`",
        },
      ];
  reconcile(place.querySelector(".reasons"), [...off, ...health.reasons], keyOf, makeReason, updateReason);
  speak(status, word, health.reasons);
}

const keyOf = (reason) => [reason.code, reason.pool, reason.queue, reason.provider].join("/");

function frame(status, word) {
  return [
    el(
      "div",
      { class: `verdict ${status}` },
      icon(status),
      el(
        "div",
        {},
        el("p", { class: "verdict-word", text: word }),
        el("p", { class: "verdict-meaning", text: MEANING[status] ?? "" }),
      ),
      el(
        "div",
        { class: "verdict-facts" },
        el("p", { class: "last-check" }, "Last check ", timeEl(null, "age")),
        el("p", { class: "measured" }),
      ),
    ),
    el("ul", { class: "reasons", "aria-label": "Reasons" }),
  ];
}

function measured(health) {
  const parts = [
    [health.dlq_total_size, "dead letters"],
    [health.stuck_vm_count, "stuck"],
    [health.orphaned_metadata_count, "orphaned"],
  ];
  return parts
    .filter(([count]) => Number.isFinite(count))
    .map(([count, what]) => `${count} ${what}`)
    .join(" · ");
}

function showChip(status, word) {
  const chip = byId("verdict-chip");
  document.title = `${word} · vmpooler-tasks`;
  if (chip.dataset.status === status) return;
  chip.dataset.status = status;
  chip.className = `verdict-chip ${status}`;
  chip.replaceChildren(icon(status), el("span", { text: word }));
}

function makeReason(reason) {
  return el(
    "li",
    { class: `reason ${reason.severity}` },
    el(
      "p",
      { class: "found" },
      icon(reason.severity),
      el("span", { class: "severity", text: WORDS[reason.severity] ?? reason.severity }),
      el("span", { class: "words" }),
    ),
    el("p", { class: "remedy" }),
    el("p", { class: "links" }, ...linksOf(reason)),
  );
}

function updateReason(node, reason) {
  node.className = `reason ${reason.severity}`;
  setText(node.querySelector(".severity"), WORDS[reason.severity] ?? reason.severity);
  setText(node.querySelector(".words"), reason.found);
  const remedy = node.querySelector(".remedy");
  if (remedy.dataset.text !== reason.remedy) {
    remedy.dataset.text = reason.remedy;
    remedy.replaceChildren(
      el("span", { class: "arrow", "aria-hidden": "true", text: "→ " }),
      ...withCommands(reason.remedy),
    );
  }
}

/** What stands between backticks is a command, with a button that copies it. */
function withCommands(text) {
  return String(text)
    .split("`")
    .flatMap((part, index) => {
      if (index % 2 === 0) return [part];
      const isCommand = part.startsWith("vmpooler-tasks ") || part.startsWith("celery ");
      return isCommand
        ? [el("span", { class: "command" }, el("code", { text: part }), copyButton(part))]
        : [el("code", { text: part })];
    });
}

const VIEWS = {
  dlq_size: ["Dead letters", "letters"],
  dlq_near_cap: ["These dead letters", "letters"],
  stuck_vms: ["Dead letters of clones", "letters", { queue: "clone" }],
  pending_queue: ["Pools", "pools"],
  ready_queue: ["Pools", "pools"],
  empty_pool: ["Dead letters of this pool", "letters"],
  purge_overdue: ["Purge", "purge"],
  purge_unfinished: ["Purge", "purge"],
  purge_failed: ["Purge", "purge"],
  purge_aborted: ["Plan of this purge", "purge"],
  breaker_open: ["Dead letters of clones", "letters", { queue: "clone" }],
  pool_broken: ["Dead letters of this pool", "letters", { queue: "clone" }],
};

function linksOf(reason) {
  const [text, section, filters = {}] = VIEWS[reason.code] ?? [];
  const takesFilters = section === "letters" || section === "purge";
  const narrowed = takesFilters ? { ...filters, pool: reason.pool, queue: filters.queue ?? reason.queue } : {};
  return [
    section ? el("a", { href: link(section, narrowed), text }) : null,
    reason.runbook
      ? el(
          "a",
          { href: safeUrl(reason.runbook), target: "_blank", rel: "noopener noreferrer" },
          "Runbook",
          el("span", { class: "unseen", text: ` for ${reason.code}, in a new window` }),
        )
      : null,
  ].filter(Boolean);
}

/** A link that the server names: only to a page, never a script. */
function safeUrl(address) {
  const url = new URL(address, location.href);
  return ["http:", "https:"].includes(url.protocol) ? url.href : "#status";
}

function speak(status, word, reasons) {
  const news = `${status} ${reasons.map(keyOf).sort().join()}`;
  if (said !== null && said !== news) {
    announce(`Status: ${word}${reasons.length ? `. ${reasons.map((one) => one.found).join("; ")}` : ""}`, "status");
  }
  said = news;
}
