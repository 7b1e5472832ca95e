/** The attempts of a dead letter across redrives, in order of time. */

import { el } from "../shared/dom.js";
import { plural } from "../shared/format.js";
import { timeEl } from "../shared/times.js";

/** @import { Attempt, DeadLetter } from "../shared/types.js" */

/**
 * Return the list of attempts; an empty text for a dead letter that was never run again.
 *
 * @param {DeadLetter} deadLetter
 */
export function attemptList({ attempts, attempts_unknown: unknown }) {
  const found = /** @type {Attempt[]} */ (Array.isArray(attempts) ? attempts : []);
  const lost = Number(unknown ?? 0);
  if (found.length + lost < 2) return "";
  return el(
    "section",
    { class: "long" },
    el("h3", { text: `Attempts (${found.length + lost})` }),
    lost ? el("p", { class: "muted", text: `${plural(lost, "older attempt")} not kept.` }) : "",
    el("ol", { class: "attempts", start: String(lost + 1) }, found.map(item)),
  );
}

/** @param {Attempt} attempt */
function item({ failed_at: failedAt, error_class: errorClass, error_message: message, vm, ...redrive }) {
  return el(
    "li",
    {},
    el("span", { class: "when" }, timeEl(failedAt)),
    " ",
    el("strong", { text: errorClass ?? "" }),
    ` ${message ?? ""}${vm ? ` (${vm})` : ""}`,
    redrive.redriven_at
      ? el(
          "span",
          { class: "again muted" },
          "Run again ",
          timeEl(redrive.redriven_at),
          ` by ${redrive.who ?? "somebody"}`,
          redrive.run ? `, run ${redrive.run}` : "",
          redrive.edited ? ", with changed arguments" : "",
        )
      : "",
  );
}
