/** The list of dead letters: rows that stay what they are while others come and go around them. */

import { mayOperate } from "../shared/api.js";
import { cell, el, reconcile, row, table } from "../shared/dom.js";
import { timeEl } from "../shared/format.js";

const COLUMNS = [
  { label: "Failed" },
  { label: "Queue" },
  { label: "Pool" },
  { label: "VM or task" },
  { label: "Error" },
  { label: "Redrives", class: "num" },
];

export class Rows {
  /** `onOpen(letter)`, and `onSelect(ids)` whenever the selection changes. */
  constructor(onOpen, onSelect) {
    this.onOpen = onOpen;
    this.onSelect = onSelect;
    this.selected = new Set();
    this.fresh = new Set();
    this.letters = [];
    const columns = mayOperate() ? [{ label: "Select", class: "select", hidden: true }, ...COLUMNS] : COLUMNS;
    const made = table("Dead letters, newest first", columns, { name: "cards letters" });
    this.node = made.node;
    this.body = made.body;
    if (mayOperate()) this.#addSelectAll();
  }

  #addSelectAll() {
    this.all = el("input", {
      type: "checkbox",
      "aria-label": "Select all that are shown",
      on: {
        change: () => {
          this.selected = new Set(this.all.checked ? this.letters.map((letter) => letter.id) : []);
          this.#draw();
          this.onSelect(this.selected);
        },
      },
    });
    this.node.querySelector("th.select").replaceChildren(this.all);
  }

  /** `fresh`: ids that have just arrived. Those that are selected and gone are selected no more. */
  show(letters, fresh = new Set()) {
    this.letters = letters;
    this.fresh = fresh;
    const here = new Set(letters.map((letter) => letter.id));
    const kept = new Set([...this.selected].filter((id) => here.has(id)));
    const changed = kept.size !== this.selected.size;
    this.selected = kept;
    this.#draw();
    if (changed) this.onSelect(kept);
  }

  clearSelection() {
    this.selected = new Set();
    this.#draw();
    this.onSelect(this.selected);
  }

  #draw() {
    reconcile(
      this.body,
      this.letters,
      (letter) => letter.id,
      (letter) => this.#make(letter),
      (node, letter) => {
        node.classList.toggle("fresh", this.fresh.has(letter.id));
        const box = node.querySelector("input[type=checkbox]");
        if (box) box.checked = this.selected.has(letter.id);
        node.classList.toggle("selected", this.selected.has(letter.id));
      },
    );
    if (!this.all) return;
    const some = this.selected.size > 0;
    this.all.checked = some && this.selected.size === this.letters.length;
    this.all.indeterminate = some && !this.all.checked;
  }

  #make(letter) {
    const what = letter.vm ?? shortTask(letter.task) ?? "–";
    const open = el(
      "button",
      { type: "button", class: "link open", on: { click: () => this.onOpen(letter) } },
      el("strong", { text: letter.error_class ?? "" }),
      ` ${letter.error_message ?? ""}`,
    );
    const box =
      mayOperate() &&
      cell(
        "Select",
        { class: "select" },
        el("input", {
          type: "checkbox",
          "aria-label": `Select ${what}, ${letter.error_class ?? ""}`,
          on: { change: (event) => this.#toggle(letter.id, event.target) },
        }),
      );
    return row(
      ...(box ? [box] : []),
      cell("Failed", { class: "failed" }, timeEl(letter.failed_at, "age"), el("span", { class: "new", text: "new" })),
      cell("Queue", { class: "short", text: letter.queue }),
      cell("Pool", { class: "short", text: letter.pool ?? "–" }),
      cell("VM or task", { class: "what", text: what }),
      cell("Error", { class: "error" }, open),
      cell("Redrives", { class: letter.redrives ? "num" : "num zero", text: letter.redrives ?? 0 }),
    );
  }

  #toggle(id, box) {
    if (box.checked) this.selected.add(id);
    else this.selected.delete(id);
    this.#draw();
    this.onSelect(this.selected);
  }
}

function shortTask(task) {
  return task?.replace(/^vmpooler_tasks\.(tasks\.)?/, "");
}
