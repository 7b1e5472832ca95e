import assert from "node:assert/strict";
import { test } from "node:test";

import { durationTicks, numberTicks, timeLabel, timeTicks } from "../../vmpooler_tasks/web/static/js/trends/scale.js";

const DAY = 86_400;
const START = 1_700_000_000;

test("marks of numbers are whole and round", () => {
  assert.deepEqual(numberTicks(0), [0, 1]);
  assert.deepEqual(numberTicks(1), [0, 1]);
  assert.deepEqual(numberTicks(3), [0, 1, 2, 3]);
  assert.deepEqual(numberTicks(7), [0, 2, 4, 6, 8]);
  assert.deepEqual(numberTicks(1000), [0, 500, 1000]);
  assert.deepEqual(numberTicks(1001), [0, 500, 1000, 1500]);
});

test("marks of numbers start at zero, rise evenly, reach the maximum, and are few", () => {
  for (const max of [2, 5, 9, 11, 99, 101, 4097, 1e6, 12_345_678, 9e15, 1e300]) {
    const ticks = numberTicks(max);
    assert.equal(ticks[0], 0);
    assert.ok(ticks[ticks.length - 1] >= max, `${max}`);
    assert.ok(ticks.length >= 2 && ticks.length <= 6, `${max}: ${ticks.length}`);
    assert.equal(new Set(ticks).size, ticks.length);
  }
});

test("a maximum that is no number, infinite or negative gives an axis all the same", () => {
  for (const max of [NaN, Infinity, -Infinity, -5]) {
    assert.deepEqual(numberTicks(max), [0, 1]);
    assert.deepEqual(durationTicks(max), [0, 1]);
  }
});

test("marks of durations are whole minutes, hours or days", () => {
  assert.deepEqual(durationTicks(100), [0, 30, 60, 90, 120]);
  assert.deepEqual(durationTicks(3 * 3600), [0, 3600, 7200, 10_800]);
  assert.deepEqual(durationTicks(365 * DAY), [0, 92 * DAY, 184 * DAY, 276 * DAY, 368 * DAY]);
});

test("marks of time lie within the axis, evenly, and are no more than wanted", () => {
  for (const seconds of [300, 3600, 6 * 3600, DAY, 7 * DAY, 400 * DAY, 1e9]) {
    const { ticks, step } = timeTicks(START, START + seconds, 10);
    assert.ok(ticks.length >= 1 && ticks.length <= 11, `${seconds}: ${ticks.length}`);
    assert.ok(ticks.every((at) => at >= START && at <= START + seconds));
    assert.ok(ticks.slice(1).every((at, index) => at - ticks[index] === step));
  }
});

test("marks of time stand at full hours of local time", () => {
  const { ticks, step } = timeTicks(START, START + 6 * 3600, 6);
  assert.equal(step, 3600);
  assert.ok(ticks.every((at) => new Date(at * 1000).getMinutes() === 0));
});

test("an axis without length, or turned round, has no marks to draw", () => {
  assert.ok(timeTicks(START, START, 10).ticks.length <= 1);
  assert.deepEqual(timeTicks(START, START - 3600, 10).ticks, []);
  assert.ok(timeTicks(START, START + 3600, 0).ticks.length <= 2);
});

test("a mark at midnight names the day, any other the time", () => {
  const midnight = new Date(2024, 1, 29).getTime() / 1000;
  assert.match(timeLabel(midnight, 3600), /29/);
  assert.equal(timeLabel(midnight + 3600, 3600), "01:00");
  assert.match(timeLabel(midnight + 3600, DAY), /29/);
});
