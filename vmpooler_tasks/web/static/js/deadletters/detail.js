/** One dead letter with all that it holds. */

import { get, mayOperate } from "../shared/api.js";
import { button, copyButton, openDialog } from "../shared/dialogs.js";
import { el } from "../shared/dom.js";
import { timeEl } from "../shared/format.js";
import { deleteDialog, redriveDialog } from "./actions.js";
import { link } from "../shared/route.js";

const LABELS = {
  error_class: "Error",
  error_message: "Message",
  vm: "VM",
  pool: "Pool",
  pool_alias: "Asked for as",
  queue: "Queue",
  queue_from: "Failed in",
  failed_at: "Failed",
  retry_count: "Retries",
  redrives: "Redriven before",
  redrive_of: "Successor of",
  request_id: "Request",
  task: "Task",
  task_id: "Task id",
  id: "Id",
};
const LONG = ["traceback", "args", "kwargs"];
const LINKS = { vm: "vm", pool: "pool", request_id: "request", error_class: "error_class" };

/** `onDone` is called when it was redriven or deleted, `onClose` whenever the dialog is closed. */
export async function openDetail(id, { onDone, onClose }) {
  const dialog = openDialog("Dead letter", { wide: true, onClose });
  dialog.body.append(el("p", { class: "muted", text: "Reading …" }));
  try {
    const letter = await get(`dlq/${encodeURIComponent(id)}`);
    fill(dialog, letter, () => {
      dialog.close();
      onDone();
    });
  } catch (error) {
    dialog.body.replaceChildren();
    dialog.fail(error.status === 404 ? new Error("It is no longer there: redriven, deleted or expired.") : error);
  }
  return dialog;
}

function fill(dialog, letter, done) {
  const isSame = letter.queue === letter.queue_from;
  const known = Object.keys(LABELS).filter((name) => name in letter && !(isSame && name === "queue_from"));
  const others = Object.keys(letter).filter((name) => !(name in LABELS) && !LONG.includes(name));
  dialog.body.replaceChildren(
    el(
      "dl",
      { class: "fields" },
      [...known, ...others].flatMap((name) => [
        el("dt", { text: LABELS[name] ?? name }),
        el("dd", {}, ...valueOf(name, letter[name])),
      ]),
    ),
    ...LONG.filter((name) => letter[name] !== null && letter[name] !== undefined).map((name) =>
      long(name, letter[name]),
    ),
  );
  const selection = { ids: [letter.id] };
  const words = letter.vm ? `the dead letter of ${letter.vm}` : "this dead letter";
  dialog.foot.replaceChildren(
    ...(mayOperate()
      ? [
          button("Redrive …", () => redriveDialog(selection, words, done), { kind: "primary" }),
          button("Delete …", () => deleteDialog(selection, words, done), { kind: "danger" }),
        ]
      : [el("span", { class: "muted", text: "With the role read you may look only." })]),
    el("span", { class: "spring" }),
    copyButton(JSON.stringify(letter, null, 2), "Copy as JSON"),
  );
}

function valueOf(name, value) {
  if (value === null || value === undefined || value === "") return ["–"];
  if (name === "failed_at") return [timeEl(value), " (", timeEl(value, "age"), ")"];
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (!LINKS[name]) return [text];
  const all = el(
    "a",
    { class: "aside", href: link("letters", { [LINKS[name]]: text }) },
    "all of the same",
    el("span", { class: "unseen", text: ` ${LABELS[name]}` }),
  );
  return [text, " ", all];
}

function long(name, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const title = name[0].toUpperCase() + name.slice(1);
  return el(
    "section",
    { class: "long" },
    el("h3", { text: title }),
    el("pre", { tabindex: "0", role: "region", "aria-label": title, text }),
  );
}
