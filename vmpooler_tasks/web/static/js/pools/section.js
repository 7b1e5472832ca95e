/** The pools: ready VMs against the pool's size, recent failures, and what keeps a pool from being full. */

import { byId, el, part, setText, show } from "../shared/dom.js";
import { capitalized, number, plural, serverNow, visible } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { hashOf, poolHash } from "../shared/route.js";
import { cell, row, rowHead, table } from "../shared/table.js";
import { stateOf } from "./state.js";
import { createState, updateState } from "./state_view.js";

/** @import { Pool } from "../shared/types.js" */

const COLUMNS = [
  { label: "Pool" },
  { label: "Filled" },
  { label: "Ready", class: "num" },
  { label: "Pending", class: "num" },
  { label: "Cloning", class: "num" },
  { label: "Running", class: "num" },
  { label: "Completed", class: "num" },
  { label: "Failures, 1 h" },
  { label: "State" },
];

/** @type {["ready", "pending", "cloning", "running", "completed"]} */
const COUNTED = ["ready", "pending", "cloning", "running", "completed"];

export class PoolsSection {
  constructor() {
    const made = table("VMs of each pool against its size", COLUMNS, { className: "cards pools" });
    this.table = made.node;
    this.body = made.body;
    this.empty = el("p", {
      class: "muted",
      hidden: true,
      text: "No pool is configured, and VMPooler has not registered one.",
    });
    byId("pools-body").append(this.table, this.empty);
  }

  /** @param {Pool[]} pools */
  update(pools) {
    show(this.empty, pools.length === 0);
    show(this.table, pools.length > 0);
    reconcile(this.body, pools, (pool) => pool.pool, createRow, updateRow);
  }
}

/** @param {Pool} pool */
function createRow(pool) {
  const counts = COUNTED.map((name) => cell(capitalized(name), { class: `num ${name}` }));
  return row(
    rowHead(
      { class: "name" },
      el("a", { href: poolHash(pool.pool), text: pool.pool }),
      el("span", { class: "provider muted" }),
    ),
    cell("Filled", { class: "fill" }, meter(), el("span", { class: "of" })),
    counts,
    cell(
      "Failures, 1 h",
      { class: "failures" },
      el("a", { class: "failed" }),
      el("span", { class: "none muted" }),
      el("span", { class: "last muted" }),
    ),
    cell("State", { class: "pool-state" }, createState()),
  );
}

const meter = () =>
  el(
    "div",
    { class: "meter", "aria-hidden": "true" },
    el("span", { class: "part ready" }),
    el("span", { class: "part pending" }),
  );

/**
 * @param {HTMLElement} node
 * @param {Pool} pool
 */
function updateRow(node, pool) {
  setText(part(node, ".provider"), pool.provider || "");
  for (const name of COUNTED) {
    const place = part(node, `.num.${name}`);
    setText(place, number(pool[name]));
    place.classList.toggle("zero", pool[name] === 0);
  }
  updateFill(node, pool);
  updateFailures(node, pool);
  updateState(part(node, ".state"), stateOf(pool, serverNow()));
}

/**
 * @param {HTMLElement} node
 * @param {Pool} pool
 */
function updateFill(node, { ready, pending, size }) {
  const whole = Math.max(size, ready, 1);
  const filling = Math.min(pending, whole - ready); // more are pending where some are for requests
  part(node, ".part.ready").style.inlineSize = `${(100 * ready) / whole}%`;
  part(node, ".part.pending").style.inlineSize = `${(100 * filling) / whole}%`;
  setText(part(node, ".of"), `${number(ready)} of ${number(size)}`);
}

/**
 * @param {HTMLElement} node
 * @param {Pool} pool
 */
function updateFailures(node, pool) {
  const link = part(node, ".failed");
  show(link, pool.failures > 0);
  setText(link, plural(pool.failures, "failure"));
  link.setAttribute("href", hashOf("letters", { pool: pool.pool, since: "1h" }));
  setText(part(node, ".none"), pool.failures ? "" : "none");
  const last = part(node, ".last");
  const text = pool.state === "suspended" || pool.state === "stalled" ? "" : pool.last_failure; // the state says it
  setText(last, text || "");
  last.title = visible(text || "");
}
