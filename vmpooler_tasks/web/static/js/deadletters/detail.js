/** One dead letter with all its fields. */

import { get, mayOperate, pathOfId } from "../shared/api.js";
import { button, copyButton } from "../shared/controls.js";
import { fillWith, openDialog } from "../shared/dialogs.js";
import { el } from "../shared/dom.js";
import { capitalized, printableJson } from "../shared/format.js";
import { hashOf, poolHash } from "../shared/route.js";
import { timeEl } from "../shared/times.js";
import { attemptList } from "./attempts.js";

/** @import { Dialog } from "../shared/dialogs.js" */
/** @import { DeadLetter, Selection } from "../shared/types.js" */

/** @type {Record<string, string>} */
const LABELS = {
  error_class: "Error",
  error_message: "Message",
  vm: "VM",
  pool: "Pool",
  pool_alias: "Requested as",
  queue: "Queue",
  queue_from: "Failed in",
  failed_at: "Failed",
  retry_count: "Retries",
  redrives: "Redrives before",
  redrive_of: "Redrive of",
  request_id: "Request",
  task: "Task",
  task_id: "Task id",
  checkout: "VM checked out",
  order: "Order",
  id: "Id",
  cut: "Cut",
};
const LONG_FIELDS = ["traceback", "args", "kwargs"];
/** Fields that the list of attempts, or a button, shows. */
const OTHER_FIELDS = ["attempts", "attempts_unknown", "editable"];
/** Fields with a link to all dead letters of the same value. @type {Record<string, {filter: string, text: string}>} */
const LINKS = {
  vm: { filter: "vm", text: "all of this VM" },
  pool: { filter: "pool", text: "all of this pool" },
  request_id: { filter: "request", text: "all of this request" },
  error_class: { filter: "error_class", text: "all of this error" },
};

/** @typedef {(selection: Selection, words: string) => void} Action */

/**
 * What can be done from the dialog: `redrive`, `remove` and `edit` open their own dialogs; `onClose` is called when this
 * one is closed.
 *
 * @typedef {{redrive: Action, remove: Action, edit: (id: string) => void, onClose: () => void}} Actions
 */

/**
 * Open a dialog, and read the dead letter into it.
 *
 * @param {string} id
 * @param {Actions} actions
 */
export function openDetail(id, actions) {
  const dialog = openDialog("Dead letter", { isWide: true, onClose: actions.onClose });
  fillWith(
    dialog,
    "Loading …",
    () => get(`dlq/${pathOfId(id)}`),
    (deadLetter) => fill(dialog, deadLetter, actions),
    "This dead letter is gone: redriven, deleted or expired.",
  );
  return dialog;
}

/**
 * @param {Dialog} dialog
 * @param {DeadLetter} deadLetter
 * @param {Actions} actions
 */
function fill(dialog, deadLetter, actions) {
  const long = LONG_FIELDS.filter((name) => deadLetter[name] !== null && deadLetter[name] !== undefined);
  dialog.body.append(
    fieldList(deadLetter),
    attemptList(deadLetter),
    ...long.map((name) => longField(name, deadLetter[name])),
  );
  dialog.foot.append(
    ...buttonsOf(deadLetter, actions),
    el("span", { class: "spring" }),
    copyButton(printableJson(deadLetter), "Copy as JSON"),
  );
}

/**
 * @param {DeadLetter} deadLetter
 * @param {Actions} actions
 */
function buttonsOf({ id, vm, editable }, { redrive, remove, edit }) {
  if (!mayOperate()) {
    return [el("span", { class: "muted", text: "Your role is read: you cannot redrive or delete." })];
  }
  const selection = { ids: [id] };
  const words = vm ? `the dead letter of ${vm}` : "this dead letter";
  return [
    button("Redrive …", () => redrive(selection, words), { kind: "primary" }),
    ...(editable ? [button("Edit and redrive …", () => edit(id))] : []),
    button("Delete …", () => remove(selection, words), { kind: "danger" }),
  ];
}

/** @param {DeadLetter} deadLetter */
function fieldList(deadLetter) {
  const isSameQueue = deadLetter.queue === deadLetter.queue_from;
  const known = Object.keys(LABELS).filter((name) => name in deadLetter && !(isSameQueue && name === "queue_from"));
  const others = Object.keys(deadLetter).filter(
    (name) => !Object.hasOwn(LABELS, name) && !LONG_FIELDS.includes(name) && !OTHER_FIELDS.includes(name),
  );
  const items = [...known, ...others].flatMap((name) => [
    el("dt", { text: Object.hasOwn(LABELS, name) ? LABELS[name] : name }),
    el("dd", {}, valueOf(name, deadLetter[name])),
  ]);
  return el("dl", { class: "fields" }, items);
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function valueOf(name, value) {
  if (value === null || value === undefined || value === "") return ["–"];
  if (name === "failed_at") return [timeEl(value), " (", timeEl(value, "age"), ")"];
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (!Object.hasOwn(LINKS, name)) return [text];
  const link = LINKS[name];
  if (name === "pool") return [el("a", { href: poolHash(text), text }), " ", filterLink(link, text)];
  const history = el("a", { class: "aside", href: hashOf("requests", { request: text }), text: "its history" });
  return [text, " ", ...(name === "request_id" ? [history, " "] : []), filterLink(link, text)];
}

/**
 * @param {{filter: string, text: string}} link
 * @param {string} value
 */
function filterLink(link, value) {
  const href = hashOf("letters", { [link.filter]: value });
  return el("a", { class: "aside", href, text: link.text });
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function longField(name, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const title = capitalized(name);
  return el(
    "section",
    { class: "long" },
    el("h3", { text: title }),
    el("pre", { tabindex: "0", role: "region", "aria-label": title, text }),
  );
}
