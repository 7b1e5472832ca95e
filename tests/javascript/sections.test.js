import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { newOnes, Arrivals } from "../../vmpooler_tasks/web/static/js/deadletters/arrivals.js";
import { tilesOf } from "../../vmpooler_tasks/web/static/js/fleet/tiles.js";
import { shortTask, subjectText } from "../../vmpooler_tasks/web/static/js/fleet/words.js";
import { sectionOf } from "../../vmpooler_tasks/web/static/js/health/links.js";
import { pauseAfter } from "../../vmpooler_tasks/web/static/js/poll.js";
import { ordersFor } from "../../vmpooler_tasks/web/static/js/pools/orders.js";
import { stateOf } from "../../vmpooler_tasks/web/static/js/pools/state.js";
import { countsText, stateText } from "../../vmpooler_tasks/web/static/js/redrive/outcomes.js";
import { queryOf } from "../../vmpooler_tasks/web/static/js/shared/api.js";

const NOW = 1_700_000_000;

const deadLetter = (/** @type {string} */ id, /** @type {unknown} */ failedAt) =>
  /** @type {import("../../vmpooler_tasks/web/static/js/shared/types.js").DeadLetter} */ ({
    id,
    queue: "clone",
    failed_at: failedAt,
  });

test("a new dead letter is one that is no older than those of before", () => {
  const before = [deadLetter("b", NOW), deadLetter("a", NOW - 10)];
  const after = [deadLetter("d", NOW + 1), deadLetter("c", NOW), ...before, deadLetter("older", NOW - 20)];
  assert.deepEqual(
    newOnes(before, after).map(({ id }) => id),
    ["d", "c"],
  );
  assert.deepEqual(newOnes(after, before), []);
  assert.equal(newOnes([], [deadLetter("a", "not a time")]).length, 1);
});

test("an arrival is forgotten after a minute", () => {
  const arrivals = new Arrivals();
  arrivals.add([deadLetter("a", NOW)], NOW);
  arrivals.add([deadLetter("b", NOW)], NOW + 30);
  arrivals.expire(NOW + 61);
  assert.deepEqual([...arrivals.ids()], ["b"]);
  arrivals.clear();
  assert.equal(arrivals.ids().size, 0);
});

test("the overview is requested less and less often while it fails, and seldom in the background", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 5000].map((failures) => pauseAfter(failures, false)),
    [2000, 2000, 4000, 8000, 16_000, 16_000, 16_000],
  );
  assert.equal(pauseAfter(0, true), 15_000);
});

/** @type {import("../../vmpooler_tasks/web/static/js/shared/types.js").Pool} */
const POOL = {
  pool: "p",
  size: 3,
  ready: 3,
  pending: 0,
  cloning: 0,
  running: 0,
  completed: 0,
  failures: 0,
  last_failure: "",
  state: "full",
  since: null,
  until: null,
  why: "",
  last_error: "",
  last_error_at: null,
  provider: "vsphere",
  provider_closed_until: null,
  pool_closed_until: null,
  brake: "",
};

test("the state of a pool is the server's, in words", () => {
  /** @param {Partial<typeof POOL>} changes */
  const state = (changes) => stateOf({ ...POOL, ...changes }, NOW);
  assert.equal(state({}).text, "Full");
  assert.deepEqual(state({ state: "short", ready: 1, cloning: 2 }).text, "Short by 2, cloning 2");
  assert.equal(state({ state: "empty", size: 0, ready: 0 }).text, "Size 0");
  assert.equal(state({ state: "empty", ready: 0, why: "short by 3" }).why, "short by 3");
  const stalled = state({ state: "stalled", ready: 2, since: NOW - 90, why: "no worker" });
  assert.equal(stalled.text, "Short by 1, not moving");
  assert.deepEqual(stalled.time, { at: NOW - 90, display: "running" });
  const suspended = { state: "suspended", why: "the pool: no template" };
  assert.equal(state({ ...suspended, until: NOW + 9 }).text, "Suspended, next attempt in");
  assert.equal(state({ ...suspended, until: NOW - 1 }).text, "Suspended until a clone succeeds");
  assert.deepEqual(state({ state: "paused", since: NOW }).time, { at: NOW, display: "age" });
  assert.equal(state({ state: "of a later version" }).text, "of a later version");
  assert.equal(state({ state: "constructor" }).tone, "closed");
});

test("a pool offers the orders that change its state", () => {
  const actions = (/** @type {string} */ state) => ordersFor({ ...POOL, state }).map(({ action }) => action);
  assert.deepEqual(actions("full"), ["pause", "drain"]);
  assert.deepEqual(actions("suspended"), ["retry", "pause", "drain"]);
  assert.deepEqual(actions("paused"), ["resume", "drain"]);
  assert.deepEqual(actions("draining"), ["resume", "pause"]);
  assert.deepEqual(actions("removed"), ["keep", "resume"]);
});

test("an engaged brake is named beside every state, and can be released", () => {
  const brake = "34 in no queue, 0 missing from the inventory, 36 known";
  const braked = { ...POOL, brake, state: "braked", since: NOW - 60, why: brake };
  const state = { tone: "degraded", text: "Brake engaged", time: { at: NOW - 60, display: "age" }, why: brake };
  assert.deepEqual(stateOf(braked, NOW), state);
  const suspended = stateOf({ ...braked, state: "suspended", why: "no template" }, NOW);
  assert.equal(suspended.why, `no template. Brake engaged: ${brake}`);
  assert.deepEqual(
    ordersFor({ ...braked, state: "paused" }).map(({ action }) => action),
    ["resume", "drain", "confirm"],
  );
});

