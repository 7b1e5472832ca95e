/** The filter of the redrives of the last week: who, in which state, since when. */

import { inline, option } from "../shared/controls.js";
import { el } from "../shared/dom.js";
import { serverNow } from "../shared/format.js";

/** @import { RedriveRun } from "../shared/types.js" */

const STATES = ["running", "done", "stopped", "cancelled"];
const DAY = 86_400;

/** @type {[string, string][]} */
const SINCE = [
  ["", "last week"],
  [String(DAY), "last day"],
  [String(DAY / 24), "last hour"],
];

export class RunFilterForm {
  /** @param {() => void} onChange */
  constructor(onChange) {
    const on = { input: onChange };
    this.who = el("input", { type: "search", id: "run-who", placeholder: "part of a name", autocomplete: "off", on });
    const states = [option("", "all"), ...STATES.map((name) => option(name))];
    this.state = el("select", { id: "run-state", on }, states);
    const times = SINCE.map(([value, text]) => option(value, text));
    this.since = el("select", { id: "run-since", on }, times);
    this.node = el(
      "div",
      { class: "controls" },
      inline("Who", this.who),
      inline("State", this.state),
      inline("Started", this.since),
    );
  }

  /** @param {RedriveRun} run */
  accepts({ who, state, started }) {
    const isSameState = !this.state.value || state === this.state.value;
    const isRecent = !this.since.value || started >= serverNow() - Number(this.since.value);
    return isSameState && isRecent && (who ?? "").toLowerCase().includes(this.who.value.trim().toLowerCase());
  }
}
