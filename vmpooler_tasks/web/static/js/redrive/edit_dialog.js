/** The dialog that runs a failed task again with changed arguments. */

import { get, pathOfId, post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, whyField } from "../shared/controls.js";
import { during, fillWith, openDialog } from "../shared/dialogs.js";
import { el } from "../shared/dom.js";
import { printableJson } from "../shared/format.js";
import { parsedArguments } from "./arguments.js";

/** @import { Dialog } from "../shared/dialogs.js" */
/** @import { EditForm } from "../shared/types.js" */

/**
 * Open the dialog. It reads the arguments first.
 *
 * @param {string} id
 * @param {(task: string) => void} onSent
 */
export function openEditDialog(id, onSent) {
  const dialog = openDialog("Redrive with changed arguments", { isWide: true });
  const path = `dlq/${pathOfId(id)}/edit`;
  return fillWith(
    dialog,
    "Reading the arguments …",
    () => get(path),
    (form) => fill(dialog, path, form, onSent),
  );
}

/**
 * @param {Dialog} dialog
 * @param {string} path
 * @param {EditForm} form
 * @param {(task: string) => void} onSent
 */
function fill(dialog, path, form, onSent) {
  if (!form.editable) {
    dialog.body.append(el("p", { class: "notice warn", text: `This dead letter cannot be edited: ${form.reason}.` }));
    dialog.foot.append(button("Close", dialog.close));
    return;
  }
  const why = whyField();
  const text = el("textarea", {
    id: "edit-arguments",
    rows: "10",
    spellcheck: "false",
    "aria-describedby": "edit-hint",
  });
  text.value = printableJson({ args: form.args, kwargs: form.kwargs });
  dialog.body.append(
    el(
      "p",
      {},
      "Run ",
      el("strong", { text: form.task }),
      " again with these arguments. The dead letter leaves the list.",
    ),
    el(
      "div",
      { class: "field" },
      el("label", { for: "edit-arguments", text: "Arguments, as JSON" }),
      text,
      el("span", {
        class: "hint",
        id: "edit-hint",
        text: "args by position, kwargs by name. Replace each [redacted] with the real value.",
      }),
    ),
    argumentList(form),
    why.node,
  );
  const send = button(
    "Check and redrive",
    () =>
      during(send, dialog, async () => {
        const body = { ...parsedArguments(text.value), dry_run: false, why: why.input.value.trim() || null };
        const { task } = await post(path, body);
        dialog.close();
        announce(`${task} is sent to the workers`);
        onSent(task);
      }),
    { kind: "primary" },
  );
  dialog.foot.append(send, button("Cancel", dialog.close));
}

/** @param {EditForm} form */
function argumentList({ arguments: found }) {
  if (!found.length) return el("p", { class: "muted", text: "The task takes no arguments." });
  const items = found.map(({ name, type, required, fixed }) =>
    el(
      "li",
      {},
      el("code", { text: name }),
      ` ${type}${required ? ", required" : ""}${fixed ? ", cannot be changed" : ""}`,
    ),
  );
  return el(
    "details",
    { class: "figures" },
    el("summary", { text: "The arguments of this task" }),
    el("ul", {}, items),
  );
}
