/** The dialog that shows what a redrive would do, and starts it. */

import { post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, field, whyField } from "../shared/controls.js";
import { during, fillWith, openDialog } from "../shared/dialogs.js";
import { el, notice } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";
import { cell, row, table } from "../shared/table.js";

/** @import { Dialog } from "../shared/dialogs.js" */
/** @import { RedriveGroup, RedrivePreview, RedriveRun, Selection } from "../shared/types.js" */

const MAX_GROUPS = 20;

/**
 * Open the dialog.
 *
 * @param {Selection} selection
 * @param {string} words the selection in words
 * @param {(run: RedriveRun) => void} onStarted
 */
export function openRedriveDialog(selection, words, onStarted) {
  const dialog = openDialog("Redrive", { isWide: true });
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
  if (!preview.selected) {
    dialog.foot.append(button("Close", dialog.close));
    return;
  }
  const form = optionFields();
  const start = button(
    `Redrive ${number(preview.selected)}`,
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

/** @param {RedrivePreview} preview */
function expectation({ selected, poisoned, expected }) {
  /** @type {[number, string][]} */
  const lines = [
    [expected.redriven, "will run again"],
    [expected.obsolete, "will be closed as obsolete: nobody needs the result any more"],
    [expected.kept, "will be kept: they cannot run again in their present form"],
  ];
  const items = lines
    .filter(([count]) => selected && count)
    .map(([count, text]) => el("li", {}, el("strong", { text: number(count) }), ` ${text}`));
  return [
    selected ? "" : el("p", { class: "notice", text: "There is nothing to redrive." }),
    el("ul", { class: "expected" }, items),
    poisoned ? notice("warn", poisonedText(poisoned)) : "",
  ];
}

/** @param {number} count */
const poisonedText = (count) =>
  `${plural(count, "dead letter")} failed again too often and ${count === 1 ? "is" : "are"} left out. ` +
  "To redrive one of them, open it.";

/** @param {RedriveGroup[]} groups */
function groupTable(groups) {
  const made = table(
    "By queue, pool and error",
    [{ label: "Count", class: "num" }, { label: "Queue" }, { label: "Pool" }, { label: "Error" }],
    { className: "cards compact", hasVisibleCaption: true },
  );
  made.body.append(...groups.slice(0, MAX_GROUPS).map(groupRow));
  const hidden = groups.length - MAX_GROUPS;
  const rest = hidden > 0 && el("p", { class: "muted", text: `${plural(hidden, "more group")} not shown` });
  return el("div", {}, made.node, rest);
}

/** @param {RedriveGroup} group */
function groupRow(group) {
  return row(
    cell("Count", { class: "num", text: number(group.count) }),
    cell("Queue", { text: group.queue }),
    cell("Pool", { text: group.pool || "–" }),
    cell("Error", { class: "wrap", text: group.error }),
  );
}
