/** The trends: sizes and ages of the queues over time, from the history of health checks. */

import { get } from "../shared/api.js";
import { button, inline, option } from "../shared/controls.js";
import { el, setText, show } from "../shared/dom.js";
import { epochOf, localTime, serverNow } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { frameOf } from "./chart.js";
import { createCharts } from "./charts.js";
import { figuresOf } from "./figures.js";
import { FiguresTable } from "./figures_table.js";
import { HealthStrip } from "./health_strip.js";

/** @import { HistoryPoint } from "../shared/types.js" */

/** @type {[number, string][]} */
const RANGES = [
  [1, "1 h"],
  [6, "6 h"],
  [24, "24 h"],
  [168, "7 d"],
];
const MAX_POINTS = 240;
const MAX_ATTEMPTS = 8;

export class TrendsSection {
  #hours = 6;
  #pool;
  /** @type {HistoryPoint[]} */
  #points = [];
  #isLoaded = false;
  #index = -1;
  /** The last check that the points were read for; undefined: read them again. @type {string | null | undefined} */
  #lastCheck;
  #attemptsLeft = 0;
  /** @type {AbortController | null} */
  #request = null;

  /**
   * @param {HTMLElement} place
   * @param {{pool?: string}} [options] with `pool`, only the charts of this pool
   */
  constructor(place, { pool = "" } = {}) {
    this.place = place;
    this.#pool = pool;
    this.isOfOnePool = pool !== "";
    this.charts = createCharts((index) => this.#showPoint(index), { isOfOnePool: this.isOfOnePool });
    this.ranges = el("div", { class: "segments", role: "group", "aria-label": "Time shown" }, this.#rangeButtons());
    const id = (/** @type {string} */ name) => `${this.isOfOnePool ? "pool-" : ""}trend-${name}`;
    this.pools = el("select", { id: id("pool"), on: { change: () => this.#choosePool() } });
    this.slider = el("input", {
      type: "range",
      id: id("point"),
      min: 0,
      step: 1,
      on: { input: () => this.#showPoint(Number(this.slider.value)) },
    });
    this.readout = el("output", { for: this.slider.id, class: "readout" });
    this.strip = new HealthStrip((index) => this.#showPoint(index));
    this.empty = el("p", { class: "muted", hidden: true, text: "No check was recorded in this time." });
    this.table = new FiguresTable(() => this.#fillTable());
    this.#build();
  }

  #build() {
    this.place.append(
      el(
        "div",
        { class: "controls" },
        this.ranges,
        this.isOfOnePool ? "" : inline("Pool", this.pools),
        inline("Values at", this.slider, { grows: true }, this.readout),
      ),
      this.empty,
      this.isOfOnePool ? "" : this.strip.node,
      el(
        "div",
        { class: "charts" },
        this.charts.map((chart) => chart.node),
      ),
      this.table.node,
    );
    new ResizeObserver(() => this.#draw()).observe(this.place);
  }

  /**
   * Read the history again if there was a new check. The server keeps a history for some seconds, so the newest check
   * may be missing at first: then try again with the next overview.
   *
   * @param {string | null} lastCheck null: there was none
   */
  update(lastCheck) {
    if (lastCheck !== this.#lastCheck) this.#attemptsLeft = MAX_ATTEMPTS;
    else if (this.#hasCheck(lastCheck) || this.#attemptsLeft <= 0) return;
    this.#lastCheck = lastCheck;
    this.#attemptsLeft -= 1;
    this.#load();
  }

  /** @param {string | null} lastCheck */
  #hasCheck(lastCheck) {
    const newest = this.#points.at(-1)?.at ?? 0;
    return newest >= (epochOf(lastCheck) ?? 0) - 1;
  }

  #rangeButtons() {
    return RANGES.map(([hours, label]) => button(label, () => this.#chooseRange(hours), { "data-hours": hours }));
  }

  /** @param {number} hours */
  #chooseRange(hours) {
    this.#hours = hours;
    this.#index = -1;
    this.#load();
  }

  #choosePool() {
    this.#pool = this.pools.value;
    this.#draw();
  }

  async #load() {
    this.#request?.abort();
    const { signal } = (this.#request = new AbortController());
    for (const one of this.ranges.querySelectorAll("button")) {
      one.setAttribute("aria-pressed", String(Number(one.dataset.hours) === this.#hours));
    }
    try {
      /** @type {{points: HistoryPoint[]}} */
      const { points } = await get("history", { hours: this.#hours, points: MAX_POINTS }, signal);
      this.#isLoaded = true;
      this.#replacePoints(points);
      this.#offerPools();
      this.#draw();
    } catch {
      if (!signal.aborted) this.#lastCheck = undefined; // the next overview tries again
    }
  }

  /**
   * Take over the points. The slider stays at its time, or at the newest point if it was there.
   *
   * @param {HistoryPoint[]} points
   */
  #replacePoints(points) {
    const isAtEnd = this.#index < 0 || this.#index >= this.#points.length - 1;
    const at = isAtEnd ? Infinity : this.#points[this.#index].at;
    const index = points.findIndex((point) => point.at >= at);
    this.#points = points;
    this.#index = index < 0 ? points.length - 1 : index;
  }

  #offerPools() {
    const names = new Set(this.#points.flatMap((point) => Object.keys(point.pools)));
    if (this.#pool) names.add(this.#pool);
    const identity = (/** @type {string} */ name) => name;
    reconcile(this.pools, ["", ...[...names].sort()], identity, (name) => option(name, name || "all"));
  }

  #draw() {
    const points = this.#points.map((point) => figuresOf(point, this.#pool));
    const to = Math.max(serverNow(), points.at(-1)?.at ?? 0);
    const from = to - this.#hours * 3600;
    show(this.empty, this.#isLoaded && points.length === 0);
    const drawings = [...this.charts, this.strip];
    const widths = drawings.map(({ node }) => node.clientWidth); // all of them first: a drawing makes the layout stale
    for (const [index, drawing] of drawings.entries()) {
      if (widths[index] > 0) drawing.draw(points, frameOf(from, to, widths[index]));
    }
    this.slider.max = String(Math.max(0, points.length - 1));
    this.slider.disabled = points.length === 0;
    this.#showPoint(Math.min(this.#index, points.length - 1));
    this.#fillTable();
  }

  #fillTable() {
    this.table.fill(this.#points, this.#pool);
  }

  /** @param {number} index */
  #showPoint(index) {
    const point = this.#points[index];
    this.#index = index;
    this.slider.value = String(Math.max(0, index));
    for (const chart of [...this.charts, this.strip]) chart.showPoint(index);
    setText(this.readout, point ? `${localTime(point.at)}, ${point.status}` : "–");
    this.slider.setAttribute("aria-valuetext", point ? this.#spoken(point) : "no check recorded");
  }

  /** @param {HistoryPoint} point */
  #spoken(point) {
    const figures = figuresOf(point, this.#pool);
    const words = this.charts.flatMap((chart) =>
      chart.series.map(
        ({ name, label }) => `${chart.unit === "seconds" ? "oldest " : ""}${label} ${chart.format(figures[name])}`,
      ),
    );
    return `${localTime(point.at)}, ${point.status}: ${words.join(", ")}`;
  }
}
