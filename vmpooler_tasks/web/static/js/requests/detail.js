/** One on-demand request with its history, and the dialog that cancels it. */

import { get, mayOperate, remove } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, copyButton, whyField } from "../shared/controls.js";
import { during, fillWith, openDialog } from "../shared/dialogs.js";
import { el } from "../shared/dom.js";
import { plural, printableJson, serverNow } from "../shared/format.js";
import { hashOf, poolHash } from "../shared/route.js";
import { cell, row, table } from "../shared/table.js";
import { timeEl } from "../shared/times.js";
import { explain, isOpen, progressOf, shortId, statusOf } from "./words.js";

/** @import { Dialog } from "../shared/dialogs.js" */
/** @import { Request, RequestDetail, RequestEvent } from "../shared/types.js" */

const EVENTS = [{ label: "When" }, { label: "What" }, { label: "VM" }, { label: "Pool" }, { label: "Detail" }];

/**
 * Open a dialog, and read the request into it.
 *
 * @param {string} id
 * @param {{onCancel: (request: Request) => void, onClose: () => void}} actions
 */
export function openRequest(id, { onCancel, onClose }) {
  const dialog = openDialog(`Request ${shortId(id)}`, { isWide: true, onClose });
  fillWith(
    dialog,
    "Loading …",
    () => get(`requests/${encodeURIComponent(id)}`),
    (request) => fill(dialog, request, onCancel),
    "Neither Redis nor a dead letter has this request. It may have expired.",
  );
  return dialog;
}

/**
 * @param {Dialog} dialog
 * @param {RequestDetail} request
 * @param {(request: Request) => void} onCancel
 */
function fill(dialog, request, onCancel) {
  dialog.body.append(fields(request), history(request.events));
  dialog.foot.append(
    el("a", { href: hashOf("letters", { request: request.request }), text: "Dead letters of this request" }),
    ...(isOpen(request) && mayOperate()
      ? [button("Cancel this request …", () => onCancel(request), { kind: "danger" })]
      : []),
    el("span", { class: "spring" }),
    copyButton(request.request, "Copy the id"),
    copyButton(printableJson(request), "Copy as JSON"),
  );
}

/** @param {RequestDetail} request */
function fields(request) {
  const reasons = explain(request).map((text) => el("div", { text }));
  /** @type {[string, import("../shared/dom.js").Children][]} */
  const rows = [
    ["Request", request.request],
    ["Status", el("strong", { text: statusOf(request, serverNow()).text })],
    [isOpen(request) ? "Waits for" : "Reason", reasons.length ? reasons : "–"],
    ["Asks for", request.parts.length ? request.parts.map(partLine) : request.requested || "–"],
    ["Delivered", request.parts.length ? progressOf(request) : "–"],
    ["User", request.user || "–"],
    ["Made", request.since ? [timeEl(request.since), " (", timeEl(request.since, "age"), ")"] : "unknown"],
    ["Retries", String(request.retry_count)],
  ];
  return el(
    "dl",
    { class: "fields" },
    rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", {}, value)]),
  );
}

/** @param {import("../shared/types.js").RequestPart} part */
function partLine({ name, pool, count, delivered, cloning, queued }) {
  const numbers = [`${delivered} delivered`, cloning && `${cloning} cloning`, queued && `${queued} not started`];
  return el(
    "div",
    {},
    `${count} × `,
    el("a", { href: poolHash(pool), text: pool }),
    name === pool ? "" : ` as ${name}`,
    el("span", { class: "muted", text: ` · ${numbers.filter(Boolean).join(", ")}` }),
  );
}

/** @param {RequestEvent[]} events */
function history(events) {
  const made = table("History", EVENTS, { className: "cards compact events", hasVisibleCaption: true });
  made.body.append(
    ...events.map((event) =>
      row(
        cell("When", { class: "nowrap" }, timeEl(event.at)),
        cell("What", { text: event.what }),
        cell("VM", { class: "wrap", text: event.vm || "–" }),
        cell("Pool", { class: "wrap", text: event.pool || "–" }),
        cell("Detail", { class: "wrap", text: event.detail || "–" }),
      ),
    ),
  );
  const none = el("p", { class: "muted", text: "Nothing is recorded of this request." });
  return el("div", { class: "long" }, events.length ? made.node : none);
}

/**
 * Open the dialog that cancels a request.
 *
 * @param {Request} request
 * @param {(text: string) => void} onCancelled
 */
export function openCancelDialog(request, onCancelled) {
  const dialog = openDialog("Cancel a request");
  const why = whyField();
  const whose = request.user ? `of ${request.user} ` : "";
  dialog.body.append(
    el("p", {}, "Cancel request ", el("strong", { text: request.request }), ` ${whose}(${request.requested})?`),
    el("p", {
      class: "muted",
      text: `No further VM is cloned for it. The VMs that it has (${progressOf(request)}) are destroyed. This cannot be undone.`,
    }),
    why.node,
  );
  const confirm = button(
    "Cancel the request",
    () =>
      during(confirm, dialog, async () => {
        const path = `requests/${encodeURIComponent(request.request)}`;
        const { vms_completed: completed } = await remove(path, { why: why.input.value.trim() });
        dialog.close();
        const text = `Request ${shortId(request.request)} cancelled. ${plural(completed.length, "VM")} moved to completed.`;
        announce(text);
        onCancelled(text);
      }),
    { kind: "danger" },
  );
  dialog.foot.append(confirm, button("Keep it", dialog.close));
  return dialog;
}
