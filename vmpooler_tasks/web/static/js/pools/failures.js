/** The newest dead letters of one pool, with a link to all of them. */

import { get } from "../shared/api.js";
import { el, messageOf, setText, show } from "../shared/dom.js";
import { plural } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { hashOf } from "../shared/route.js";
import { cell, row, table } from "../shared/table.js";
import { timeEl } from "../shared/times.js";

/** @import { DeadLetter, DeadLetterPage } from "../shared/types.js" */

const SHOWN = 5;
const COLUMNS = [{ label: "Failed" }, { label: "Queue" }, { label: "VM or task" }, { label: "Error" }];

export class PoolFailures {
  #pool = "";
  /** The overview's revision that the list shows. @type {string | null} */
  #revision = null;

  constructor() {
    const made = table("Newest dead letters of this pool", COLUMNS, { className: "cards compact" });
    this.table = made.node;
    this.body = made.body;
    this.all = el("a");
    this.note = el("p", { class: "muted" });
    this.node = el("div", {}, this.table, el("p", {}, this.all), this.note);
  }

  /** @param {string} pool */
  enter(pool) {
    this.#pool = pool;
    this.#revision = null;
    this.body.replaceChildren();
    for (const node of [this.table, this.all]) show(node, false);
    this.all.href = hashOf("letters", { pool });
  }

  /**
   * Read the dead letters again if some came or went.
   *
   * @param {string} revision
   */
  async update(revision) {
    if (revision === this.#revision) return;
    this.#revision = revision;
    const pool = this.#pool;
    try {
      /** @type {DeadLetterPage} */
      const page = await get("dlq", { pool, limit: SHOWN });
      if (pool === this.#pool) this.#show(page);
    } catch (error) {
      this.#revision = null; // the next overview tries again
      setText(this.note, `The dead letters cannot be read: ${messageOf(error)}`);
    }
  }

  /** @param {DeadLetterPage} page */
  #show({ letters: deadLetters, next_cursor: nextCursor }) {
    for (const node of [this.table, this.all]) show(node, deadLetters.length > 0);
    setText(this.note, deadLetters.length ? "" : "This pool has no dead letters.");
    setText(this.all, nextCursor ? "All dead letters of this pool" : plural(deadLetters.length, "dead letter"));
    reconcile(this.body, deadLetters, (one) => one.id, createRow);
  }
}

/** @param {DeadLetter} deadLetter */
function createRow({ id, failed_at: failedAt, queue, vm, task, error_class: errorClass, error_message: message }) {
  const error = [errorClass, message].filter(Boolean).join(": ") || "–";
  return row(
    cell("Failed", { class: "nowrap" }, timeEl(failedAt, "age")),
    cell("Queue", { text: queue }),
    cell("VM or task", { class: "wrap", text: vm ?? task ?? "–" }),
    cell("Error", { class: "wrap" }, el("a", { href: hashOf("letters", { letter: id }), text: error })),
  );
}
