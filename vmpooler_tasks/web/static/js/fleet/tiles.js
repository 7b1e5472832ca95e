/** Small tiles: workers, beat, waiting tasks, dead letters and the last purge. */

import { byId, el, icon, part, setText, show, timeIn } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { hashOf } from "../shared/route.js";
import { setTime, timeEl } from "../shared/times.js";
import { shortQueue } from "./words.js";

/** @import { Counts, Overview } from "../shared/types.js" */

/**
 * A tile shows a value or, with `time`, an age.
 *
 * @typedef {object} Tile
 * @property {string} title
 * @property {string} [value]
 * @property {number | null} [time]
 * @property {"bad" | "warn" | null} tone
 * @property {string} [href]
 * @property {string[]} lines
 */

/** Celery queues. Without a worker for one of them, its tasks wait for ever. */
const ALWAYS_NEEDED = ["vmpooler.maintenance"];
const NEEDED_FOR_POOLS = ["vmpooler.check", "vmpooler.clone", "vmpooler.destroy"];

const HOW_TO_START = "Run vmpooler-tasks doctor to see how to start one.";

/** @param {Overview} overview */
export function showTiles(overview) {
  reconcile(byId("tiles"), tilesOf(overview), (tile) => tile.title, create, update);
}

/**
 * Return the tiles of an overview.
 *
 * @param {Overview} overview
 * @returns {Tile[]}
 */
export function tilesOf(overview) {
  return [workers(overview), beats(overview), messages(overview), deadLetters(overview), purge(overview)];
}

/**
 * @param {Overview} overview
 * @returns {Tile}
 */
function workers({ workers: found, features }) {
  if (!found.length) {
    const effect = "No worker is running. Nothing is purged, checked or cloned.";
    return { title: "Workers", value: "None", tone: "bad", lines: [effect, HOW_TO_START] };
  }
  const served = new Set(found.flatMap((worker) => worker.queues));
  const needed = [...ALWAYS_NEEDED, ...(features.manage_pools ? NEEDED_FOR_POOLS : [])];
  const missing = needed.filter((queue) => !served.has(queue));
  const running = found.reduce((sum, worker) => sum + worker.tasks.length, 0);
  const lines = [`${plural(running, "task")} running`];
  if (missing.length) lines.unshift(`No worker serves ${missing.join(", ")}.`);
  return {
    title: "Workers",
    value: number(found.length),
    tone: missing.length ? "bad" : null,
    href: hashOf("workers"),
    lines,
  };
}

/**
 * @param {Overview} overview
 * @returns {Tile}
 */
function beats({ beats: found }) {
  if (!found.length) {
    const effect = "No beat is running. No task is scheduled.";
    return { title: "Beat", value: "None", tone: "bad", lines: [effect, HOW_TO_START] };
  }
  const standby = found.length > 1 ? ["One is active, the others are on standby."] : [];
  return { title: "Beat", value: number(found.length), tone: null, lines: [...found, ...standby] };
}

/**
 * @param {Overview} overview
 * @returns {Tile}
 */
function messages({ messages: depths, unacknowledged }) {
  const entries = Object.entries(depths).sort(([, one], [, other]) => other - one);
  const waiting = countLines(entries.map(([queue, depth]) => [shortQueue(queue), depth]));
  const lines = [...waiting, `taken by workers: ${number(unacknowledged)}`];
  return { title: "Waiting tasks", value: number(totalOf(depths)), tone: null, lines };
}

/**
 * @param {Overview} overview
 * @returns {Tile}
 */
function deadLetters({ dlq, features }) {
  const lines = countLines(Object.entries(dlq));
  if (!features.dlq) lines.unshift("Switched off: failures are not recorded (dlq_enabled: false).");
  return {
    title: "Dead letters",
    value: number(totalOf(dlq)),
    tone: features.dlq ? null : "warn",
    href: hashOf("letters"),
    lines,
  };
}

/**
 * @param {Overview} overview
 * @returns {Tile}
 */
function purge({ purge: last, features }) {
  const isRunning = last.started !== null && (last.finished === null || last.finished < last.started);
  const lines = [];
  if (!features.purge) lines.push("Switched off (purge_enabled: false).");
  else if (features.purge_dry_run) lines.push("Dry run: it changes nothing (purge_dry_run or observe_only).");
  if (last.failure) lines.push(`The last purge failed: ${last.failure}`);
  const isOff = !features.purge || features.purge_dry_run;
  return {
    title: "Last purge",
    tone: last.failure ? "bad" : isOff ? "warn" : null,
    href: hashOf("purge"),
    lines,
    ...(isRunning ? { value: "running" } : { time: last.finished }),
  };
}

/**
 * Return one line with the counts that are not zero: a line for each would move what is below with every task.
 *
 * @param {[string, number][]} counts
 */
const countLines = (counts) => {
  const words = counts.filter(([, count]) => count).map(([name, count]) => `${name} ${number(count)}`);
  return words.length ? [words.join(", ")] : [];
};

/** @param {Counts} counts */
export const totalOf = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** @param {Tile} tile */
function create(tile) {
  const title = el("span", { text: tile.title });
  return el(
    "div",
    { class: "tile", role: "group", "aria-label": tile.title },
    el("h2", {}, tile.href ? el("a", { href: tile.href }, title) : title),
    el("p", { class: "value" }, el("span", { class: "mark" }), el("span", { class: "words" }), timeEl(null, "age")),
    el("ul", { class: "lines" }),
  );
}

const TONE_ICONS = { bad: "unhealthy", warn: "degraded" };

/**
 * @param {HTMLElement} node
 * @param {Tile} tile
 */
function update(node, tile) {
  if (node.dataset.tone !== (tile.tone ?? "")) {
    node.dataset.tone = tile.tone ?? "";
    part(node, ".mark").replaceChildren(...(tile.tone ? [icon(TONE_ICONS[tile.tone])] : []));
  }
  show(timeIn(node), tile.time !== undefined);
  if (tile.time !== undefined) setTime(timeIn(node), tile.time, "age");
  setText(part(node, ".words"), tile.value ?? "");
  reconcile(part(node, ".lines"), [...tile.lines.entries()], ([index]) => index, createLine, updateLine);
}

const createLine = () => el("li");

/**
 * @param {HTMLElement} item
 * @param {[number, string]} line
 */
function updateLine(item, [, text]) {
  setText(item, text);
}

/**
 * Show the numbers of open requests and of dead letters in the bar.
 *
 * @param {Overview} overview
 */
export function showCounts({ open_requests: openRequests, dlq }) {
  showCount("request-count", openRequests, "open request");
  showCount("dead-letter-count", totalOf(dlq), "dead letter");
}

/**
 * @param {string} id
 * @param {number} count
 * @param {string} what
 */
function showCount(id, count, what) {
  const node = byId(id);
  setText(node, number(count));
  node.title = plural(count, what);
}
