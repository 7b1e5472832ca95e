/** Line charts over time, drawn as SVG. A chart is redrawn as a whole; its cursor moves without that. */

import { el, setText, svg } from "../shared/dom.js";
import { duration, number } from "../shared/format.js";
import { durationTicks, numberTicks, timeLabel, timeTicks } from "./scale.js";

const HEIGHT = 190;
const LEFT = 64;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 24;
const PIXELS_A_TICK = 90;

/** Gaps this many times the usual distance are no line: nobody measured then. */
const GAP = 4;

/**
 * `series`: [{name, label}], whose values stand in each point under `name`. `unit` is "number" or "seconds".
 * `onPoint(index)` is told which point the mouse is at.
 */
export class Chart {
  #points = [];
  #x = () => 0;

  constructor({ title, series, unit, onPoint }) {
    this.series = series;
    this.unit = unit;
    this.title = title;
    this.values = new Map();
    this.legend = el(
      "ul",
      { class: "legend" },
      series.map((one) => this.#legendItem(one)),
    );
    this.drawing = svg("svg", { class: "chart", role: "img", height: HEIGHT });
    this.drawing.addEventListener("pointermove", (event) => onPoint(this.#nearest(event)));
    this.node = el("figure", {}, el("figcaption", { text: title }), this.legend, this.drawing);
  }

  say(value) {
    if (!Number.isFinite(value)) return "–";
    return this.unit === "seconds" ? duration(value) : number(value);
  }

  #legendItem({ name, label }) {
    const value = el("strong", { text: "–" });
    this.values.set(name, value);
    const sample = svg(
      "svg",
      { class: "sample", viewBox: "0 0 24 8", "aria-hidden": "true" },
      svg("path", { class: `line ${name}`, d: "M0 4H24" }),
    );
    return el("li", {}, sample, `${label} `, value);
  }

  /** `points`: [{at, …values}], oldest first; the axis goes from `from` to `to`. */
  draw(points, from, to, width) {
    this.#points = points;
    const most = Math.max(0, ...points.flatMap((point) => this.series.map((one) => point[one.name] ?? 0)));
    const ticks = this.unit === "seconds" ? durationTicks(most) : numberTicks(most);
    const top = ticks.at(-1);
    const x = (at) => LEFT + ((at - from) / (to - from)) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    this.#x = x;
    this.cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", this.#summary());
    this.drawing.replaceChildren(
      ...this.#grid(ticks, y, width),
      ...timeAxis(from, to, x, width),
      ...this.series.map((one) => svg("path", { class: `line ${one.name}`, d: this.#path(one.name, x, y) })),
      this.cursor,
    );
  }

  #grid(ticks, y, width) {
    return ticks.flatMap((tick) => [
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { class: "tick", x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end", text: this.say(tick) }),
    ]);
  }

  #path(name, x, y) {
    const known = this.#points.filter((point) => Number.isFinite(point[name]));
    const most = GAP * usualDistance(this.#points);
    return known
      .map((point, index) => {
        const joined = index > 0 && point.at - known[index - 1].at <= most;
        const dot = !joined && !(known[index + 1]?.at - point.at <= most) ? "h.1" : ""; // a lone point is seen as well
        return `${joined ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point[name]).toFixed(1)}${dot}`;
      })
      .join("");
  }

  #summary() {
    const newest = this.#points.at(-1);
    if (!newest) return `${this.title}: nothing recorded in this time`;
    const parts = this.series.map(({ name, label }) => {
      const all = this.#points.map((point) => point[name]).filter(Number.isFinite);
      const [least, most] = [Math.min(...all), Math.max(...all)].map((value) => this.say(value));
      return `${label} ${this.say(newest[name])} now, from ${least} to ${most}`;
    });
    return `${this.title}: ${parts.join("; ")}`;
  }

  #nearest(event) {
    const box = this.drawing.getBoundingClientRect();
    const distances = this.#points.map((point) => Math.abs(this.#x(point.at) - (event.clientX - box.left)));
    return distances.indexOf(Math.min(...distances));
  }

  /** Shows the values of this point in the legend, and where it is; the line is left out for the newest one. */
  pointAt(index) {
    const point = this.#points[index];
    for (const { name } of this.series) setText(this.values.get(name), this.say(point?.[name]));
    this.cursor?.classList.toggle("off", !point || index === this.#points.length - 1);
    if (!point || !this.cursor) return;
    this.cursor.setAttribute("x1", this.#x(point.at));
    this.cursor.setAttribute("x2", this.#x(point.at));
  }
}

function timeAxis(from, to, x, width) {
  const { ticks, step } = timeTicks(from, to, Math.max(2, Math.floor((width - LEFT - RIGHT) / PIXELS_A_TICK)));
  return ticks.map((at) =>
    svg("text", {
      class: "tick",
      x: Math.min(x(at), width - RIGHT - 16),
      y: HEIGHT - 6,
      "text-anchor": "middle",
      text: timeLabel(at, step),
    }),
  );
}

/** Seconds between two points, as they usually lie. */
export function usualDistance(points) {
  const distances = points
    .slice(1)
    .map((point, index) => point.at - points[index].at)
    .sort((one, other) => one - other);
  return distances[Math.floor(distances.length / 2)] ?? Infinity;
}

/** The verdict over the same time, as a strip of colours with a title each. */
export function verdictStrip(points, from, to, width) {
  const x = (at) => LEFT + ((at - from) / (to - from)) * (width - LEFT - RIGHT);
  const most = GAP * usualDistance(points);
  const parts = stretches(points, most).map(({ status, begin, end }) =>
    svg(
      "rect",
      {
        class: `stretch ${status}`,
        x: x(begin),
        y: HEIGHTS[status] ?? 0,
        width: Math.max(1.5, x(end) - x(begin)),
        height: 18 - (HEIGHTS[status] ?? 0),
      },
      svg("title", { text: status }),
    ),
  );
  return svg(
    "svg",
    { class: "strip", role: "img", height: 18, viewBox: `0 0 ${width} 18`, "aria-label": stripSummary(points) },
    parts,
  );
}

/** A worse verdict is also higher: it can be told without its colour. */
const HEIGHTS = { healthy: 12, degraded: 6, unhealthy: 0 };

function stretches(points, most) {
  const found = [];
  for (const [index, point] of points.entries()) {
    const next = points[index + 1];
    const end = next && next.at - point.at <= most ? next.at : point.at;
    const last = found.at(-1);
    if (last && last.status === point.status && last.end === point.at) last.end = end;
    else found.push({ status: point.status, begin: point.at, end });
  }
  return found;
}

function stripSummary(points) {
  const counts = Map.groupBy(points, (point) => point.status);
  const shares = [...counts].map(
    ([status, those]) => `${status} ${Math.round((100 * those.length) / points.length)} %`,
  );
  return `Verdict: ${shares.join(", ") || "nothing recorded in this time"}`;
}
