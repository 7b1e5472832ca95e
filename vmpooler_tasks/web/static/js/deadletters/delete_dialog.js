/** The dialog that deletes dead letters. */

import { post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, whyField } from "../shared/controls.js";
import { during, fillWith, openDialog } from "../shared/dialogs.js";
import { el } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";

/** @import { Dialog } from "../shared/dialogs.js" */
/** @import { Selection } from "../shared/types.js" */

/**
 * Open the dialog. It counts the dead letters first.
 *
 * @param {Selection} selection
 * @param {string} words the selection in words
 * @param {(count: number) => void} onDeleted
 */
export function openDeleteDialog(selection, words, onDeleted) {
  const dialog = openDialog("Delete");
  const read = () => post("dlq/delete", { ...selection, dry_run: true });
  return fillWith(dialog, "Counting …", read, ({ selected }) => fill(dialog, selection, words, selected, onDeleted));
}

/**
 * @param {Dialog} dialog
 * @param {Selection} selection
 * @param {string} words
 * @param {number} selected
 * @param {(count: number) => void} onDeleted
 */
function fill(dialog, selection, words, selected, onDeleted) {
  if (!selected) {
    dialog.body.append(el("p", { class: "notice", text: "There is nothing to delete." }));
    dialog.foot.append(button("Close", dialog.close));
    return;
  }
  const why = whyField();
  dialog.body.append(
    el("p", {}, "Delete ", el("strong", { text: plural(selected, "dead letter") }), `: ${words}?`),
    el(
      "p",
      { class: "muted" },
      "A deletion cannot be undone. To keep a copy, export them first: ",
      el("code", { text: "vmpooler-tasks dlq export" }),
    ),
    why.node,
  );
  const confirm = button(
    `Delete ${number(selected)}`,
    () =>
      during(confirm, dialog, async () => {
        const body = { ...selection, dry_run: false, why: why.input.value.trim() || null };
        const { deleted } = await post("dlq/delete", body);
        dialog.close();
        announce(`${plural(deleted, "dead letter")} deleted`);
        onDeleted(deleted);
      }),
    { kind: "danger" },
  );
  dialog.foot.append(confirm, button("Cancel", dialog.close));
}
