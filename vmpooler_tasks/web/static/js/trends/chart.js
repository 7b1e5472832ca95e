/** Line charts over time, as SVG. A chart is drawn as a whole; only its cursor moves without that. */

import { el, setText, svg } from "../shared/dom.js";
import { duration, localTime, number, visible } from "../shared/format.js";
import { maxJoinSeconds } from "./figures.js";
import { durationTicks, numberTicks, timeLabel, timeTicks } from "./scale.js";

/** @import { FigureName, Figures } from "./figures.js" */

const HEIGHT = 190;
const LEFT = 64;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 24;
const PIXELS_PER_TICK = 90;
const LAST_LABEL = 16; // pixels that half of a label takes

/**
 * The time axis. `x` returns where an epoch lies, `nearest` the index of the point that is nearest to a place.
 *
 * @typedef {object} Frame
 * @property {number} from
 * @property {number} to
 * @property {number} width
 * @property {(at: number) => number} x
 * @property {(points: {at: number}[], x: number) => number} nearest
 */

/** @typedef {{name: FigureName, label: string}} Series a line of the chart */

/**
 * `onPoint` gets the index of the point under the mouse.
 *
 * @typedef {{
 *   title: string,
 *   series: Series[],
 *   unit: "number" | "seconds",
 *   onPoint: (index: number) => void,
 * }} ChartOptions
 */

/**
 * Return the frame of a chart.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} width in pixels
 * @returns {Frame}
 */
export function frameOf(from, to, width) {
  const x = (/** @type {number} */ at) => LEFT + ((at - from) / (to - from)) * (width - LEFT - RIGHT);
  /**
   * @param {{at: number}[]} points
   * @param {number} place
   */
  function nearest(points, place) {
    const distances = points.map((point) => Math.abs(x(point.at) - place));
    return distances.indexOf(Math.min(...distances));
  }
  return { from, to, width, x, nearest };
}

export class Chart {
  /** @type {Figures[]} */
  #points = [];
  /** @type {Frame} */
  #frame = frameOf(0, 1, 0);
  /** The values in the legend. @type {Map<FigureName, HTMLElement>} */
  #values = new Map();
  #cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });

  /** @param {ChartOptions} options */
  constructor({ title, series, unit, onPoint }) {
    this.series = series;
    this.unit = unit;
    this.title = title;
    this.at = el("span", { class: "at" });
    this.drawing = svg("svg", { class: "chart", role: "img", "aria-label": title, height: HEIGHT });
    this.drawing.addEventListener("pointermove", (event) => onPoint(this.#nearest(event.clientX)));
    const legend = series.map((one) => this.#legendItem(one));
    this.node = el(
      "figure",
      {},
      el("figcaption", {}, title, this.at),
      el("ul", { class: "legend" }, legend),
      this.drawing,
    );
  }

  /**
   * Return a value as text.
   *
   * @param {number | undefined} value
   */
  format(value) {
    return this.unit === "seconds" ? duration(value) : number(value);
  }

  /** @param {Series} series */
  #legendItem({ name, label }) {
    const value = el("strong", { text: "–" });
    this.#values.set(name, value);
    const sample = svg(
      "svg",
      { class: "sample", viewBox: "0 0 24 8", "aria-hidden": "true" },
      svg("path", { class: `line ${name}`, d: "M0 4H24" }),
    );
    return el("li", {}, sample, `${label} `, value);
  }

  /**
   * Draw the points.
   *
   * @param {Figures[]} points oldest first
   * @param {Frame} frame
   */
  draw(points, frame) {
    this.#points = points;
    this.#frame = frame;
    const max = Math.max(0, ...points.flatMap((point) => this.series.map(({ name }) => point[name] ?? 0)));
    const ticks = this.unit === "seconds" ? durationTicks(max) : numberTicks(max);
    const top = ticks[ticks.length - 1];
    const y = (/** @type {number} */ value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    this.drawing.setAttribute("viewBox", `0 0 ${frame.width} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", visible(this.#summary()));
    this.drawing.replaceChildren(
      ...this.#grid(ticks, y),
      ...timeAxis(frame, HEIGHT - 6),
      ...this.series.map(({ name }) => svg("path", { class: `line ${name}`, d: this.#path(name, y) })),
      this.#cursor,
    );
  }

  /**
   * @param {number[]} ticks
   * @param {(value: number) => number} y
   */
  #grid(ticks, y) {
    const right = this.#frame.width - RIGHT;
    return ticks.flatMap((tick) => [
      svg("line", { class: "grid", x1: LEFT, x2: right, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end", text: this.format(tick) }),
    ]);
  }

  /**
   * Return the path of one line. Gaps interrupt it; a point without a neighbour becomes a dot.
   *
   * @param {FigureName} name
   * @param {(value: number) => number} y
   */
  #path(name, y) {
    const known = this.#points.filter((point) => Number.isFinite(point[name]));
    const maxSeconds = maxJoinSeconds(this.#points);
    const joins = known.map((point, index) => index > 0 && point.at - known[index - 1].at <= maxSeconds);
    return known
      .map((point, index) => {
        const isAlone = !joins[index] && !joins[index + 1];
        const place = `${this.#frame.x(point.at).toFixed(1)} ${y(point[name] ?? 0).toFixed(1)}`;
        return `${joins[index] ? "L" : "M"}${place}${isAlone ? "h.1" : ""}`;
      })
      .join("");
  }

  #summary() {
    const newest = this.#points.at(-1);
    if (!newest) return `${this.title}: no check recorded in this time`;
    const parts = this.series.map(({ name, label }) => {
      const values = this.#points.flatMap((point) => point[name] ?? []);
      const [lowest, highest] = [Math.min(...values), Math.max(...values)].map((value) => this.format(value));
      return `${label} ${this.format(newest[name])} now, from ${lowest} to ${highest}`;
    });
    return `${this.title}: ${parts.join("; ")}`;
  }

  /** @param {number} clientX */
  #nearest(clientX) {
    return this.#frame.nearest(this.#points, clientX - this.drawing.getBoundingClientRect().left);
  }

  /**
   * Show the values of a point in the legend, and a cursor at the point unless it is the newest one.
   *
   * @param {number} index
   */
  showPoint(index) {
    const point = this.#points[index];
    for (const [name, node] of this.#values) setText(node, this.format(point?.[name]));
    const isNewest = index === this.#points.length - 1;
    this.#cursor.classList.toggle("off", !point || isNewest);
    setText(this.at, point && !isNewest ? localTime(point.at) : "");
    if (!point) return;
    const x = String(this.#frame.x(point.at));
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
  }
}

/**
 * Return the labels of the time axis.
 *
 * @param {Frame} frame
 * @param {number} y
 */
export function timeAxis({ from, to, width, x }, y) {
  const count = Math.max(2, Math.floor((width - LEFT - RIGHT) / PIXELS_PER_TICK));
  const { ticks, step } = timeTicks(from, to, count);
  return ticks.map((at) =>
    svg("text", {
      class: "tick",
      x: Math.min(x(at), width - RIGHT - LAST_LABEL),
      y,
      "text-anchor": "middle",
      text: timeLabel(at, step),
    }),
  );
}
