/** Sizes and ages of the queues over time, from the kept history. */

import { get } from "../shared/api.js";
import { Chart, verdictStrip } from "./chart.js";
import { button } from "../shared/dialogs.js";
import { byId, cell, el, reconcile, row, setText, show, table } from "../shared/dom.js";
import { epochOf, localTime, number, serverNow, timeEl } from "../shared/format.js";

const RANGES = [
  [1, "1 h"],
  [6, "6 h"],
  [24, "24 h"],
  [168, "7 d"],
];
const MOST_POINTS = 240;
const LEAST_SECONDS = 300;
const MOST_TRIES = 8;
const ROWS = 48; // of the table; more would be read by nobody
const TABLE = [
  ["pending", "Pending"],
  ["ready", "Ready"],
  ["completed", "Completed"],
  ["dlq", "Dead letters"],
  ["stuck", "Stuck"],
  ["orphaned", "Orphaned"],
];

const state = { hours: 6, pool: "", points: [], at: -1, lastCheck: null, triesLeft: 0, request: null };
let parts = null;

/** `lastCheck` is when the newest point was measured: only then is there anything new. */
export function showTrends(lastCheck) {
  build();
  if (lastCheck !== state.lastCheck) Object.assign(state, { lastCheck, triesLeft: MOST_TRIES });
  else if (hasNewest(lastCheck) || state.triesLeft <= 0) return;
  state.triesLeft -= 1;
  load();
}

/** The server tells everybody the same history for some seconds: it may lack the check that was just made. */
function hasNewest(lastCheck) {
  const newest = state.points.at(-1)?.at ?? 0;
  return newest >= (epochOf(lastCheck) ?? 0) - 1;
}

function build() {
  if (parts) return;
  const onPoint = (index) => pointAt(index);
  const charts = [
    new Chart({
      title: "VMs in the queues",
      unit: "number",
      onPoint,
      series: [
        { name: "ready", label: "ready" },
        { name: "pending", label: "pending" },
        { name: "completed", label: "completed" },
      ],
    }),
    new Chart({
      title: "Oldest VM",
      unit: "seconds",
      onPoint,
      series: [
        { name: "ready_oldest", label: "ready" },
        { name: "pending_oldest", label: "pending" },
      ],
    }),
    new Chart({ title: "Dead letters", unit: "number", onPoint, series: [{ name: "dlq", label: "dead letters" }] }),
    new Chart({
      title: "Stuck and orphaned",
      unit: "number",
      onPoint,
      series: [
        { name: "stuck", label: "stuck in pending" },
        { name: "orphaned", label: "orphaned metadata" },
      ],
    }),
  ];
  parts = {
    charts,
    ranges: rangeButtons(),
    pools: el("select", { id: "trend-pool", on: { change: choosePool } }),
    slider: el("input", {
      type: "range",
      id: "trend-at",
      min: 0,
      step: 1,
      on: { input: () => pointAt(Number(parts.slider.value)) },
    }),
    readout: el("output", { for: "trend-at", class: "readout" }),
    strip: el("div"),
    none: el("p", { class: "muted", hidden: true, text: "No check was recorded in this time." }),
    details: detailsTable(),
  };
  byId("trends-body").append(
    el(
      "div",
      { class: "controls" },
      parts.ranges,
      el("div", { class: "inline" }, el("label", { for: "trend-pool", text: "Pool" }), parts.pools),
      el(
        "div",
        { class: "inline grow" },
        el("label", { for: "trend-at", text: "Read at" }),
        parts.slider,
        parts.readout,
      ),
    ),
    parts.none,
    el("figure", { class: "verdicts" }, el("figcaption", { text: "Verdict" }), parts.strip),
    el(
      "div",
      { class: "charts" },
      charts.map((chart) => chart.node),
    ),
    parts.details,
  );
  new ResizeObserver(() => draw()).observe(byId("trends-body"));
}

function rangeButtons() {
  return el(
    "div",
    { class: "segments", role: "group", "aria-label": "Time shown" },
    RANGES.map(([hours, label]) =>
      button(
        label,
        () => {
          state.hours = hours;
          state.at = -1;
          load();
        },
        { "data-hours": hours },
      ),
    ),
  );
}

function choosePool() {
  state.pool = parts.pools.value;
  draw();
}

