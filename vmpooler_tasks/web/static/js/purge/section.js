/** The purge: what it would remove now, and the purge itself. */

import { Schedule } from "../fleet/schedule.js";
import { get, mayOperate } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, inline, offerNames, option } from "../shared/controls.js";
import { byId, el, messageOf, notice, setText, show } from "../shared/dom.js";
import { duration, number } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { goTo } from "../shared/route.js";
import { cell, row, table } from "../shared/table.js";
import { openPurgeDialog } from "./dialog.js";
import { entriesText, errorNotices, planSummary, QUEUES } from "./report.js";

/** @import { Filters } from "../shared/route.js" */
/** @import { Features, Overview, PurgeEntry, PurgeReport } from "../shared/types.js" */

const MAX_ROWS = 200;
const COLUMNS = [
  { label: "Queue" },
  { label: "Pool" },
  { label: "VM or request" },
  { label: "Age", class: "num" },
  { label: "Limit", class: "num" },
];

export class PurgeSection {
  /** @type {Filters} */
  #filter = {};
  /** @type {Features | null} */
  #features = null;
  /** @type {PurgeReport | null} */
  #plan = null;

  constructor() {
    const made = table("Entries to purge", COLUMNS, { className: "cards compact" });
    const choose = () => goTo("purge", { pool: this.pool.value, queue: this.queue.value });
    this.pool = el("select", { id: "purge-pool", on: { change: choose } });
    this.queue = el("select", { id: "purge-queue", on: { change: choose } }, allOr(QUEUES));
    this.refresh = button("Make a new plan", () => this.#makePlan());
    this.start = button("Purge …", () => this.#openDialog(), { kind: "danger" });
    this.switches = el("div");
    this.result = el("div", { role: "status" });
    this.summary = el("div", { class: "plan" });
    this.table = made.node;
    this.body = made.body;
    this.rest = el("p", { class: "muted" });
    this.schedule = new Schedule();
    byId("purge-body").append(
      el("p", {
        class: "intro",
        text: "A purge removes entries that are too old from the queues. The plan below changes nothing.",
      }),
      this.switches,
      el(
        "div",
        { class: "controls" },
        inline("Pool", this.pool),
        inline("Queue", this.queue),
        this.refresh,
        mayOperate() ? this.start : el("span", { class: "muted", text: "Your role is read: you cannot purge." }),
      ),
      this.result,
      this.summary,
      this.table,
      this.rest,
      this.schedule.node,
    );
  }

  /** @param {Filters} filters */
  enter({ pool, queue }) {
    const filter = { ...(pool ? { pool } : {}), ...(queue ? { queue } : {}) };
    const isSame = JSON.stringify(filter) === JSON.stringify(this.#filter);
    this.#filter = filter;
    offerNames(this.pool, [pool]);
    this.pool.value = pool ?? "";
    this.queue.value = queue ?? "";
    if (!this.#plan || !isSame) this.#makePlan();
    this.schedule.load();
  }

  /**
   * @param {Overview} overview
   * @param {boolean} isVisible
   */
  update(overview, isVisible) {
    if (isVisible) this.schedule.update();
    this.#features = overview.features;
    offerNames(
      this.pool,
      overview.pools.map((one) => one.pool),
    );
    this.#showSwitches(overview.features);
  }

  /** @param {Features} features */
  #showSwitches({ purge, purge_dry_run: isDryRun }) {
    const text = !purge
      ? "Purge is switched off (purge_enabled: false). No purge runs on its own. From here it runs only with Force."
      : isDryRun
        ? "The configuration says dry run (purge_dry_run or observe_only). No purge changes anything, also not from here."
        : "";
    if (this.switches.dataset.text === text) return;
    this.switches.dataset.text = text;
    this.switches.replaceChildren(...(text ? [notice("warn", text)] : []));
  }

  async #makePlan() {
    this.refresh.disabled = true;
    this.start.disabled = true;
    this.summary.setAttribute("aria-busy", "true");
    try {
      this.#plan = await get("purge", { dry_run: true, ...this.#filter });
      this.#showPlan();
    } catch (error) {
      this.#plan = null;
      this.#showPlan();
      this.summary.replaceChildren(notice("bad", messageOf(error), { role: "alert" }));
    } finally {
      this.refresh.disabled = false;
      this.summary.removeAttribute("aria-busy");
    }
  }

  #showPlan() {
    const plan = this.#plan;
    const entries = plan?.entries.slice(0, MAX_ROWS) ?? [];
    show(this.table, entries.length > 0);
    this.start.disabled = !plan;
    const hidden = plan ? (plan.entries_left_out ?? 0) + plan.entries.length - entries.length : 0;
    const command = "vmpooler-tasks purge --dry-run --json lists all.";
    setText(this.rest, hidden ? `${number(hidden)} more are not shown. ${command}` : "");
    reconcile(this.body, entries, (entry) => JSON.stringify([entry.queue, entry.pool, entry.vm]), createRow);
    if (plan) this.summary.replaceChildren(...planSummary(plan));
  }

  #openDialog() {
    if (!this.#plan || !this.#features) return;
    openPurgeDialog(this.#plan, this.#filter, this.#features, (report) => {
      this.#showResult(report);
      this.#makePlan();
    });
  }

  /** @param {PurgeReport} report */
  #showResult(report) {
    const text = resultText(report);
    const isDone = !report.skipped && !report.error_count;
    this.result.replaceChildren(notice(isDone ? "ok" : "warn", text), ...errorNotices(report));
    announce(text);
  }
}

/** @param {PurgeReport} report */
function resultText(report) {
  if (report.skipped) return `Nothing was done: ${report.skipped}.`;
  if (report.dry_run) return `${entriesText(report)} found. Nothing was changed: purge_dry_run or observe_only is on.`;
  return `${entriesText(report)} purged in ${report.duration_seconds.toFixed(2)} s.`;
}

/** @param {string[]} names */
const allOr = (names) => [option("", "all"), ...names.map((name) => option(name))];

/** @param {PurgeEntry} entry */
function createRow(entry) {
  return row(
    cell("Queue", { text: entry.queue }),
    cell("Pool", { text: entry.pool || "–" }),
    cell("VM or request", { text: entry.vm }),
    cell("Age", { class: "num", text: duration(entry.age_seconds) }),
    cell("Limit", { class: "num muted", text: duration(entry.max_age_seconds) }),
  );
}
