/** Who works, what waits for them, and when the purge last ran: small tiles. */

import { byId, el, icon, reconcile, setText } from "../shared/dom.js";
import { number, plural, setTime, timeEl } from "../shared/format.js";
import { link } from "../shared/route.js";

/** Queues that work comes through; without a worker for one, that work waits for ever. */
const ALWAYS = ["vmpooler.maintenance"];
const MANAGING = ["vmpooler.check", "vmpooler.clone", "vmpooler.destroy"];

export function showTiles(overview) {
  reconcile(byId("tiles"), tilesOf(overview), (tile) => tile.title, make, update);
}

function tilesOf(overview) {
  return [workers(overview), beats(overview), messages(overview), letters(overview), purge(overview)];
}

function workers({ workers: found, features }) {
  const taken = new Set(found.flatMap((worker) => worker.queues));
  const missing = [...ALWAYS, ...(features.manage_pools ? MANAGING : [])].filter((queue) => !taken.has(queue));
  if (!found.length) {
    return {
      title: "Workers",
      value: "None",
      tone: "bad",
      lines: [
        "No worker answers: nothing is purged, checked or cloned.",
        "Start one: vmpooler-tasks doctor tells how.",
      ],
    };
  }
  const names = found.map((worker) => `${worker.name}: ${worker.queues.map(short).join(", ")}`);
  const warnings = missing.length ? [`No worker takes ${missing.join(", ")}.`] : [];
  return {
    title: "Workers",
    value: number(found.length),
    tone: missing.length ? "warn" : "ok",
    lines: [...warnings, ...names],
  };
}

/** All queues of ours begin alike. */
const short = (queue) => queue.replace(/^vmpooler\./, "");

function beats({ beats: found }) {
  return found.length
    ? {
        title: "Beat",
        value: number(found.length),
        tone: "ok",
        lines: [...found, ...(found.length > 1 ? ["One is at work, the others stand by."] : [])],
      }
    : {
        title: "Beat",
        value: "None",
        tone: "bad",
        lines: ["No beat: nothing is scheduled.", "Start one: vmpooler-tasks doctor tells how."],
      };
}

function messages({ messages: depths, unacknowledged }) {
  const entries = Object.entries(depths).sort(([, one], [, other]) => other - one);
  const total = entries.reduce((sum, [, depth]) => sum + depth, 0);
  return {
    title: "Tasks waiting",
    value: number(total),
    tone: null,
    lines: [
      ...entries.map(([queue, depth]) => `${short(queue)}: ${number(depth)}`),
      `taken, not yet done: ${number(unacknowledged)}`,
    ],
  };
}

function letters({ dlq, features }) {
  const entries = Object.entries(dlq);
  const total = entries.reduce((sum, [, size]) => sum + size, 0);
  const off = features.dlq ? [] : ["Switched off: failures leave no letter (dlq_enabled: false)."];
  return {
    title: "Dead letters",
    value: number(total),
    tone: features.dlq ? null : "warn",
    href: link("letters"),
    lines: [...off, ...entries.map(([queue, size]) => `${queue}: ${number(size)}`)],
  };
}

function purge({ purge: last, features }) {
  const running = last.started && (!last.finished || last.finished < last.started);
  const lines = [
    !features.purge && "Switched off (purge_enabled: false).",
    features.purge && features.purge_dry_run && "Dry run: it changes nothing (purge_dry_run: true).",
    last.failure && `The last one failed: ${last.failure}`,
  ].filter(Boolean);
  const tone = last.failure ? "bad" : features.purge && !features.purge_dry_run ? null : "warn";
  return {
    title: "Last purge",
    tone,
    href: link("purge"),
    lines,
    ...(running ? { value: "under way" } : { time: last.finished ?? "" }),
  };
}

function make(tile) {
  const words = el("span", { text: tile.title });
  return el(
    "section",
    { class: "tile", "aria-label": tile.title },
    el("h2", {}, tile.href ? el("a", { href: tile.href }, words) : words),
    el("p", { class: "value" }, el("span", { class: "mark" }), el("span", { class: "words" }), timeEl(null, "age")),
    el("ul", { class: "lines" }),
  );
}

function update(node, tile) {
  const tone = tile.tone ?? "";
  if (node.dataset.tone !== tone) {
    node.dataset.tone = tone;
    const drawn = { bad: "unhealthy", warn: "degraded" }[tone];
    node.querySelector(".mark").replaceChildren(...(drawn ? [icon(drawn)] : []));
  }
  const time = node.querySelector("time");
  time.hidden = tile.time === undefined;
  if (tile.time !== undefined) setTime(time, tile.time, "age");
  setText(node.querySelector(".words"), tile.value ?? "");
  reconcile(
    node.querySelector(".lines"),
    tile.lines.map((text, index) => ({ text, index })),
    (line) => line.index,
    () => el("li"),
    (item, line) => setText(item, line.text),
  );
}

/** How many dead letters there are, in the bar. */
export function showLetterCount(dlq) {
  const total = Object.values(dlq).reduce((sum, size) => sum + size, 0);
  const node = byId("letters-count");
  setText(node, number(total));
  node.title = plural(total, "dead letter");
}