const RUN = {
  run: "r",
  state: "running",
  selected: 5,
  position: 3,
  redriven: 0,
  obsolete: 0,
  kept: 0,
  gone: 0,
  failed_again: 0,
  who: "olga",
  why: null,
  started: NOW,
};

test("a run names only the outcomes that it has", () => {
  assert.equal(countsText(RUN), "nothing yet");
  assert.equal(countsText({ ...RUN, redriven: 1200, failed_again: 1 }), "1,200 redriven, 1 failed again");
  assert.equal(stateText(RUN), "Redrive is running");
  assert.equal(stateText({ ...RUN, state: "of a later version" }), "Redrive of a later version");
});

const OVERVIEW = {
  at: NOW,
  health: { status: "healthy", last_check: null, reasons: [] },
  pools: [],
  dlq: { clone: 3, tasks: 1 },
  workers: [
    {
      name: "w1",
      host: "h1",
      queues: ["vmpooler.maintenance", "other"],
      tasks: [{ name: "vmpooler_tasks.redrive", id: "1", subject: {}, since: NOW }],
    },
  ],
  beats: ["b1", "b2"],
  messages: { "vmpooler.clone": 2, "vmpooler.check": 5 },
  unacknowledged: 1,
  purge: { started: null, finished: null, failure: null },
  features: { dlq: true, purge: true, purge_dry_run: false, health: true, manage_pools: false },
  open_requests: 0,
  version: "1",
  flower: null,
  revision: "1",
};

/** @param {object} changes @param {string} title */
function tile(changes, title) {
  const found = tilesOf({ ...OVERVIEW, ...changes }).find((one) => one.title === title);
  assert.ok(found, title);
  return /** @type {NonNullable<typeof found>} */ (found);
}

test("tiles name who is missing", () => {
  assert.deepEqual(tile({}, "Workers").lines, ["1 task running"]);
  const managed = tile({ features: { ...OVERVIEW.features, manage_pools: true } }, "Workers");
  assert.equal(managed.tone, "bad");
  assert.equal(managed.lines[0], "No worker serves vmpooler.check, vmpooler.clone, vmpooler.destroy.");
  assert.equal(tile({ workers: [] }, "Workers").tone, "bad");
  assert.equal(tile({ beats: [] }, "Beat").tone, "bad");
});

test("a running task names its VM, pool and request", () => {
  assert.equal(subjectText({ vm: "v", pool: "p", request_id: "7c9e6679-7425" }), "v of p, for request 7c9e6679");
  assert.equal(subjectText({ pool: "p" }), "p");
  assert.equal(subjectText({}), "");
  assert.equal(shortTask("vmpooler_tasks.clone_vm"), "clone_vm");
});

test("waiting tasks are summed, the longest queue first", () => {
  const { value, lines } = tile({}, "Waiting tasks");
  assert.equal(value, "7");
  assert.deepEqual(lines, ["check 5, clone 2", "taken by workers: 1"]);
});

test("the last purge is running, finished, failed or never ran", () => {
  assert.equal(tile({}, "Last purge").time, null);
  assert.equal(tile({ purge: { started: 5, finished: null, failure: null } }, "Last purge").value, "running");
  assert.equal(tile({ purge: { started: 5, finished: 4, failure: null } }, "Last purge").value, "running");
  assert.equal(tile({ purge: { started: 5, finished: 6, failure: null } }, "Last purge").time, 6);
  assert.equal(tile({ purge: { started: 5, finished: 6, failure: "no" } }, "Last purge").tone, "bad");
});

test("a reason links to the section that shows more, with its pool and queue", () => {
  const reason = { severity: "degraded", found: "", remedy: "", pool: "p", queue: "ready" };
  assert.equal(sectionOf({ ...reason, code: "pool_broken" })?.href, "#letters?pool=p&queue=clone");
  assert.equal(sectionOf({ ...reason, code: "purge_aborted" })?.href, "#purge?pool=p&queue=ready");
  assert.equal(sectionOf({ ...reason, code: "ready_queue" })?.href, "#pools");
  assert.equal(sectionOf({ ...reason, code: "of a later version" }), null);
  assert.equal(sectionOf({ ...reason, code: "constructor" }), null);
});

test("a query repeats lists and leaves out what is empty", () => {
  assert.equal(queryOf({}), "");
  assert.equal(queryOf({ a: null, b: undefined, c: "", d: [] }), "");
  assert.equal(queryOf({ a: ["x", "y & z"], n: 0, f: false }), "?a=x&a=y+%26+z&n=0&f=false");
});

test("every link within the page names a section of it", () => {
  const folder = new URL("../../vmpooler_tasks/web/static/", import.meta.url);
  const html = readFileSync(new URL("index.html", folder), "utf8");
  const sections = [...html.matchAll(/data-section="(\w+)"/g)].map((found) => found[1]);
  assert.ok(sections.length > 0);
  for (const path of readdirSync(new URL("js/", folder), { recursive: true })) {
    if (!path.endsWith(".js")) continue;
    const text = readFileSync(new URL(`js/${path}`, folder), "utf8");
    for (const [, name] of text.matchAll(/(?:hashOf|goTo)\("(\w+)"|section: "(\w+)"/g)) {
      if (name) assert.ok(sections.includes(name), `${path} links to ${name}`);
    }
  }
});
