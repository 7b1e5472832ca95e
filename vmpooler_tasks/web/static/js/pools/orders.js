/** The orders for one pool: try now, pause, drain, resume. Each asks first, and is kept in the audit. */

import { post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, whyField } from "../shared/controls.js";
import { during, openDialog } from "../shared/dialogs.js";
import { el } from "../shared/dom.js";

/** @import { OrderReport, Pool } from "../shared/types.js" */

/**
 * @typedef {object} Order
 * @property {string} action as in the address of the API
 * @property {string} label
 * @property {string} effect what it does, in words
 * @property {"primary" | "danger"} kind
 */

/** @type {Record<string, Order>} */
const ORDERS = {
  retry: {
    action: "retry",
    label: "Try now",
    effect:
      "One clone is tried at once. If it succeeds, the suspension ends. If it fails, the suspension starts again.",
    kind: "primary",
  },
  pause: {
    action: "pause",
    label: "Pause",
    effect: "The pool gets no new clone. Checks, lifetimes and destructions go on. Requests for the pool wait.",
    kind: "primary",
  },
  drain: {
    action: "drain",
    label: "Drain",
    effect: "The pool is paused, and its pending and ready VMs are destroyed. VMs in use stay with their users.",
    kind: "danger",
  },
  resume: {
    action: "resume",
    label: "Resume",
    effect: "The pause ends. The next check of the pool starts clones again.",
    kind: "primary",
  },
};

/**
 * Return the orders that make sense in the state of a pool.
 *
 * @param {Pool} pool
 */
export function ordersFor({ state }) {
  if (state === "draining") return [ORDERS.resume, ORDERS.pause];
  if (state === "paused") return [ORDERS.resume, ORDERS.drain];
  if (state === "suspended") return [ORDERS.retry, ORDERS.pause, ORDERS.drain];
  return [ORDERS.pause, ORDERS.drain];
}

/**
 * Return the button of an order, which opens a dialog.
 *
 * @param {Order} order
 * @param {string} pool
 * @param {(report: OrderReport) => void} onDone
 */
export const orderButton = (order, pool, onDone) =>
  button(`${order.label} …`, () => openOrderDialog(order, pool, onDone), {
    kind: order.action === "retry" || order.action === "resume" ? "primary" : undefined,
    "data-action": order.action,
  });

/**
 * @param {Order} order
 * @param {string} pool
 * @param {(report: OrderReport) => void} onDone
 */
function openOrderDialog(order, pool, onDone) {
  const dialog = openDialog(`${order.label}: ${pool}`);
  const why = whyField();
  const confirm = button(
    order.label,
    () =>
      during(confirm, dialog, async () => {
        const path = `pools/${encodeURIComponent(pool)}/${order.action}`;
        /** @type {OrderReport} */
        const report = await post(path, { why: why.input.value.trim() || null });
        dialog.close();
        announce(report.text);
        onDone(report);
      }),
    { kind: order.kind },
  );
  dialog.body.append(el("p", { text: order.effect }), why.node);
  dialog.foot.append(confirm, button("Cancel", dialog.close));
}
