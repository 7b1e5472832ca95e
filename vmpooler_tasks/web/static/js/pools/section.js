/** The pools at a glance: what stands ready against what is wanted, and what keeps a pool from it. */

import { byId, cell, el, icon, reconcile, row, setText, show, table } from "../shared/dom.js";
import { number, plural, serverNow, setTime, timeEl } from "../shared/format.js";
import { link } from "../shared/route.js";

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

let body = null;

export function showPools(pools) {
  if (!body) build();
  show(byId("no-pools"), pools.length === 0);
  show(body.parentElement, pools.length > 0);
  reconcile(body, pools, (pool) => pool.pool, make, update);
}

function build() {
  const made = table("Each pool's VMs against its size", COLUMNS, { name: "cards pools" });
  body = made.body;
  byId("pools-body").append(
    made.node,
    el("p", {
      id: "no-pools",
      class: "muted",
      hidden: true,
      text: "No pool is configured, and no VMPooler has registered one.",
    }),
  );
}

const counted = ["ready", "pending", "cloning", "running", "completed"];

function make(pool) {
  const numbers = counted.map((name) => cell(name[0].toUpperCase() + name.slice(1), { class: `num ${name}` }));
  return row(
    el(
      "th",
      { scope: "row", role: "rowheader", class: "name" },
      el("span", { text: pool.pool }),
      el("span", { class: "provider muted" }),
    ),
    cell(
      "Filled",
      { class: "fill" },
      el(
        "div",
        { class: "meter", "aria-hidden": "true" },
        el("span", { class: "part ready" }),
        el("span", { class: "part pending" }),
      ),
      el("span", { class: "of" }),
    ),
    ...numbers,
    cell(
      "Failures, 1 h",
      { class: "failures" },
      el("a", { class: "failed" }),
      el("span", { class: "none muted" }),
      el("span", { class: "last muted" }),
    ),
    cell(
      "State",
      { class: "state" },
      el("span", { class: "mark" }),
      el("span", {}, el("span", { class: "words" }), timeEl(null, "left")),
    ),
  );
}

function update(node, pool) {
  setText(node.querySelector(".provider"), pool.provider || "");
  for (const name of counted) {
    const place = node.querySelector(`.num.${name}`);
    setText(place, number(pool[name]));
    place.classList.toggle("zero", pool[name] === 0);
  }
  fill(node, pool);
  failures(node, pool);
  state(node, pool);
}

function fill(node, { ready, pending, size }) {
  const whole = Math.max(size, ready + pending, 1);
  node.querySelector(".part.ready").style.inlineSize = `${(100 * ready) / whole}%`;
  node.querySelector(".part.pending").style.inlineSize = `${(100 * pending) / whole}%`;
  setText(node.querySelector(".of"), `${number(ready)} of ${number(size)}`);
}

function failures(node, pool) {
  const told = node.querySelector(".failed");
  show(told, pool.failures > 0);
  setText(told, plural(pool.failures, "failure"));
  told.href = link("letters", { pool: pool.pool, since: "1h" });
  setText(node.querySelector(".none"), pool.failures ? "" : "none");
  const last = node.querySelector(".last");
  setText(last, pool.last_failure || "");
  last.title = pool.last_failure || "";
}

/** [tone, words, until]: the breakers first, for they say why the rest is as it is. */
function stateOf(pool) {
  const now = serverNow();
  if (pool.pool_closed_until > now) return ["unhealthy", "Pool left alone, tried again in", pool.pool_closed_until];
  if (pool.provider_closed_until > now) {
    return ["unhealthy", `Provider ${pool.provider} left alone, tried again in`, pool.provider_closed_until];
  }
  if (pool.size > 0 && pool.ready === 0) return ["degraded", "Empty", null];
  if (pool.ready < pool.size) return ["filling", "Filling", null];
  return ["healthy", pool.size ? "Full" : "Size 0", null];
}

function state(node, pool) {
  const [tone, words, until] = stateOf(pool);
  const place = node.querySelector(".state");
  if (place.dataset.tone !== tone) {
    place.dataset.tone = tone;
    place.querySelector(".mark").replaceChildren(...(tone === "filling" ? [] : [icon(tone)]));
  }
  setText(place.querySelector(".words"), words);
  const left = place.querySelector("time");
  show(left, until !== null);
  if (until !== null) setTime(left, until, "left");
}
