/** Redriving and deleting dead letters: what would happen is shown first, and who does it says why. */

import { post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, during, field, openDialog, whyField } from "../shared/dialogs.js";
import { cell, el, icon, row, table } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";
import { watchRun } from "../redrive/runs.js";

const SHOWN_GROUPS = 20;

/** `selection` as the API takes it, `words` say what it is. `onDone` is called once a run has begun. */
export async function redriveDialog(selection, words, onDone) {
  const dialog = openDialog("Redrive", { wide: true });
  dialog.body.append(el("p", { class: "muted", text: `Looking what would become of ${words} …` }));
  try {
    fillRedrive(dialog, selection, words, await post("dlq/redrive", { ...selection, dry_run: true }), onDone);
  } catch (error) {
    dialog.body.replaceChildren();
    dialog.fail(error);
  }
}

function fillRedrive(dialog, selection, words, preview, onDone) {
  dialog.body.replaceChildren(el("p", {}, "Run ", el("strong", { text: words }), " again."), ...expectation(preview));
  if (!preview.selected) {
    dialog.foot.append(button("Close", dialog.close));
    return;
  }
  const rate = el("input", { type: "number", min: "0", max: "1000", step: "any", value: "10", inputmode: "decimal" });
  const most = el("input", { type: "number", min: "0", max: "100", step: "any", value: "50", inputmode: "decimal" });
  const why = whyField();
  const start = button(
    `Redrive ${number(preview.selected)}`,
    () =>
      during(start, dialog, async () => {
        const run = await post("dlq/redrive", {
          ...selection,
          dry_run: false,
          rate: Number(rate.value),
          max_failed_percent: Number(most.value),
          why: why.input.value.trim() || null,
        });
        if (!run.run) throw new Error("There is nothing left to redrive.");
        dialog.close();
        announce(`Run ${run.run} has begun: ${plural(run.selected, "dead letter")}`);
        watchRun(run);
        onDone();
      }),
    { kind: "primary" },
  );
  dialog.body.append(
    el(
      "div",
      { class: "fields-row" },
      field("Letters a second", rate, "0: as many as go."),
      field("Stop if more fail again than", most, "Percent, counted from the tenth letter on."),
    ),
    why.node,
    groupTable(preview.groups),
  );
  dialog.foot.append(start, button("Cancel", dialog.close));
}

function expectation({ selected, poisoned, expected }) {
  const lines = selected
    ? [
        [expected.redriven, "will be run again"],
        [expected.obsolete, "will be closed: nobody wants them any more"],
        [expected.kept, "will stay: they cannot be run again as they are"],
      ]
    : [];
  return [
    selected ? null : el("p", { class: "notice", text: "There is nothing to redrive." }),
    el(
      "ul",
      { class: "expected" },
      lines
        .filter(([count]) => count)
        .map(([count, what]) => el("li", {}, el("strong", { text: number(count) }), ` ${what}`)),
    ),
    poisoned
      ? el(
          "p",
          { class: "notice warn" },
          icon("degraded"),
          `${plural(poisoned, "letter")} came back too often and ${poisoned === 1 ? "is" : "are"} left out: ` +
            "redrive these one by one, from their details.",
        )
      : null,
  ].filter(Boolean);
}

function groupTable(groups) {
  const made = table(
    "By queue, pool and error",
    [{ label: "Count", class: "num" }, { label: "Queue" }, { label: "Pool" }, { label: "Error" }],
    { name: "cards compact", captionSeen: true },
  );
  made.body.append(
    ...groups
      .slice(0, SHOWN_GROUPS)
      .map((group) =>
        row(
          cell("Count", { class: "num", text: number(group.count) }),
          cell("Queue", { text: group.queue }),
          cell("Pool", { text: group.pool || "–" }),
          cell("Error", { class: "wrap", text: group.error }),
        ),
      ),
  );
  const left = groups.length - SHOWN_GROUPS;
  return el(
    "div",
    {},
    made.node,
    left > 0 ? el("p", { class: "muted", text: `and ${plural(left, "more group")}` }) : null,
  );
}

/** The same for deleting; the dialog names the number. */
export async function deleteDialog(selection, words, onDone) {
  const dialog = openDialog("Delete");
  dialog.body.append(el("p", { class: "muted", text: "Counting …" }));
  try {
    const { selected } = await post("dlq/delete", { ...selection, dry_run: true });
    fillDelete(dialog, selection, words, selected, onDone);
  } catch (error) {
    dialog.body.replaceChildren();
    dialog.fail(error);
  }
}

function fillDelete(dialog, selection, words, selected, onDone) {
  if (!selected) {
    dialog.body.replaceChildren(el("p", { class: "notice", text: "There is nothing to delete." }));
    dialog.foot.append(button("Close", dialog.close));
    return;
  }
  const why = whyField();
  dialog.body.replaceChildren(
    el("p", {}, "Delete ", el("strong", { text: plural(selected, "dead letter") }), `: ${words}?`),
    el(
      "p",
      { class: "muted" },
      "They cannot be brought back. To keep a copy, export them first: ",
      el("code", { text: "vmpooler-tasks dlq export" }),
    ),
    why.node,
  );
  const confirm = button(
    `Delete ${number(selected)}`,
    () =>
      during(confirm, dialog, async () => {
        const { deleted } = await post("dlq/delete", {
          ...selection,
          dry_run: false,
          why: why.input.value.trim() || null,
        });
        dialog.close();
        announce(`${plural(deleted, "dead letter")} deleted`);
        onDone(deleted);
      }),
    { kind: "danger" },
  );
  dialog.foot.append(confirm, button("Cancel", dialog.close));
}
