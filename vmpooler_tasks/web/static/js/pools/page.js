/** The page of one pool: its state, orders, VMs, settings, failures and trends. */

import { ApiError, get, mayOperate } from "../shared/api.js";
import { byId, el, messageOf, notice, part, setText, show, timeIn } from "../shared/dom.js";
import { number, plural, serverNow } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { hashOf } from "../shared/route.js";
import { cell, row, rowHead, table } from "../shared/table.js";
import { setTime, timeEl } from "../shared/times.js";
import { TrendsSection } from "../trends/section.js";
import { PoolFailures } from "./failures.js";
import { orderButton, ordersFor, showReport } from "./orders.js";
import { stateOf } from "./state.js";
import { createState, updateState } from "./state_view.js";
import { VmList } from "./vms.js";

/** @import { OrderReport, Overview, Pool, PoolDetails, PoolQueue, PoolSetting } from "../shared/types.js" */

const INTERVAL_MS = 4000;
const OPEN_UP_TO = 20;
const SETTINGS = [
  { label: "Setting" },
  { label: "In effect" },
  { label: "Configured" },
  { label: "Set through the API" },
];

export class PoolPage {
  #name = "";
  #loadedAtMs = 0;
  #managesPools = false;
  #orders = "";
  /** @type {Map<string, VmList>} */
  #lists = new Map();
  /** @type {AbortController | null} */
  #request = null;
  /** @type {TrendsSection | null} */
  #trends = null;

  constructor() {
    this.title = byId("pool-title");
    this.state = createState();
    this.error = el("p", { class: "muted" }, "Last error, ", timeEl(null, "age"), ": ", el("span", { class: "words" }));
    this.ready = el("span");
    this.failed = el("a");
    this.requests = el("a", { text: "Requests for this pool" });
    this.orders = el("div", { class: "actions" });
    this.note = el("div", { role: "status" });
    this.errors = el("div", { role: "alert" });
    this.vms = el("div");
    const made = table("Settings of the pool", SETTINGS, { className: "cards compact settings" });
    this.settings = made.body;
    this.reset = el("p", { class: "muted" });
    this.trendsPlace = el("div");
    this.failures = new PoolFailures();
    this.content = el("div", {}, ...this.#build(made.node));
    byId("pool-body").append(this.errors, this.note, this.content);
  }

  /** @param {HTMLElement} settings */
  #build(settings) {
    const links = el("p", { class: "links" }, this.ready, " · ", this.failed, " · ", this.requests);
    return [
      el("div", { class: "pool-head" }, el("div", {}, this.state, this.error, links), this.orders),
      section("Failures", this.failures.node),
      section("VMs", this.vms),
      section("Settings", settings, this.reset),
      section("Trends", this.trendsPlace),
    ];
  }

  /**
   * @param {string} name
   * @param {Overview} overview
   */
  enter(name, overview) {
    if (name !== this.#name) {
      this.#name = name;
      this.#orders = "";
      this.#lists.clear();
      this.vms.replaceChildren();
      this.note.replaceChildren();
      setText(this.title, name);
      this.failed.href = hashOf("letters", { pool: name });
      this.requests.href = hashOf("requests", { pool: name });
      const trends = el("div"); // a new one for each pool: the charts watch the size of their place as long as it is there
      this.trendsPlace.replaceChildren(trends);
      this.#trends = new TrendsSection(trends, { pool: name });
      show(this.content, false);
      this.failures.enter(name);
      this.failures.update(overview.revision);
      this.#load();
    }
    this.#trends?.update(overview.health.last_check);
  }

  leave() {
    this.#request?.abort();
    this.#name = "";
  }

