/** The figures of the charts as a table, for those who cannot see the charts. */

import { el } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { cell, row, rowHead, table } from "../shared/table.js";
import { timeEl } from "../shared/times.js";
import { figuresOf } from "./figures.js";

/** @import { HistoryPoint } from "../shared/types.js" */
/** @import { FigureName, Figures } from "./figures.js" */

const MAX_ROWS = 48;
/** @type {[FigureName, string][]} */
const COLUMNS = [
  ["pending", "Pending"],
  ["ready", "Ready"],
  ["completed", "Completed"],
  ["dlq", "Dead letters"],
  ["stuck", "Stuck"],
  ["orphaned", "Orphaned"],
];

export class FiguresTable {
  /** @param {() => void} onOpen */
  constructor(onOpen) {
    const made = table(
      "Figures over time, newest first",
      [{ label: "Time" }, { label: "Health status" }, ...COLUMNS.map(([, label]) => ({ label, class: "num" }))],
      { className: "cards compact" },
    );
    this.body = made.body;
    this.node = el(
      "details",
      { class: "figures", on: { toggle: onOpen } },
      el("summary", { text: "Show as a table" }),
      made.node,
    );
  }

  /**
   * Fill the table if it is open.
   *
   * @param {HistoryPoint[]} points
   * @param {string} pool
   */
  fill(points, pool) {
    if (!this.node.open) return;
    const step = Math.max(1, Math.ceil(points.length / MAX_ROWS));
    const chosen = points.filter((_, index) => (points.length - 1 - index) % step === 0).reverse();
    reconcile(
      this.body,
      chosen.map((point) => figuresOf(point, pool)),
      (figures) => `${pool}/${figures.at}`,
      createRow,
    );
  }
}

/** @param {Figures} figures */
function createRow(figures) {
  return row(
    rowHead({}, timeEl(figures.at)),
    cell("Health status", { text: figures.status }),
    ...COLUMNS.map(([name, label]) => cell(label, { class: "num", text: number(figures[name]) })),
  );
}
