/** The audit: who did what, when and why. */

import { get } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { byId, el, messageOf, notice, setText, show } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { goTo } from "../shared/route.js";
import { cell, row, table } from "../shared/table.js";
import { timeEl } from "../shared/times.js";
import { AuditFilterForm, auditQuery } from "./filter.js";
import { foldedRows } from "./folding.js";

/** @import { Filters } from "../shared/route.js" */
/** @import { AuditEntry, AuditPage } from "../shared/types.js" */
/** @import { AuditRow } from "./folding.js" */

const PAGE = 100;
const MAX_ENTRIES = 500;
const INTERVAL_MS = 10_000;
const FIELDS_WITH_COLUMN = new Set(["at", "action", "who", "why", "count", "operation"]);
const COLUMNS = [
  { label: "When" },
  { label: "Who" },
  { label: "Action" },
  { label: "Count", class: "num" },
  { label: "Why" },
  { label: "Details" },
];

export class AuditSection {
  /** @type {Filters} */
  #filter = {};
  #pages = 1;
  #loadedAtMs = 0;
  /** @type {AbortController | null} */
  #request = null;
  /** @type {AuditEntry[]} */
  #entries = [];
  /** Ids of the rows that are unfolded. @type {Set<string>} */
  #unfolded = new Set();

  constructor() {
    const made = table("Actions, newest first", COLUMNS, { className: "cards audit" });
    this.table = made.node;
    this.body = made.body;
    this.form = new AuditFilterForm((filter, isTyping) => goTo("audit", filter, { replace: isTyping }));
    this.errors = el("div", { role: "alert" });
    this.empty = el("p", { class: "muted", hidden: true });
    this.more = button(`Show ${PAGE} more`, () => this.#showMore());
    byId("audit-body").append(
      el("p", {
        class: "intro",
        text: "What was done from this page, the command line and the API. The last 10,000 entries are kept.",
      }),
      this.form.node,
      this.errors,
      this.table,
      this.empty,
      el("div", { class: "more" }, this.more),
    );
  }

  /** @param {Filters} filter */
  enter(filter) {
    this.form.show(filter);
    if (JSON.stringify(filter) !== JSON.stringify(this.#filter)) this.#pages = 1;
    this.#filter = filter;
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
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    this.#loadedAtMs = Date.now();
    try {
      this.#show(await get("audit", { ...auditQuery(this.#filter), limit: PAGE * this.#pages }, request.signal));
      this.errors.replaceChildren();
    } catch (error) {
      if (request.signal.aborted) return;
      this.errors.replaceChildren(notice("bad", `The audit cannot be read: ${messageOf(error)}`));
    }
  }

  /** @param {AuditPage} page */
  #show({ entries, next_cursor: nextCursor }) {
    this.#entries = entries;
    const isFiltered = Object.values(this.#filter).some(Boolean);
    show(this.table, entries.length > 0);
    show(this.empty, entries.length === 0);
    setText(this.empty, isFiltered ? "No entry matches this filter." : "Nothing was done so far.");
    show(this.more, nextCursor !== null && entries.length < MAX_ENTRIES);
    this.#draw();
  }

  #draw() {
    const rows = foldedRows(this.#entries).flatMap((one) => (one.isFolded ? this.#foldable(one) : [one]));
    reconcile(
      this.body,
      rows,
      (one) => keyOf(one),
      (one) => (one.isFolded ? this.#createFold(one) : createRow(one.entries[0])),
    );
  }

  /**
   * Return the row of folded entries, and the entries behind it if it is unfolded.
   *
   * @param {AuditRow} folded
   * @returns {AuditRow[]}
   */
  #foldable(folded) {
    if (!this.#unfolded.has(foldId(folded))) return [folded];
    return [folded, ...folded.entries.map((entry) => ({ entries: [entry], isFolded: false }))];
  }

  /** @param {AuditRow} folded */
  #createFold(folded) {
    const { entries } = folded;
    const id = foldId(folded);
    const press = button(`${plural(entries.length, "automatic purge")} that found nothing`, toggle, {
      kind: "quiet",
      "aria-expanded": String(this.#unfolded.has(id)),
    });
    const self = this;

    function toggle() {
      const isOpen = self.#unfolded.delete(id);
      if (!isOpen) self.#unfolded.add(id);
      press.setAttribute("aria-expanded", String(!isOpen));
      self.#draw();
    }
    return row(
      cell("When", {}, timeEl(entries[0].at), " – ", timeEl(entries.at(-1)?.at)),
      cell("Action", { class: "fold", colspan: String(COLUMNS.length - 1) }, press),
    );
  }
}

/**
 * The oldest entry names the row: newer ones join it.
 *
 * @param {AuditRow} row
 */
const foldId = ({ entries }) => String(entries.at(-1)?.at);

/** @param {AuditRow} row */
const keyOf = (row) => (row.isFolded ? `fold ${foldId(row)} ${row.entries.length}` : JSON.stringify(row.entries[0]));

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
    .map(([name, value]) => el("span", { class: "pair", text: `${name.replaceAll("_", " ")}: ${value}` }));
}
