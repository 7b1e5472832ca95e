import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ago,
  duration,
  epochOf,
  isoTime,
  localTime,
  number,
  plural,
  printableJson,
  serverNow,
  setServerTime,
  visible,
} from "../../vmpooler_tasks/web/static/js/shared/format.js";

/** @type {[unknown, string][]} */
const NUMBERS = [
  [0, "0"],
  [-1234, "-1,234"],
  [1_234_567, "1,234,567"],
  [0.5, "0.5"],
  [1e21, "1,000,000,000,000,000,000,000"],
  [NaN, "–"],
  [Infinity, "–"],
  [undefined, "–"],
  [null, "–"],
  [{}, "–"],
  ["many", "many"],
];

test("a number has separators, and everything else is a dash or its own text", () => {
  for (const [value, text] of NUMBERS) assert.equal(number(value), text);
});

test("one is singular, all else is plural", () => {
  assert.equal(plural(1, "dead letter"), "1 dead letter");
  assert.equal(plural(0, "dead letter"), "0 dead letters");
  assert.equal(plural(2000, "entry", "entries"), "2,000 entries");
});

/** @type {[unknown, number | null][]} */
const EPOCHS = [
  [1_700_000_000, 1_700_000_000],
  [0, 0],
  [-5, -5],
  ["1700000000.25", 1_700_000_000.25],
  ["2023-11-14T22:13:20Z", 1_700_000_000],
  ["2023-11-14T22:13:20+01:00", 1_699_996_400],
  [8.64e12, 8.64e12],
  [8.65e12, null],
  ["1e400", null],
  [NaN, null],
  ["", null],
  ["   ", null],
  ["yesterday", null],
  ["昨日", null],
  [true, null],
  [[], null],
  [null, null],
  [undefined, null],
];

test("an epoch or an ISO text is a time, and nothing else is", () => {
  for (const [value, epoch] of EPOCHS) assert.equal(epochOf(value), epoch, String(value));
});

test("an ISO time has fractions only where they are not zero", () => {
  assert.equal(isoTime(0), "1970-01-01T00:00:00Z");
  assert.equal(isoTime(1.25), "1970-01-01T00:00:01.250Z");
  assert.equal(isoTime(8.64e12), "+275760-09-13T00:00:00Z");
});

/** @type {[unknown, string][]} */
const DURATIONS = [
  [0, "0 s"],
  [-7, "0 s"],
  [0.4, "0 s"],
  [59.4, "59 s"],
  [59.6, "1 min"],
  [61, "1 min 1 s"],
  [3600, "1 h"],
  [7500, "2 h 5 min"],
  [36_060, "10 h"],
  [86_400, "1 d"],
  [9 * 86_400 + 7200, "9 d 2 h"],
  [12 * 86_400 + 7200, "12 d"],
  [1e12, "11,574,074 d"],
  [NaN, "–"],
  [Infinity, "–"],
  [undefined, "–"],
  ["60", "–"],
];

test("a duration has at most two units", () => {
  for (const [seconds, text] of DURATIONS) assert.equal(duration(seconds), text, String(seconds));
});

test("an age is past, present or future", () => {
  assert.equal(ago(100, 100.5), "just now");
  assert.equal(ago(100, 99.5), "just now");
  assert.equal(ago(100, 145), "45 s ago");
  assert.equal(ago(100, 40), "in 1 min");
  assert.equal(ago(8e12, 0), "in 92,592,592 d");
});

test("local time names the day unless it is today, and the year unless it is this year", () => {
  const now = new Date();
  const epoch = now.getTime() / 1000;
  assert.match(localTime(epoch), /^\d\d:\d\d:\d\d$/);
  assert.match(
    localTime(epoch - 800 * 86_400),
    new RegExp(String(new Date(now.getTime() - 800 * 86_400_000).getFullYear())),
  );
  assert.equal(localTime(NaN), "–");
  assert.equal(localTime(1e15), "–");
});

test("the server's clock is followed, and a broken time is ignored", () => {
  setServerTime(Date.now() / 1000 + 3600);
  assert.ok(Math.abs(serverNow() - Date.now() / 1000 - 3600) < 1);
  setServerTime(NaN);
  assert.ok(Math.abs(serverNow() - Date.now() / 1000 - 3600) < 1);
  setServerTime(Date.now() / 1000);
});

/** @type {[string, string][]} */
const TEXTS = [
  ["größe ☃ 🐘 שלום", "größe ☃ 🐘 שלום"],
  ["first\n\tsecond", "first\n\tsecond"],
  ["a\x1b]0;title\x07b\x9b2Jc\x7f\0", "a\\x1b]0;title\\x07b\\x9b2Jc\\x7f\\x00"],
  ["exe.\u202egnp\u2066\u200b\u2028", "exe.\\u202egnp\\u2066\\u200b\\u2028"],
  ["half \ud83d of one", "half \\ud83d of one"],
  ["tag \u{e0041}", "tag \\U000e0041"],
];

test("characters that are not printable are escaped", () => {
  for (const [text, shown] of TEXTS) assert.equal(visible(text), shown);
});

test("JSON with all of them escaped has the same value", () => {
  for (const [text] of TEXTS) {
    const json = printableJson({ [text]: [text] });
    assert.equal(visible(json), json);
    assert.deepEqual(JSON.parse(json), { [text]: [text] });
  }
});
