/** The audit: who redrove, deleted and purged what, when and why. */

import { get } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { byId, el, messageOf, notice, show } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { cell, row, table } from "../shared/table.js";
import { timeEl } from "../shared/times.js";

/** @import { AuditEntry, AuditPage } from "../shared/types.js" */

const PAGE = 50;
const MAX_ROWS = 300;
const INTERVAL_MS = 10_000;
const FIELDS_WITH_COLUMN = new Set(["at", "action", "who", "why", "count"]);
const COLUMNS = [
  { label: "When" },
  { label: "Who" },
  { label: "Action" },
  { label: "Count", class: "num" },
  { label: "Why" },
  { label: "Details" },
];

export class AuditSection {
  #pages = 1;
  #loadedAtMs = 0;
  #isLoading = false;

  constructor() {
    const made = table("Redrives, deletions and purges, newest first", COLUMNS, { className: "cards audit" });
    this.table = made.node;
    this.body = made.body;
    this.errors = el("div", { role: "alert" });
    this.empty = el("p", { class: "muted", hidden: true, text: "No redrive, deletion or purge so far." });
    this.more = button(`Show ${PAGE} more`, () => this.#showMore());
    byId("audit-body").append(
      el("p", {
        class: "intro",
        text: "Redrives, deletions and purges from this page, the command line and the API. The last 10,000 are kept.",
      }),
      this.errors,
      this.table,
      this.empty,
      el("div", { class: "more" }, this.more),
    );
  }

  enter() {
    this.#load();
  }

  /** Called with each overview while the section is visible. Read the audit again from time to time. */
  update() {
    if (Date.now() - this.#loadedAtMs > INTERVAL_MS) this.#load();
  }

  #showMore() {
    this.#pages += 1;
    this.#load();
  }

  async #load() {
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.#loadedAtMs = Date.now();
    try {
      this.#draw(await get("audit", { limit: PAGE * this.#pages }));
      this.errors.replaceChildren();
    } catch (error) {
      this.errors.replaceChildren(notice("bad", `The audit cannot be read: ${messageOf(error)}`));
    } finally {
      this.#isLoading = false;
    }
  }

  /** @param {AuditPage} page */
  #draw({ entries, next_cursor: nextCursor }) {
    show(this.table, entries.length > 0);
    show(this.empty, entries.length === 0);
    show(this.more, nextCursor !== null && entries.length < MAX_ROWS);
    reconcile(this.body, entries, (entry) => JSON.stringify(entry), createRow);
  }
}

/** @param {AuditEntry} entry */
function createRow(entry) {
  const count = entry.count === undefined ? undefined : Number(entry.count);
  return row(
    cell("When", {}, timeEl(entry.at)),
    cell("Who", { text: entry.who ?? "–" }),
    cell("Action", { text: entry.action ?? "–" }),
    cell("Count", { class: "num", text: number(count) }),
    cell("Why", { class: "wrap", text: entry.why ?? "–" }),
    cell("Details", { class: "wrap muted" }, detailsOf(entry)),
  );
}

/** @param {AuditEntry} entry */
function detailsOf(entry) {
  return Object.entries(entry)
    .filter(([name, value]) => !FIELDS_WITH_COLUMN.has(name) && value !== null && value !== "" && value !== "0")
    .map(([name, value]) => el("span", { class: "pair", text: `${name}: ${value}` }));
}
