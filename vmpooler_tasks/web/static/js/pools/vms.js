/** The VMs of one pool: a list for each queue, oldest first. */

import { el, notice, timeIn } from "../shared/dom.js";
import { capitalized, number, plural } from "../shared/format.js";
import { hashOf } from "../shared/route.js";
import { reconcile } from "../shared/reconcile.js";
import { cell, row, rowHead, table } from "../shared/table.js";
import { setTime, timeEl } from "../shared/times.js";

/** @import { PoolQueue, PoolVm } from "../shared/types.js" */

/** How long the VMs have been in a queue, in words. @type {Record<string, string>} */
const SINCE = { ready: "Ready", pending: "Clone started", running: "Checked out", completed: "Destruction started" };

export class VmList {
  /** @param {string} queue */
  constructor(queue) {
    this.queue = queue;
    const columns = [
      { label: "VM" },
      { label: SINCE[queue] ?? "Since" },
      { label: "Template" },
      { label: "Host" },
      { label: "For" },
    ];
    const made = table(`VMs in ${queue}, oldest first`, columns, { className: "cards compact vms" });
    this.body = made.body;
    this.count = el("span", { class: "count" });
    this.rest = el("p", { class: "muted rest" });
    this.problem = el("div");
    this.table = made.node;
    this.node = el(
      "details",
      { class: "vm-list" },
      el("summary", {}, el("strong", { text: capitalized(queue) }), " ", this.count),
      this.problem,
      this.table,
      this.rest,
    );
  }

  /** @param {PoolQueue} found */
  show({ queue, total, readable, vms, left_out: leftOut }) {
    this.count.textContent = readable ? number(total) : "cannot be read";
    this.node.classList.toggle("none", total === 0 && readable);
    this.problem.replaceChildren(
      ...(readable ? [] : [notice("bad", "The key of this queue is of another type. Run vmpooler-tasks doctor.")]),
    );
    this.table.hidden = vms.length === 0;
    this.rest.textContent = leftOut > 0 ? `and ${plural(leftOut, "more VM")}` : total ? "" : `No VM is ${queue}.`;
    reconcile(this.body, vms, (vm) => vm.vm, createRow, updateRow);
  }
}

/** @param {PoolVm} vm */
function createRow(vm) {
  return row(
    rowHead({ class: "vm", text: vm.vm }),
    cell("Since", { class: "nowrap" }, timeEl(vm.since, "age")),
    cell("Template", { class: "wrap", text: vm.template || "–" }),
    cell("Host", { class: "wrap", text: vm.host || "–" }),
    cell("For", { class: "wrap" }, ...purposeOf(vm)),
  );
}

/** @param {PoolVm} vm */
function purposeOf({ user, request }) {
  if (!user && !request) return ["–"];
  const link = request && el("a", { href: hashOf("requests", { request }), text: `request ${request.slice(0, 8)}` });
  return [user, user && request ? ", " : "", link];
}

/**
 * @param {HTMLElement} node
 * @param {PoolVm} vm
 */
function updateRow(node, vm) {
  setTime(timeIn(node), vm.since, "age");
}