async function load() {
  state.request?.abort();
  const { signal } = (state.request = new AbortController());
  for (const one of parts.ranges.children) one.setAttribute("aria-pressed", Number(one.dataset.hours) === state.hours);
  try {
    const { points } = await get("history", { hours: state.hours, points: MOST_POINTS }, signal);
    const stays = state.at >= 0 && state.at < state.points.length - 1 ? state.points[state.at].at : null;
    state.points = points;
    state.at =
      stays === null
        ? points.length - 1
        : Math.max(
            0,
            points.findIndex((point) => point.at >= stays),
          );
    offerPools();
    draw();
  } catch (error) {
    if (!signal.aborted) state.lastCheck = null; // the next overview tries again
  }
}

function offerPools() {
  const names = [...new Set(state.points.flatMap((point) => Object.keys(point.pools)))].sort();
  if (state.pool && !names.includes(state.pool)) names.push(state.pool);
  reconcile(
    parts.pools,
    ["", ...names],
    (name) => name,
    (name) => el("option", { value: name, text: name || "all" }),
  );
}

/** One point's figures, of the chosen pool or of all: sizes are summed, of ages the oldest counts. */
function figures(point) {
  const pools = state.pool ? [point.pools[state.pool]].filter(Boolean) : Object.values(point.pools);
  const sum = (name) => (pools.length ? pools.reduce((total, pool) => total + (pool[name] ?? 0), 0) : undefined);
  const most = (name) => (pools.length ? Math.max(...pools.map((pool) => pool[name] ?? 0)) : undefined);
  return {
    at: point.at,
    status: point.status,
    dlq: point.dlq,
    orphaned: point.orphaned,
    stuck: state.pool ? sum("stuck") : point.stuck,
    ready: sum("ready"),
    pending: sum("pending"),
    completed: sum("completed"),
    ready_oldest: most("ready_oldest"),
    pending_oldest: most("pending_oldest"),
  };
}

function draw() {
  const points = state.points.map(figures);
  const to = Math.max(serverNow(), points.at(-1)?.at ?? 0);
  // What began within that time fills the width.
  const from = Math.max(to - state.hours * 3600, Math.min(points[0]?.at ?? 0, to - LEAST_SECONDS));
  show(parts.none, points.length === 0);
  for (const chart of parts.charts) {
    const width = Math.floor(chart.node.clientWidth);
    if (width > 0) chart.draw(points, from, to, width);
  }
  const whole = Math.floor(byId("trends-body").clientWidth);
  if (whole > 0) parts.strip.replaceChildren(verdictStrip(points, from, to, whole));
  parts.slider.max = Math.max(0, points.length - 1);
  parts.slider.disabled = points.length === 0;
  pointAt(Math.min(state.at, points.length - 1));
  if (parts.details.open) fillTable();
}

function pointAt(index) {
  const point = state.points[index];
  state.at = index;
  parts.slider.value = Math.max(0, index);
  parts.charts.forEach((chart) => chart.pointAt(index));
  setText(parts.readout, point ? `${localTime(point.at)}, ${point.status}` : "–");
  parts.slider.setAttribute("aria-valuetext", point ? spoken(point) : "nothing recorded");
}

function spoken(point) {
  const values = figures(point);
  const words = parts.charts.flatMap((chart) =>
    chart.series.map(
      ({ name, label }) => `${chart.unit === "seconds" ? "oldest " : ""}${label} ${chart.say(values[name])}`,
    ),
  );
  return `${localTime(point.at)}, ${point.status}: ${words.join(", ")}`;
}

function detailsTable() {
  const made = table(
    "Figures over time, newest first",
    [{ label: "Time" }, { label: "Verdict" }, ...TABLE.map(([, label]) => ({ label, class: "num" }))],
    { name: "cards compact" },
  );
  const node = el(
    "details",
    { class: "figures", on: { toggle: () => node.open && fillTable() } },
    el("summary", { text: "The same as a table" }),
    made.node,
  );
  node.tableBody = made.body;
  return node;
}

function fillTable() {
  const step = Math.max(1, Math.ceil(state.points.length / ROWS));
  const chosen = state.points.filter((_, index) => (state.points.length - 1 - index) % step === 0).reverse();
  reconcile(
    parts.details.tableBody,
    chosen.map(figures),
    (point) => `${state.pool}/${point.at}`,
    (point) =>
      row(
        el("th", { scope: "row", role: "rowheader" }, timeEl(point.at)),
        cell("Verdict", { text: point.status }),
        ...TABLE.map(([name, label]) => cell(label, { class: "num", text: number(point[name]) })),
      ),
  );
}
