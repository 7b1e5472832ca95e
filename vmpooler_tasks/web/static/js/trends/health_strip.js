/** The health status over time: a strip of colours with an axis and a legend. A worse status is higher, too. */

import { el, setText, svg } from "../shared/dom.js";
import { timeAxis } from "./chart.js";
import { sharesOf, stretchesOf } from "./figures.js";
import { localTime } from "../shared/format.js";

/** @import { Figures } from "./figures.js" */
/** @import { Frame } from "./chart.js" */

const HEIGHT = 18;
const AXIS = 20;
const MIN_WIDTH = 1.5;
/** Where the colour of a status starts, from the top. @type {Record<string, number>} */
const TOPS = { healthy: 12, degraded: 6, unhealthy: 0 };
const STATUSES = Object.keys(TOPS);

export class HealthStrip {
  /** @type {Figures[]} */
  #points = [];
  /** @type {Frame | null} */
  #frame = null;
  /** The share of each status in the legend. @type {Map<string, HTMLElement>} */
  #shares = new Map();
  #cursor = svg("line", { class: "cursor off", y1: 0, y2: HEIGHT });

  /** @param {(index: number) => void} onPoint gets the index of the point under the mouse */
  constructor(onPoint) {
    this.at = el("span", { class: "at" });
    this.drawing = svg("svg", { class: "strip", role: "img", height: HEIGHT + AXIS });
    this.drawing.addEventListener("pointermove", (event) => {
      const x = event.clientX - this.drawing.getBoundingClientRect().left;
      onPoint(this.#frame?.nearest(this.#points, x) ?? -1);
    });
    const legend = [...STATUSES, "none"].map((status) => this.#legendItem(status));
    this.node = el(
      "figure",
      { class: "health-strip" },
      el("figcaption", {}, "Health status", this.at),
      el("ul", { class: "legend" }, legend),
      this.drawing,
    );
  }

  /** @param {string} status */
  #legendItem(status) {
    const share = el("strong", { class: "share" });
    this.#shares.set(status, share);
    const top = TOPS[status] ?? 0;
    const sample = svg(
      "svg",
      { class: "sample", viewBox: "0 0 24 18", "aria-hidden": "true" },
      svg("rect", { class: `stretch ${status}`, x: 0, y: top, width: 24, height: HEIGHT - top }),
    );
    return el("li", {}, sample, status === "none" ? "no check" : `${status} `, status === "none" ? "" : share);
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
    const shares = new Map(sharesOf(points));
    for (const [status, node] of this.#shares) setText(node, points.length ? `${shares.get(status) ?? 0} %` : "–");
    this.drawing.setAttribute("viewBox", `0 0 ${frame.width} ${HEIGHT + AXIS}`);
    this.drawing.setAttribute("aria-label", summaryOf(points));
    const width = frame.x(frame.to) - frame.x(frame.from);
    this.drawing.replaceChildren(
      svg("rect", { class: "stretch none", x: frame.x(frame.from), y: 0, width, height: HEIGHT }),
      ...stretchesOf(points).map((stretch) => stretchOf(stretch, frame)),
      ...timeAxis(frame, HEIGHT + AXIS - 5),
      this.#cursor,
    );
  }

  /**
   * Show the status of a point, and a cursor at the point unless it is the newest one.
   *
   * @param {number} index
   */
  showPoint(index) {
    const point = this.#points[index];
    const isNewest = index === this.#points.length - 1;
    this.#cursor.classList.toggle("off", !point || isNewest);
    setText(this.at, point && !isNewest ? `${localTime(point.at)}, ${point.status}` : "");
    if (!point || !this.#frame) return;
    const x = String(this.#frame.x(point.at));
    this.#cursor.setAttribute("x1", x);
    this.#cursor.setAttribute("x2", x);
  }
}

/**
 * @param {import("./figures.js").Stretch} stretch
 * @param {Frame} frame
 */
function stretchOf({ status, start, end }, frame) {
  const top = TOPS[status] ?? 0;
  const left = Math.max(frame.x(frame.from), frame.x(start));
  const width = Math.max(MIN_WIDTH, frame.x(end) - left);
  const title = `${status}, ${localTime(start)} to ${localTime(end)}`;
  return svg(
    "rect",
    { class: `stretch ${status}`, x: left, y: top, width, height: HEIGHT - top },
    svg("title", { text: title }),
  );
}

/** @param {Figures[]} points */
function summaryOf(points) {
  const shares = sharesOf(points).map(([status, percent]) => `${status} ${percent} %`);
  return `Health status: ${shares.join(", ") || "no check recorded in this time"}`;
}
