/** Runs of redrives: the progress of those that run, and the results of the last week. */

import { ApiError, get } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { el, setText, show, timeIn } from "../shared/dom.js";
import { number } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { cell, row, table } from "../shared/table.js";
import { setTime, timeEl } from "../shared/times.js";
import { createCard, updateCard } from "./card.js";
import { countsText } from "./outcomes.js";
import { RunFilterForm } from "./run_filter.js";

/** @import { RedriveRun } from "../shared/types.js" */

const INTERVAL_MS = 1000;
const MAX_CARDS = 4;
const MAX_ROWS = 50;
const GONE_OR_FORBIDDEN = [401, 403, 404];
const COLUMNS = [
  { label: "Started" },
  { label: "State" },
  { label: "Dead letters", class: "num" },
  { label: "Results" },
  { label: "Who" },
  { label: "Why" },
];

export class RedriveRuns {
  /** The runs with a card. @type {Map<string, RedriveRun>} */
  #watched = new Map();
  /** @type {RedriveRun[]} */
  #runs = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #hasWorker = true;

  /** @param {() => void} onEnd called when a run has ended */
  constructor(onEnd) {
    this.onEnd = onEnd;
    const made = table("Redrives of the last week, newest first", COLUMNS, { className: "cards compact" });
    this.body = made.body;
    this.cards = el("ul", { class: "runs", "aria-label": "Running redrives" });
    this.form = new RunFilterForm(() => this.#drawHistory());
    this.none = el("p", { class: "muted", hidden: true, text: "No redrive matches this filter." });
    this.table = made.node;
    this.history = el(
      "details",
      { class: "figures" },
      el("summary", { text: "Redrives of the last week" }),
      this.form.node,
      made.node,
      this.none,
    );
    this.history.hidden = true;
  }

  /** @param {boolean} hasWorker whether a worker takes runs; they wait without one */
  setHasWorker(hasWorker) {
    this.#hasWorker = hasWorker;
  }

  async load() {
    /** @type {{runs: RedriveRun[]}} */
    const { runs } = await get("redrives");
    for (const run of runs) if (run.state === "running") this.#watched.set(run.run, run);
    this.#runs = runs;
    show(this.history, runs.length > 0);
    this.#drawHistory();
    this.#draw();
  }

  #drawHistory() {
    const found = this.#runs.filter((run) => this.form.accepts(run)).slice(0, MAX_ROWS);
    show(this.table, found.length > 0);
    show(this.none, found.length === 0);
    reconcile(this.body, found, (run) => run.run, createRow, updateRow);
  }

  /**
   * Show the progress of a run.
   *
   * @param {RedriveRun} run
   */
  watch(run) {
    this.#watched.set(run.run, run);
    this.#draw();
    this.cards.lastElementChild?.scrollIntoView({ block: "nearest" });
  }

  /** @param {RedriveRun} run */
  #hide(run) {
    this.#watched.delete(run.run);
    this.#draw();
  }

  #draw() {
    const newest = [...this.#watched.values()].slice(-MAX_CARDS);
    reconcile(
      this.cards,
      newest,
      (run) => run.run,
      (run) => createCard(run, () => this.#hide(run)),
      (node, run) => updateCard(node, run, this.#hasWorker),
    );
    clearTimeout(this.#timer);
    if (newest.some(isRunning)) this.#timer = setTimeout(() => this.#reload(), INTERVAL_MS);
  }

  async #reload() {
    const running = [...this.#watched.values()].filter(isRunning);
    await Promise.allSettled(running.map((run) => this.#reloadOne(run)));
    this.#draw();
  }

  /** @param {RedriveRun} run */
  async #reloadOne(run) {
    try {
      /** @type {RedriveRun} */
      const now = await get(`redrives/${encodeURIComponent(run.run)}`);
      this.#watched.set(run.run, now);
      if (isRunning(now)) return;
      announce(`Redrive ${now.state}: ${countsText(now)}`);
      this.onEnd();
    } catch (error) {
      if (error instanceof ApiError && GONE_OR_FORBIDDEN.includes(error.status)) this.#watched.delete(run.run);
    }
  }
}

/** @param {RedriveRun} run */
const isRunning = (run) => run.state === "running";

/** @param {RedriveRun} run */
function createRow(run) {
  return row(
    cell("Started", {}, timeEl(run.started)),
    cell("State", { class: "state" }),
    cell("Dead letters", { class: "num", text: number(run.selected) }),
    cell("Results", { class: "results" }),
    cell("Who", { text: run.who ?? "" }),
    cell("Why", { class: "wrap", text: run.why ?? "" }),
  );
}

/**
 * @param {HTMLTableRowElement} node
 * @param {RedriveRun} run
 */
function updateRow(node, run) {
  setTime(timeIn(node), run.started);
  setText(node.cells[1], run.state);
  setText(node.cells[3], countsText(run));
}
