/** What a redrive would do, in words and as a table. */

import { el, notice } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";
import { cell, row, table } from "../shared/table.js";

/** @import { RedriveGroup, RedrivePreview, PreviewReason } from "../shared/types.js" */

const MAX_GROUPS = 20;

/** What becomes of a dead letter, by outcome. @type {[string, string][]} */
const EFFECTS = [
  ["redriven", "will run again"],
  ["obsolete", "will be closed as obsolete: nobody needs the result any more"],
  ["kept", "will stay in the list and not run again"],
];

/**
 * Return the text of the button: `Redrive 12, close 3`. Dead letters that are kept do not count: nothing happens to them.
 *
 * @param {RedrivePreview} preview
 */
export function startText({ expected: { redriven, obsolete } }) {
  if (!redriven && obsolete) return `Close ${number(obsolete)} as obsolete`;
  return `Redrive ${number(redriven)}${obsolete ? `, close ${number(obsolete)}` : ""}`;
}

/**
 * Return true if a run would change anything.
 *
 * @param {RedrivePreview} preview
 */
export const hasEffect = ({ expected }) => expected.redriven + expected.obsolete > 0;

/**
 * Return the counts of each effect, and the reasons of those that do not run again.
 *
 * @param {RedrivePreview} preview
 */
export function expectation(preview) {
  const { selected, poisoned, expected } = preview;
  const items = EFFECTS.filter(([outcome]) => expected[outcome]).map(([outcome, text]) =>
    el("li", {}, el("strong", { text: number(expected[outcome]) }), ` ${text}`, reasonList(preview.reasons, outcome)),
  );
  return [
    selected ? "" : el("p", { class: "notice", text: "There is nothing to redrive." }),
    el("ul", { class: "expected" }, items),
    poisoned ? notice("warn", poisonedText(poisoned)) : "",
  ];
}

/**
 * @param {PreviewReason[]} reasons
 * @param {string} outcome
 */
function reasonList(reasons, outcome) {
  const items = reasons
    .filter((one) => one.outcome === outcome)
    .map(({ count, reason }) => el("li", { text: `${number(count)}: ${reason}` }));
  return items.length ? el("ul", { class: "because" }, items) : "";
}

/** @param {number} count */
const poisonedText = (count) =>
  `${plural(count, "dead letter")} failed again too often and ${count === 1 ? "is" : "are"} left out. ` +
  "To redrive one of them, open it.";

/** @param {RedriveGroup[]} groups */
export function groupTable(groups) {
  const made = table(
    "By queue, pool and error",
    [
      { label: "Run", class: "num" },
      { label: "Close", class: "num" },
      { label: "Keep", class: "num" },
      { label: "Queue" },
      { label: "Pool" },
      { label: "Error" },
    ],
    { className: "cards compact preview", hasVisibleCaption: true },
  );
  made.body.append(...groups.slice(0, MAX_GROUPS).map(groupRow));
  const hidden = groups.length - MAX_GROUPS;
  const rest = hidden > 0 && el("p", { class: "muted", text: `${plural(hidden, "more group")} not shown` });
  return el("div", {}, made.node, rest);
}

/** @param {RedriveGroup} group */
function groupRow({ expected, queue, pool, error, reasons }) {
  const why = reasons.map(({ count, reason }) => `${number(count)}: ${reason}`).join("; ");
  return row(
    cell("Run", { class: "num", text: number(expected.redriven) }),
    cell("Close", { class: "num", text: number(expected.obsolete) }),
    cell("Keep", { class: "num", text: number(expected.kept) }),
    cell("Queue", { text: queue }),
    cell("Pool", { text: pool || "–" }),
    cell("Error", { class: "wrap" }, el("div", {}, error, why ? el("span", { class: "because", text: why }) : "")),
  );
}
