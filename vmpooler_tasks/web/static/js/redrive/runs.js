/** Runs of redrives: how those under way go, and what became of the others. */

import { get, mayOperate, post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button } from "../shared/dialogs.js";
import { cell, el, icon, reconcile, row, setText, show, table } from "../shared/dom.js";
import { number, setTime, timeEl } from "../shared/format.js";

const PAUSE_MS = 1000;
const MOST_CARDS = 4;
const MOST_ROWS = 50;
const COUNTS = [
  ["redriven", "redriven"],
  ["obsolete", "closed as obsolete"],
  ["kept", "kept"],
  ["gone", "gone meanwhile"],
  ["failed_again", "failed again"],
];
const STATES = {
  running: "is under way",
  done: "is done",
  cancelled: "was cancelled",
  stopped: "stopped by itself: too many failed again. Mend the cause, then begin a new one",
};

const watched = new Map();
let parts = null;
let timer = null;
let maintained = true;
let onEnd = () => {};

/** The panel; `whenEnded` is called when a run has come to its end. */
export function buildRuns(whenEnded) {
  onEnd = whenEnded;
  const made = table(
    "Runs of the last week, newest first",
    [
      { label: "Began" },
      { label: "State" },
      { label: "Letters", class: "num" },
      { label: "What became of them" },
      { label: "Who" },
      { label: "Why" },
    ],
    { name: "cards compact" },
  );
  parts = {
    cards: el("ul", { class: "runs", "aria-label": "Redrives under way" }),
    body: made.body,
    past: el("details", { class: "figures" }, el("summary", { text: "Runs of the last week" }), made.node),
  };
  parts.past.hidden = true;
  return { cards: parts.cards, past: parts.past };
}

/** Whether a worker takes such runs on; without one they wait. */
export function runsHaveWorker(overview) {
  maintained = overview.workers.some((worker) => worker.queues.includes("vmpooler.maintenance"));
}

export async function loadRuns() {
  const { runs } = await get("redrives");
  for (const run of runs) if (run.state === "running") watched.set(run.run, run);
  show(parts.past, runs.length > 0);
  reconcile(parts.body, runs.slice(0, MOST_ROWS), (run) => run.run, makeRow, updateRow);
  draw();
}

export function watchRun(run) {
  watched.set(run.run, run);
  draw();
  parts.cards.lastElementChild?.scrollIntoView({ block: "nearest" });
}

function makeRow(run) {
  return row(
    cell("Began", {}, timeEl(run.started)),
    cell("State", { class: "state" }),
    cell("Letters", { class: "num", text: number(run.selected) }),
    cell("What became of them", { class: "became" }),
    cell("Who", { text: run.who ?? "" }),
    cell("Why", { class: "wrap", text: run.why ?? "" }),
  );
}

function updateRow(node, run) {
  setTime(node.querySelector("time"), run.started);
  setText(node.querySelector(".state"), run.state);
  setText(node.querySelector(".became"), countsOf(run));
}

const countsOf = (run) =>
  COUNTS.filter(([name]) => run[name])
    .map(([name, what]) => `${number(run[name])} ${what}`)
    .join(", ") || "nothing yet";

function draw() {
  const newest = [...watched.values()].slice(-MOST_CARDS);
  reconcile(parts.cards, newest, (run) => run.run, makeCard, updateCard);
  clearTimeout(timer);
  if (newest.some((run) => run.state === "running")) timer = setTimeout(look, PAUSE_MS);
}

async function look() {
  const running = [...watched.values()].filter((run) => run.state === "running");
  await Promise.allSettled(
    running.map(async (run) => {
      const now = await get(`redrives/${encodeURIComponent(run.run)}`).catch((error) => gaveUp(run, error));
      if (!now) return;
      watched.set(run.run, now);
      if (now.state !== "running") {
        announce(`Redrive ${now.state}: ${countsOf(now)}`);
        onEnd();
      }
    }),
  );
  draw();
}

/** Of a run that nobody knows, or that is not for us to know (any more), nothing more is asked. */
function gaveUp(run, error) {
  if ([401, 403, 404].includes(error.status)) watched.delete(run.run);
  return null;
}

function makeCard(run) {
  const cancel =
    mayOperate() &&
    button(
      "Cancel it",
      async () => {
        cancel.disabled = true;
        await post(`redrives/${encodeURIComponent(run.run)}/cancel`, {}).catch(() => {
          cancel.disabled = false;
        });
      },
      { class: "cancel" },
    );
  const away = el(
    "button",
    {
      type: "button",
      class: "quiet away",
      "aria-label": "Hide this run",
      on: {
        click: () => {
          watched.delete(run.run);
          draw();
        },
      },
    },
    icon("close"),
  );
  return el(
    "li",
    { class: "run" },
    el(
      "p",
      { class: "run-head" },
      el("strong", { class: "run-state" }),
      el("span", { class: "muted", text: `run ${run.run}` }),
      el("span", { class: "spring" }),
      cancel || "",
      away,
    ),
    el("progress", { max: Math.max(1, run.selected), "aria-label": "Letters looked at" }),
    el("p", { class: "became" }),
    el("p", { class: "waits muted", text: "It waits: no worker takes vmpooler.maintenance." }),
  );
}

function updateCard(node, run) {
  const isRunning = run.state === "running";
  setText(node.querySelector(".run-state"), `Redrive ${STATES[run.state] ?? run.state}`);
  node.querySelector("progress").value = run.position;
  setText(node.querySelector(".became"), `${number(run.position)} of ${number(run.selected)}: ${countsOf(run)}`);
  const cancel = node.querySelector(".cancel");
  if (cancel) show(cancel, isRunning);
  show(node.querySelector(".away"), !isRunning);
  show(node.querySelector(".waits"), isRunning && !maintained);
  node.dataset.state = run.state;
}
