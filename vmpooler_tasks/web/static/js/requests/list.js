/** The table of on-demand requests. */

import { mayOperate } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { el, part, setText, show, timeIn } from "../shared/dom.js";
import { serverNow } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { poolHash } from "../shared/route.js";
import { cell, row, rowHead, table } from "../shared/table.js";
import { setTime, timeEl } from "../shared/times.js";
import { showTone } from "../shared/tone.js";
import { explain, isOpen, progressOf, shortId, statusOf } from "./words.js";

/** @import { Request } from "../shared/types.js" */

const COLUMNS = [
  { label: "Request" },
  { label: "User" },
  { label: "Asks for" },
  { label: "Status" },
  { label: "Age" },
  { label: "Waits for, or reason" },
];
const ACTIONS = { label: "Actions", class: "act", isHidden: true };

export class RequestList {
  /** By id, as they are now. @type {Map<string, Request>} */
  #requests = new Map();

  /**
   * @param {(id: string) => void} onOpen
   * @param {(request: Request) => void} onCancel
   */
  constructor(onOpen, onCancel) {
    this.onOpen = onOpen;
    this.onCancel = onCancel;
    const columns = mayOperate() ? [...COLUMNS, ACTIONS] : COLUMNS;
    const made = table("On-demand requests, newest first", columns, { className: "cards requests" });
    this.node = made.node;
    this.body = made.body;
  }

  /** @param {Request[]} requests */
  show(requests) {
    this.#requests = new Map(requests.map((request) => [request.request, request]));
    reconcile(
      this.body,
      requests,
      (request) => request.request,
      (request) => this.#create(request),
      update,
    );
  }

  /** @param {Request} request */
  #create(request) {
    const { request: id } = request;
    const open = el("button", {
      type: "button",
      class: "link open",
      title: id,
      text: shortId(id),
      on: { click: () => this.onOpen(id) },
    });
    const cancel = button("Cancel …", () => this.onCancel(this.#requests.get(id) ?? request), {
      kind: "quiet",
      "aria-label": `Cancel request ${shortId(id)}`,
    });
    return row(
      rowHead({ class: "id" }, open),
      cell("User", { class: "user" }),
      cell("Asks for", { class: "asks" }, partList(request), el("span", { class: "progress muted" })),
      cell("Status", { class: "state" }, el("span", {}, el("span", { class: "mark" }), el("span", { class: "words" }))),
      cell("Age", { class: "made" }, timeEl(request.since, "age")),
      cell("Waits for", { class: "wrap why" }, el("ul")),
      mayOperate() && cell("Actions", { class: "act" }, cancel),
    );
  }
}

/** @param {Request} request */
function partList({ parts, requested }) {
  if (!parts.length) return el("span", { text: requested || "–" });
  const items = parts.map((one) =>
    el(
      "li",
      {},
      `${one.count} × `,
      el("a", { href: poolHash(one.pool), text: one.pool }),
      one.name === one.pool ? null : el("span", { class: "muted", text: ` as ${one.name}` }),
    ),
  );
  return el("ul", {}, items);
}

/**
 * @param {HTMLElement} node
 * @param {Request} request
 */
function update(node, request) {
  const { text, tone } = statusOf(request, serverNow());
  const state = part(node, ".state");
  showTone(state, tone);
  setText(part(state, ".words"), text);
  setText(part(node, ".user"), request.user || "–");
  setText(part(node, ".progress"), request.status === "filling" ? `${progressOf(request)} delivered` : "");
  setTime(timeIn(node), request.since, "age");
  const texts = explain(request);
  part(node, ".why").dataset.label = isOpen(request) ? "Waits for" : "Reason";
  reconcile(part(node, ".why ul"), texts.length ? texts : ["–"], String, (text) => el("li", { text }));
  const cancel = node.querySelector(".act button");
  if (cancel instanceof HTMLElement) show(cancel, isOpen(request));
}
