/** The dialog that shows what a redrive would do, and starts it. */

import { post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, field, whyField } from "../shared/controls.js";
import { during, fillWith, openDialog } from "../shared/dialogs.js";
import { el } from "../shared/dom.js";
import { plural } from "../shared/format.js";
import { expectation, groupTable, hasEffect, startText } from "./preview.js";

/** @import { Dialog } from "../shared/dialogs.js" */
/** @import { RedrivePreview, RedriveRun, Selection } from "../shared/types.js" */

/**
 * Open the dialog.
 *
 * @param {Selection} selection
 * @param {string} words the selection in words
 * @param {(run: RedriveRun) => void} onStarted
 */
export function openRedriveDialog(selection, words, onStarted) {
  return show(openDialog("Redrive", { isWide: true }), selection, words, onStarted);
}

/**
 * Fill the dialog with the preview of this selection.
 *
 * @param {Dialog} dialog
 * @param {Selection} selection
 * @param {string} words
 * @param {(run: RedriveRun) => void} onStarted
 */
function show(dialog, selection, words, onStarted) {
  dialog.body.replaceChildren();
  dialog.foot.replaceChildren();
  const read = () => post("dlq/redrive", { ...selection, dry_run: true });
  return fillWith(dialog, `Checking what a redrive would do to ${words} …`, read, (preview) =>
    fill(dialog, selection, words, preview, onStarted),
  );
}

/**
 * @param {Dialog} dialog
 * @param {Selection} selection
 * @param {string} words
 * @param {RedrivePreview} preview
 * @param {(run: RedriveRun) => void} onStarted
 */
function fill(dialog, selection, words, preview, onStarted) {
  dialog.body.append(el("p", {}, "Redrive ", el("strong", { text: words }), "."), ...expectation(preview));
  if (selection.ids && (preview.to_confirm || selection.confirm)) {
    const again = (/** @type {boolean} */ confirm) => show(dialog, { ...selection, confirm }, words, onStarted);
    dialog.body.append(confirmation(Boolean(selection.confirm), again));
  }
  if (!hasEffect(preview)) {
    if (preview.selected) dialog.body.append(groupTable(preview.groups));
    dialog.foot.append(button("Close", dialog.close));
    return;
  }
  const form = optionFields();
  const start = button(
    startText(preview),
    () =>
      during(start, dialog, async () => {
        const run = await post("dlq/redrive", { ...selection, dry_run: false, ...form.values() });
        if (!run.run) throw new Error("There is nothing left to redrive.");
        dialog.close();
        announce(`Redrive ${run.run} started: ${plural(run.selected, "dead letter")}`);
        onStarted(run);
      }),
    { kind: "primary" },
  );
  dialog.body.append(...form.nodes, groupTable(preview.groups));
  dialog.foot.append(start, button("Cancel", dialog.close));
}

/**
 * Return the box with which a person confirms that reverts run again.
 *
 * @param {boolean} checked
 * @param {(confirm: boolean) => void} onChange
 */
function confirmation(checked, onChange) {
  const box = el("input", { type: "checkbox", checked, on: { change: () => onChange(box.checked) } });
  const hint = "A revert sets the VM back to a snapshot. What its user did since is lost. Talk to that user first.";
  return field("Run reverts again, too", box, hint);
}

/** Return the fields for the options of a run, and a function that reads them. */
function optionFields() {
  const rate = numberInput("10", "1000");
  const maxFailed = numberInput("50", "100");
  const why = whyField();
  return {
    nodes: [
      el(
        "div",
        { class: "fields-row" },
        field("Dead letters per second", rate, "0: no limit."),
        field("Stop if more than this share fails again", maxFailed, "In percent, checked after ten dead letters."),
      ),
      why.node,
    ],
    values: () => ({
      rate: Number(rate.value),
      max_failed_percent: Number(maxFailed.value),
      why: why.input.value.trim() || null,
    }),
  };
}

/**
 * @param {string} value
 * @param {string} max
 */
const numberInput = (value, max) =>
  el("input", { type: "number", min: "0", max, step: "any", value, inputmode: "decimal" });
