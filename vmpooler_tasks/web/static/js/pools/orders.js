/** The orders for one pool: try now, pause, drain, resume, keep, release. Each asks first, and is kept in the audit. */

import { post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, whyField } from "../shared/controls.js";
import { during, openDialog } from "../shared/dialogs.js";
import { el, notice, showBriefly } from "../shared/dom.js";

/** @import { OrderReport, Pool } from "../shared/types.js" */

const REPORT_SECONDS = 15;

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
  keep: {
    action: "keep",
    label: "Keep",
    effect: "The pool is in no configuration. Its VMs are not drained until you resume it.",
    kind: "primary",
  },
  resume: {
    action: "resume",
    label: "Resume",
    effect: "The pause ends. The next check of the pool starts clones again.",
    kind: "primary",
  },
  confirm: {
    action: "confirm",
    label: "Release the brake",
    effect:
      "The VMs that the brake holds are destroyed. More VMs than that engage it again. First find out why they are unknown or missing.",
    kind: "danger",
  },
};

/**
 * Return the orders that make sense in the state of a pool.
 *
 * @param {Pool} pool
 */
export function ordersFor({ state, brake }) {
  return brake ? [...ordersForState(state), ORDERS.confirm] : ordersForState(state);
}

/** @param {string} state */
function ordersForState(state) {
  if (state === "removed") return [ORDERS.keep, ORDERS.resume];
  if (state === "draining") return [ORDERS.resume, ORDERS.pause];
  if (state === "paused") return [ORDERS.resume, ORDERS.drain];
  if (state === "suspended") return [ORDERS.retry, ORDERS.pause, ORDERS.drain];
  return [ORDERS.pause, ORDERS.drain];
}

/** @typedef {{kind: "pools" | "providers", name: string}} Target what an order is for; `kind` as in the API */

/**
 * Return the button of an order, which opens a dialog.
 *
 * @param {Order} order
 * @param {Target} target
 * @param {(report: OrderReport) => void} onDone
 */
export const orderButton = (order, target, onDone) =>
  button(`${order.label} …`, () => openOrderDialog(order, target, onDone), {
    kind: order === ORDERS.retry || order === ORDERS.resume ? "primary" : undefined,
    "data-action": order.action,
  });

/**
 * Return the button that tries a suspended pool or provider now.
 *
 * @param {Target} target
 * @param {(report: OrderReport) => void} onDone
 */
export const retryButton = (target, onDone) => orderButton(ORDERS.retry, target, onDone);

/**
 * Return the button that releases the brake of a pool once.
 *
 * @param {Target} target
 * @param {(report: OrderReport) => void} onDone
 */
export const confirmButton = (target, onDone) => orderButton(ORDERS.confirm, target, onDone);

/**
 * Show for some seconds what an order did.
 *
 * @param {HTMLElement} place
 * @param {OrderReport} report
 */
export function showReport(place, { text, hindered_by: hinderedBy }) {
  const sentences = [text, ...hinderedBy].map((one) => `${one.replace(/\.$/, "")}.`);
  showBriefly(place, notice(hinderedBy.length ? "warn" : "ok", sentences.join(" ")), REPORT_SECONDS);
}

/**
 * @param {Order} order
 * @param {Target} target
 * @param {(report: OrderReport) => void} onDone
 */
function openOrderDialog(order, { kind, name }, onDone) {
  const dialog = openDialog(`${order.label}: ${name}`);
  const why = whyField();
  const confirm = button(
    order.label,
    () =>
      during(confirm, dialog, async () => {
        /** @type {OrderReport} */
        const report = await post(`${kind}/${encodeURIComponent(name)}/${order.action}`, {
          why: why.input.value.trim() || null,
        });
        dialog.close();
        announce(report.text);
        onDone(report);
      }),
    { kind: order.kind },
  );
  dialog.body.append(el("p", { text: order.effect }), why.node);
  dialog.foot.append(confirm, button("Cancel", dialog.close));
}
