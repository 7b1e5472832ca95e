/** The list of dead letters. Rows stay while others come and go around them. */

import { shortTask } from "../fleet/words.js";
import { mayOperate } from "../shared/api.js";
import { el, part } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { hashOf, poolHash } from "../shared/route.js";
import { cell, row, table } from "../shared/table.js";
import { timeEl } from "../shared/times.js";
import { SortControls } from "./sorting.js";

/** @import { DeadLetter } from "../shared/types.js" */
/** @import { Sorting } from "./sorting.js" */

const COLUMNS = [
  { label: "Failed" },
  { label: "Queue" },
  { label: "VM or task" },
  { label: "Pool" },
  { label: "Request" },
  { label: "Error", class: "error" },
  { label: "Redrives", class: "num" },
];
const SELECT_COLUMN = { label: "Select", class: "select", isHidden: true };

export class List {
  /** Ids. @type {Set<string>} */
  selected = new Set();
  /** Ids that have just arrived. @type {Set<string>} */
  #arrived = new Set();
  /** @type {DeadLetter[]} */
  #deadLetters = [];
  /** @type {HTMLInputElement | null} */
  #selectAll = null;

  /**
   * @param {(deadLetter: DeadLetter) => void} onOpen
   * @param {() => void} onSelect called whenever the selection changes
   * @param {(sorting: Sorting) => void} onSort
   */
  constructor(onOpen, onSelect, onSort) {
    this.onOpen = onOpen;
    this.onSelect = onSelect;
    const columns = mayOperate() ? [SELECT_COLUMN, ...COLUMNS] : COLUMNS;
    const made = table("Dead letters", columns, { className: "cards dead-letters" });
    this.node = made.node;
    this.body = made.body;
    this.sorting = new SortControls(made.node, onSort);
    if (mayOperate()) this.#addSelectAll();
  }

  #addSelectAll() {
    const box = el("input", {
      type: "checkbox",
      "aria-label": "Select all dead letters shown",
      on: { change: () => this.#select(box.checked ? this.#deadLetters.map(({ id }) => id) : []) },
    });
    this.#selectAll = box;
    part(this.node, "th.select").replaceChildren(box);
  }

  /**
   * Show these dead letters. Those that are gone are no longer selected.
   *
   * @param {DeadLetter[]} deadLetters
   * @param {Set<string>} arrived
   */
  show(deadLetters, arrived) {
    this.#deadLetters = deadLetters;
    this.#arrived = arrived;
    const kept = deadLetters.map(({ id }) => id).filter((id) => this.selected.has(id));
    if (kept.length !== this.selected.size) this.#select(kept);
    else this.#draw();
  }

  clearSelection() {
    this.#select([]);
  }

  /** @param {Iterable<string>} ids */
  #select(ids) {
    this.selected = new Set(ids);
    this.#draw();
    this.onSelect();
  }

  #draw() {
    reconcile(
      this.body,
      this.#deadLetters,
      (deadLetter) => deadLetter.id,
      (deadLetter) => this.#createRow(deadLetter),
      (node, deadLetter) => this.#updateRow(node, deadLetter),
    );
    if (!this.#selectAll) return;
    const hasSelected = this.selected.size > 0;
    this.#selectAll.checked = hasSelected && this.selected.size === this.#deadLetters.length;
    this.#selectAll.indeterminate = hasSelected && !this.#selectAll.checked;
  }

  /**
   * @param {HTMLElement} node
   * @param {DeadLetter} deadLetter
   */
  #updateRow(node, { id }) {
    const isSelected = this.selected.has(id);
    node.classList.toggle("fresh", this.#arrived.has(id));
    node.classList.toggle("selected", isSelected);
    const box = node.querySelector("input");
    if (box) box.checked = isSelected;
  }

  /** @param {DeadLetter} deadLetter */
  #createRow(deadLetter) {
    const { vm, task, pool, request_id: request, error_class: errorClass, error_message: message } = deadLetter;
    const what = vm || (task && shortTask(task)) || "–";
    const redrives = Number(deadLetter.redrives ?? 0);
    const open = el(
      "button",
      { type: "button", class: "link open", on: { click: () => this.onOpen(deadLetter) } },
      el("strong", { text: errorClass ?? "" }),
      ` ${message ?? ""}`,
    );
    return row(
      mayOperate() && this.#selectCell(deadLetter.id, `Select ${what}, ${errorClass ?? ""}`),
      cell(
        "Failed",
        { class: "failed" },
        timeEl(deadLetter.failed_at, "age"),
        el("span", { class: "new", text: "new" }),
      ),
      cell("Queue", { class: "short", text: deadLetter.queue }),
      cell("VM or task", { class: "what", text: what, title: vm || task }),
      cell(
        "Pool",
        { class: pool ? "where" : "where none" },
        pool ? el("a", { href: poolHash(pool), text: pool, title: pool }) : "–",
      ),
      cell("Request", { class: request ? "where" : "where none" }, requestLink(request)),
      cell("Error", { class: "error" }, open),
      cell("Redrives", { class: redrives ? "num" : "num zero", text: number(redrives) }),
    );
  }

  /**
   * @param {string} id
   * @param {string} label
   */
  #selectCell(id, label) {
    const box = el("input", { type: "checkbox", "aria-label": label, on: { change: () => this.#toggle(id) } });
    return cell("Select", { class: "select" }, box);
  }

  /** @param {string} id */
  #toggle(id) {
    const selected = new Set(this.selected);
    if (!selected.delete(id)) selected.add(id);
    this.#select(selected);
  }
}

/** @param {unknown} request */
function requestLink(request) {
  if (!request) return "–";
  const text = String(request);
  return el("a", { href: hashOf("letters", { request: text }), text, title: `All dead letters of request ${text}` });
}
