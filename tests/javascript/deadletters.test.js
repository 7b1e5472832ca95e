import assert from "node:assert/strict";
import { test } from "node:test";

import { foldedRows, isQuietPurge } from "../../vmpooler_tasks/web/static/js/audit/folding.js";
import { mistakesIn } from "../../vmpooler_tasks/web/static/js/deadletters/filter.js";
import { asWords, NEWEST_FIRST, pressed, sortingOf } from "../../vmpooler_tasks/web/static/js/deadletters/sorting.js";
import { parsedArguments } from "../../vmpooler_tasks/web/static/js/redrive/arguments.js";
import { hasEffect, startText } from "../../vmpooler_tasks/web/static/js/redrive/preview.js";

test("each part of an address that cannot be used is named, with what is allowed", () => {
  assert.deepEqual(mistakesIn({}), []);
  assert.deepEqual(mistakesIn({ queue: "clone", pool: "p", since: "2h", letter: "x", sort: "vm", order: "asc" }), []);
  const wrong = mistakesIn({ queue: "clonee", since: "yesterday", until: "1h", pol: "x", sort: "size", search: "s" });
  assert.deepEqual(
    wrong.map(({ name }) => name),
    ["queue", "since", "until", "pol", "sort"],
  );
  const [queue, since, , pol] = wrong;
  assert.equal(queue.allowed, "it must be one of pending, clone, ready, tasks");
  assert.match(since.allowed, /such as 15m, 2h or 7d/);
  assert.match(pol.allowed, /no such filter. The filters are search, queue, pool/);
  assert.match(mistakesIn({ pool: "x".repeat(501) })[0].allowed, /at most 500/);
});

test("a heading sorts by its column, and again the other way round", () => {
  assert.deepEqual(sortingOf({}), NEWEST_FIRST);
  assert.deepEqual(sortingOf({ sort: "pool" }), { sort: "pool", order: "asc" });
  assert.deepEqual(sortingOf({ sort: "nothing", order: "asc" }), NEWEST_FIRST);
  const byPool = pressed(NEWEST_FIRST, "pool");
  assert.deepEqual(byPool, { sort: "pool", order: "asc" });
  assert.deepEqual(pressed(byPool, "pool"), { sort: "pool", order: "desc" });
  assert.deepEqual(pressed(NEWEST_FIRST, "time"), { sort: "time", order: "asc" });
  assert.deepEqual(asWords(NEWEST_FIRST), {});
  assert.deepEqual(asWords(byPool), { sort: "pool", order: "asc" });
});

test("the button says the numbers of the preview", () => {
  const preview = (/** @type {number} */ redriven, /** @type {number} */ obsolete, kept = 0) => ({
    selected: redriven + obsolete + kept,
    poisoned: 0,
    to_confirm: 0,
    expected: { redriven, obsolete, kept },
    reasons: [],
    groups: [],
  });
  assert.equal(startText(preview(12, 3)), "Redrive 12, close 3");
  assert.equal(startText(preview(1200, 0, 5)), "Redrive 1,200");
  assert.equal(startText(preview(0, 3)), "Close 3 as obsolete");
  assert.equal(hasEffect(preview(0, 3)), true);
  assert.equal(hasEffect(preview(0, 0, 7)), false);
});

test("purges of beat that found nothing are one row", () => {
  const quiet = { at: 5, action: "purge", who: "beat", count: "0" };
  assert.equal(isQuietPurge(quiet), true);
  for (const other of [{ who: "anna" }, { count: "1" }, { errors: "2" }, { failure: "x" }, { action: "delete" }]) {
    assert.equal(isQuietPurge({ ...quiet, ...other }), false, JSON.stringify(other));
  }
  const rows = foldedRows([quiet, { ...quiet, at: 4 }, { ...quiet, at: 3, count: "1" }, { ...quiet, at: 2 }]);
  assert.deepEqual(
    rows.map(({ entries, isFolded }) => [entries.length, isFolded]),
    [
      [2, true],
      [1, false],
      [1, false],
    ],
  );
});

test("typed arguments are checked before they are sent", () => {
  assert.deepEqual(parsedArguments('{"kwargs": {"a": 1}}'), { args: [], kwargs: { a: 1 } });
  assert.throws(() => parsedArguments("{"), /not valid JSON/);
  for (const text of ["[]", "null", "1", '{"kwargs": []}', '{"args": {}}', '{"kwarg": {}}']) {
    assert.throws(() => parsedArguments(text), /must be \{"args"/, text);
  }
});
