/** The workers: where each one runs, the queues that it takes tasks from, and what it does now. */

import { byId, el, part, setText, show } from "../shared/dom.js";
import { plural } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { cell, row, rowHead, table } from "../shared/table.js";
import { timeEl } from "../shared/times.js";
import { shortQueue, shortTask, subjectText } from "./words.js";

/** @import { RunningTask, Worker } from "../shared/types.js" */

const COLUMNS = [{ label: "Worker" }, { label: "Host" }, { label: "Queues" }, { label: "Running now" }];
const MAX_SHOWN = 6;

export class WorkersSection {
  constructor() {
    const made = table("Workers, with the tasks that they run now", COLUMNS, { className: "cards workers" });
    this.table = made.node;
    this.body = made.body;
    this.empty = el("p", {
      class: "empty",
      text: "No worker is running. Nothing is purged, checked or cloned. Run vmpooler-tasks doctor to see how to start one.",
    });
    byId("workers-body").append(this.table, this.empty);
  }

  /** @param {Worker[]} workers */
  update(workers) {
    show(this.empty, workers.length === 0);
    show(this.table, workers.length > 0);
    reconcile(this.body, workers, (worker) => worker.name, createRow, updateRow);
  }
}

/** @param {Worker} worker */
function createRow({ name }) {
  return row(
    rowHead({ class: "name", text: name }),
    cell("Host", { class: "wrap host" }),
    cell("Queues", { class: "wrap queues" }),
    cell(
      "Running now",
      { class: "wrap now" },
      el("div", {}, el("ul", { class: "tasks" }), el("span", { class: "rest muted" })),
    ),
  );
}

/**
 * @param {HTMLElement} node
 * @param {Worker} worker
 */
function updateRow(node, { host, queues, tasks }) {
  setText(part(node, ".host"), host);
  setText(part(node, ".queues"), queues.map(shortQueue).join(", ") || "none");
  const shown = tasks.slice(0, MAX_SHOWN);
  reconcile(part(node, ".tasks"), shown, (task) => task.id, createTask);
  const hidden = tasks.length - shown.length;
  setText(part(node, ".rest"), tasks.length === 0 ? "nothing" : hidden > 0 ? `and ${plural(hidden, "more task")}` : "");
}

/** @param {RunningTask} task */
function createTask(task) {
  return el(
    "li",
    { title: task.id },
    el("span", { class: "task", text: shortTask(task.name) }),
    ` ${subjectText(task.subject)} `,
    el("span", { class: "muted" }, timeEl(task.since, "running")),
  );
}