  /** @param {Overview} overview */
  update({ pools, features, health, revision }) {
    this.#managesPools = features.manage_pools;
    if (!this.#name) return;
    const pool = pools.find((one) => one.pool === this.#name);
    if (pool) this.#showState(pool);
    this.failures.update(revision);
    this.#trends?.update(health.last_check);
    if (Date.now() - this.#loadedAtMs > INTERVAL_MS) this.#load();
  }

  async #load() {
    this.#request?.abort();
    const { signal } = (this.#request = new AbortController());
    this.#loadedAtMs = Date.now();
    try {
      this.#show(await get(`pools/${encodeURIComponent(this.#name)}`, {}, signal));
      this.errors.replaceChildren();
    } catch (error) {
      if (signal.aborted) return;
      const isUnknown = error instanceof ApiError && error.status === 404;
      if (isUnknown) show(this.content, false);
      const text = isUnknown ? `There is no pool ${this.#name}.` : `The pool cannot be read: ${messageOf(error)}`;
      this.errors.replaceChildren(notice("bad", text));
    }
  }

  /** @param {PoolDetails} details */
  #show({ state, aliases, queues, settings, known_template: knownTemplate, reset }) {
    show(this.content, true);
    this.#showState(state);
    for (const queue of queues) this.#listOf(queue).show(queue);
    reconcile(this.settings, settings, (setting) => JSON.stringify(setting), settingRow);
    const effective = settings.find(({ name }) => name === "template")?.effective;
    const notes = [
      aliases.length ? `Aliases: ${aliases.join(", ")}.` : "",
      knownTemplate && knownTemplate !== effective ? `The present VMs were made from ${knownTemplate}.` : "",
      reset ? "A reset was requested through VMPooler's API, and is not done yet." : "",
    ];
    setText(this.reset, notes.filter(Boolean).join(" "));
  }

  /** @param {PoolQueue} found */
  #listOf({ queue, total }) {
    let list = this.#lists.get(queue);
    if (!list) {
      list = new VmList(queue);
      list.node.open = total > 0 && total <= OPEN_UP_TO;
      this.#lists.set(queue, list);
      this.vms.append(list.node);
    }
    return list;
  }

  /** @param {Pool} pool */
  #showState(pool) {
    updateState(this.state, stateOf(pool, serverNow()));
    const { last_error: error, last_error_at: at } = pool;
    show(this.error, Boolean(error) && !["suspended", "stalled"].includes(pool.state));
    setText(part(this.error, ".words"), error);
    setTime(timeIn(this.error), at, "age");
    setText(this.ready, `${number(pool.ready)} of ${plural(pool.size, "VM")} ready`);
    setText(this.failed, `${pool.failures ? plural(pool.failures, "failure") : "no failure"} in the last hour`);
    this.#showOrders(pool);
  }

  /** @param {Pool} pool */
  #showOrders(pool) {
    const key = `${this.#managesPools} ${pool.state} ${Boolean(pool.brake)}`;
    if (key === this.#orders) return;
    this.#orders = key;
    if (!mayOperate()) {
      this.orders.replaceChildren(el("span", { class: "muted", text: "Your role is read: you cannot pause pools." }));
    } else if (this.#managesPools) {
      /** @type {import("./orders.js").Target} */
      const target = { kind: "pools", name: pool.pool };
      const buttons = ordersFor(pool).map((order) => orderButton(order, target, (report) => this.#onDone(report)));
      this.orders.replaceChildren(...buttons);
    } else {
      const text = "VMPooler's own manager keeps this pool (manage_pools: false).";
      this.orders.replaceChildren(el("span", { class: "muted", text }));
    }
  }

  /** @param {OrderReport} report */
  #onDone(report) {
    showReport(this.note, report);
    this.#load();
  }
}

/**
 * @param {string} title
 * @param {...import("../shared/dom.js").Children} children
 */
const section = (title, ...children) => el("section", {}, el("h2", { text: title }), ...children);

/** @param {PoolSetting} setting */
function settingRow({ name, configured, override, effective }) {
  return row(
    rowHead({ text: name }),
    cell("In effect", { class: "wrap", text: valueText(effective) }),
    cell("Configured", { class: "wrap muted", text: valueText(configured) }),
    cell("Set through the API", { class: override === null ? "muted" : "wrap" }, override ?? "–"),
  );
}

/** @param {unknown} value */
function valueText(value) {
  if (value === null || value === undefined || value === "") return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
