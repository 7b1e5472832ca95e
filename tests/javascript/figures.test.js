import assert from "node:assert/strict";
import { test } from "node:test";

import { figuresOf, maxJoinSeconds, sharesOf, stretchesOf } from "../../vmpooler_tasks/web/static/js/trends/figures.js";

const pool = (/** @type {number} */ size) => ({
  ready: size,
  ready_oldest: 10 * size,
  pending: 1,
  pending_oldest: 5,
  completed: 0,
  stuck: size,
});
const point = { at: 100, status: "healthy", dlq: 7, stuck: 9, orphaned: 2, pools: { a: pool(1), b: pool(2) } };

test("sizes are summed over the pools, and the highest age counts", () => {
  const figures = figuresOf(point, "");
  assert.equal(figures.ready, 3);
  assert.equal(figures.pending, 2);
  assert.equal(figures.ready_oldest, 20);
  assert.equal(figures.stuck, 9);
  assert.equal(figures.dlq, 7);
});

test("one pool has its own figures", () => {
  const figures = figuresOf(point, "b");
  assert.equal(figures.ready, 2);
  assert.equal(figures.stuck, 2);
});

test("a pool that a point does not know has no figures", () => {
  const figures = figuresOf(point, "gone");
  assert.equal(figures.ready, undefined);
  assert.equal(figures.ready_oldest, undefined);
  assert.equal(figuresOf({ ...point, pools: {} }, "").ready, undefined);
});

test("points are joined over four times the usual distance", () => {
  assert.equal(maxJoinSeconds([0, 60, 120, 1000].map((at) => ({ at }))), 240);
  assert.equal(maxJoinSeconds([{ at: 5 }]), Infinity);
  assert.equal(maxJoinSeconds([]), Infinity);
});

/** @param {[number, string][]} points */
const stretches = (...points) => stretchesOf(points.map(([at, status]) => ({ at, status })));

test("a stretch ends where the status changes", () => {
  assert.deepEqual(stretches([0, "healthy"], [60, "healthy"], [120, "degraded"], [180, "degraded"]), [
    { status: "healthy", start: 0, end: 120 },
    { status: "degraded", start: 120, end: 180 },
  ]);
});

test("a stretch ends at a gap", () => {
  assert.deepEqual(stretches([0, "healthy"], [60, "healthy"], [120, "healthy"], [9000, "healthy"], [9060, "healthy"]), [
    { status: "healthy", start: 0, end: 120 },
    { status: "healthy", start: 9000, end: 9060 },
  ]);
});

test("no points have no stretch, and one point has one without length", () => {
  assert.deepEqual(stretches(), []);
  assert.deepEqual(stretches([5, "unhealthy"]), [{ status: "unhealthy", start: 5, end: 5 }]);
});

test("shares are in percent", () => {
  const points = ["healthy", "degraded", "healthy"].map((status) => ({ status }));
  assert.deepEqual(sharesOf(points), [
    ["healthy", 67],
    ["degraded", 33],
  ]);
  assert.deepEqual(sharesOf([]), []);
});
