import assert from "node:assert/strict";
import { test } from "node:test";

import {
  asQuery,
  choiceOf,
  explain,
  progressOf,
  shortId,
  statusOf,
} from "../../vmpooler_tasks/web/static/js/requests/words.js";

const NOW = 1_700_000_000;

/** @type {import("../../vmpooler_tasks/web/static/js/shared/types.js").Request} */
const REQUEST = {
  request: "7c9e6679-7425-40de-944b-e07fc1f90ae7",
  status: "waiting",
  user: "rita",
  since: NOW,
  requested: "centos:p:2,debian:q:1",
  failure_reason: "",
  retry_count: 0,
  parts: [
    { name: "centos", pool: "p", count: 2, delivered: 1, queued: 1, cloning: 0 },
    { name: "debian", pool: "q", count: 1, delivered: 0, queued: 0, cloning: 1 },
  ],
  waits_for: ["a worker has to accept it"],
};

test("a request that waits for more than a minute is a problem", () => {
  assert.equal(statusOf(REQUEST, NOW + 60).tone, "working");
  assert.equal(statusOf(REQUEST, NOW + 61).tone, "degraded");
  assert.deepEqual(statusOf({ ...REQUEST, status: "deleted" }, NOW), { text: "Cancelled", tone: "closed" });
  assert.equal(statusOf({ ...REQUEST, status: "toString" }, NOW).text, "toString");
});

test("a request says what it waits for, or why it ended", () => {
  assert.deepEqual(explain(REQUEST), ["a worker has to accept it"]);
  assert.deepEqual(explain({ ...REQUEST, status: "failed", failure_reason: "too late" }), ["too late"]);
  assert.deepEqual(explain({ ...REQUEST, status: "failed" }), ["VMPooler gave no reason"]);
  assert.deepEqual(explain({ ...REQUEST, status: "ready" }), []);
  assert.equal(progressOf(REQUEST), "1 of 3 VMs");
});

test("the list shows open requests first, and any others by the address", () => {
  assert.deepEqual(asQuery({}).status, ["waiting", "filling"]);
  assert.deepEqual(asQuery({ status: "all", search: "x" }), {
    status: [],
    search: "x",
    pool: undefined,
    user: undefined,
  });
  assert.equal(choiceOf("no such status").label, "Open");
  assert.equal(shortId(REQUEST.request), "7c9e6679");
  assert.equal(shortId("my-request"), "my-request");
});
