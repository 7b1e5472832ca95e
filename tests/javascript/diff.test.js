import assert from "node:assert/strict";
import { test } from "node:test";

import { stepsBetween, uniqueKeys } from "../../vmpooler_tasks/web/static/js/shared/diff.js";

/**
 * Return the list after the steps, as the page carries them out: an inserted key leaves its old place.
 *
 * @param {string[]} before
 * @param {string[]} after
 */
function carriedOut(before, after) {
  const { removals, insertions } = stepsBetween(before, after);
  const list = before.filter((key) => !removals.includes(key));
  for (const { key, index } of insertions) {
    const target = list[index];
    const from = list.indexOf(key);
    if (from >= 0) list.splice(from, 1);
    list.splice(target === undefined ? list.length : list.indexOf(target), 0, key);
  }
  return list;
}

/** @type {[string, string, number][]} The lists as words, and how many insertions are needed. */
const CHANGES = [
  ["", "", 0],
  ["", "abc", 3],
  ["abc", "", 0],
  ["abc", "abc", 0],
  ["abc", "xabc", 1],
  ["abc", "abcx", 1],
  ["abc", "axbc", 1],
  ["abc", "ac", 0],
  ["abcd", "bd", 0],
  ["abc", "cab", 1],
  ["abc", "cba", 2],
  ["abc", "xyz", 3],
  ["abcdef", "fxbad", 3],
];

test("the steps turn one list into the other", () => {
  for (const [before, after, count] of CHANGES) {
    assert.equal(carriedOut([...before], [...after]).join(""), after);
    assert.equal(stepsBetween([...before], [...after]).insertions.length, count, `${before} → ${after}`);
  }
});

test("only what is gone is removed", () => {
  assert.deepEqual(stepsBetween(["a", "b", "c"], ["c", "d"]).removals, ["a", "b"]);
});

test("what keeps its order is in no step", () => {
  const steps = stepsBetween(["old-1", "old-2", "old-3"], ["new", "old-1", "old-3"]);
  assert.deepEqual(steps, { removals: ["old-2"], insertions: [{ key: "new", index: 0 }] });
});

test("all changes of short lists are right", () => {
  const lists = permutations(["a", "b", "c", "é", "😀"]);
  for (const after of lists) {
    for (let size = 0; size <= after.length; size += 1) {
      assert.deepEqual(carriedOut(["a", "b", "c", "é"], after.slice(0, size)), after.slice(0, size));
    }
  }
});

test("a long list that is turned round is right, too", () => {
  const before = Array.from({ length: 300 }, (_, index) => `key ${index}`);
  const after = [...before].reverse();
  assert.deepEqual(carriedOut(before, after), after);
});

/**
 * @param {string[]} items
 * @returns {string[][]}
 */
function permutations(items) {
  if (items.length === 0) return [[]];
  return items.flatMap((item) => permutations(items.filter((other) => other !== item)).map((rest) => [item, ...rest]));
}

test("equal keys get numbers", () => {
  assert.deepEqual(uniqueKeys([]), []);
  assert.deepEqual(uniqueKeys(["a", "b"]), ["a", "b"]);
  assert.deepEqual(uniqueKeys(["a", "a", "b", "a"]), ["a", "a#2", "b", "a#3"]);
});

test("a key that looks like a numbered one does not collide", () => {
  assert.deepEqual(uniqueKeys(["a#2", "a", "a"]), ["a#2", "a", "a#3"]);
  assert.deepEqual(uniqueKeys(["a", "a", "a#2"]), ["a", "a#2", "a#2#2"]);
  assert.deepEqual(uniqueKeys(["", "", "constructor", "__proto__", "__proto__"]), [
    "",
    "#2",
    "constructor",
    "__proto__",
    "__proto__#2",
  ]);
});
