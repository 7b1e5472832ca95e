import assert from "node:assert/strict";
import { test } from "node:test";

import {
  asQuery,
  asSelection,
  chipsOf,
  filterOf,
  inWords,
  sinceText,
  without,
} from "../../vmpooler_tasks/web/static/js/deadletters/filter.js";
import { serverNow } from "../../vmpooler_tasks/web/static/js/shared/format.js";
import { hashOf, placeOf, poolHash } from "../../vmpooler_tasks/web/static/js/shared/route.js";

/** @param {unknown} epoch @param {number} wanted */
function isNear(epoch, wanted) {
  assert.ok(typeof epoch === "number" && Math.abs(epoch - wanted) <= 2, `${epoch} is not near ${wanted}`);
}

test("only known and filled words of the hash are a filter", () => {
  assert.deepEqual(filterOf({}), {});
  assert.deepEqual(filterOf({ letter: "abc", pool: "", vm: "v", nonsense: "x" }), { vm: "v" });
  assert.deepEqual(filterOf({ error: "n°1 <b>", search: "ü 😀" }), { search: "ü 😀", error: "n°1 <b>" });
});

test("the order of the words does not matter", () => {
  assert.equal(
    JSON.stringify(filterOf({ vm: "v", search: "s", queue: "clone" })),
    JSON.stringify(filterOf({ queue: "clone", search: "s", vm: "v" })),
  );
});

test("a time that cannot be read is no filter", () => {
  for (const since of ["abc", "1x", "-1h", "-5", "1e5", "NaN", "Infinity", "9".repeat(30), " "]) {
    assert.deepEqual(filterOf({ since }), {}, since);
    assert.deepEqual(filterOf({ until: since }), {}, since);
  }
  assert.deepEqual(filterOf({ since: "90m", until: "1700000000" }), { since: "90m", until: "1700000000" });
});

test("a relative time counts from now, and an epoch stays", () => {
  isNear(asQuery({ since: "15m" }).since, serverNow() - 900);
  isNear(asQuery({ since: "2d" }).since, serverNow() - 172_800);
  assert.equal(asQuery({ since: "99999999999999d" }).since, 0);
  assert.equal(asQuery({ since: "1700000000" }).since, 1_700_000_000);
  assert.equal(asQuery({ pool: "p" }).since, undefined);
});

test("a selection ends now unless the filter has an end", () => {
  isNear(asSelection({ pool: "p" }).until, serverNow());
  assert.equal(asSelection({ pool: "p", until: "1700000000" }).until, 1_700_000_000);
});

test("times of a selection are numbers, as the API wants them", () => {
  const selection = asSelection({ since: "1700000000", until: "1700003600" });
  assert.equal(selection.since, 1_700_000_000);
  assert.equal(selection.until, 1_700_003_600);
});

test("everything is selected only without a condition", () => {
  assert.equal(asSelection({}).every, true);
  assert.equal(asSelection({ queue: "clone" }).every, true);
  assert.deepEqual(asSelection({ queue: "clone" }).queues, ["clone"]);
  for (const name of ["search", "pool", "vm", "request", "error", "error_class"]) {
    const selection = asSelection({ [name]: "x" });
    assert.equal(selection.every, undefined, name);
    assert.equal(selection[name], "x");
    assert.deepEqual(selection.queues, []);
  }
  assert.equal(asSelection({ since: "1h" }).every, undefined);
});

test("a condition is removed, and the filter stays as it was", () => {
  const filter = { pool: "p", error: "e" };
  assert.deepEqual(without(filter, "error"), { pool: "p" });
  assert.deepEqual(without(filter, "vm"), filter);
  assert.deepEqual(filter, { pool: "p", error: "e" });
});

test("a filter is said in words", () => {
  assert.equal(inWords({}), "all dead letters");
  assert.equal(inWords({ search: "x", since: "1h" }), "search “x”, last hour");
  assert.equal(inWords({ vm: "v", error_class: "E" }), "VM: v, class: E");
  assert.equal(sinceText("3d"), "last 3d");
  assert.match(sinceText("1700000000"), /^since .*2023/);
});

test("filters without a field are chips", () => {
  assert.deepEqual(chipsOf({ pool: "p", since: "1h" }), []);
  assert.deepEqual(chipsOf({ vm: "v", request: "r" }), [
    { name: "vm", text: "VM: v" },
    { name: "request", text: "request: r" },
  ]);
});

test("a hash names one pool, whatever its name holds", () => {
  for (const pool of ["centos-7-x86_64", "a/b", "50%", "x?y=z", "ü"]) {
    assert.deepEqual(placeOf(poolHash(pool)), { section: "pools", name: pool, filters: {} });
  }
  assert.equal(placeOf("#pools/50%").name, "50%");
});

test("a hash holds the filter, and gives it back", () => {
  for (const value of ["a b&c=d", "#?%", "ü 😀", "<img src=x>", "x?y"]) {
    const hash = hashOf("letters", { search: value, pool: "", queue: null });
    assert.deepEqual(placeOf(hash), { section: "letters", name: "", filters: { search: value } });
  }
  assert.equal(hashOf("purge"), "#purge");
  assert.deepEqual(placeOf(""), { section: "status", name: "", filters: {} });
  assert.deepEqual(placeOf("#letters?search=a?b"), { section: "letters", name: "", filters: { search: "a?b" } });
});
