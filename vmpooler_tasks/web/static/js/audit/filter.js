/** The filter of the audit: who, what, and since when. */

import { inline, option } from "../shared/controls.js";
import { el } from "../shared/dom.js";
import { serverNow } from "../shared/format.js";

/** @import { Filters } from "../shared/route.js" */

const TYPING_MS = 300;
const HOUR = 3600;

/** Actions that the audit knows; a choice accepts each action that contains it. */
const ACTIONS = [
  "redrive",
  "edit",
  "delete",
  "purge",
  "run now",
  "pause",
  "drain",
  "resume",
  "retry",
  "confirm",
  "brake",
  "adopt",
  "cancel",
];

/** @type {[string, string, number][]} */
const SINCE = [
  ["", "any time", 0],
  ["1h", "last hour", HOUR],
  ["1d", "last day", 24 * HOUR],
  ["7d", "last 7 days", 7 * 24 * HOUR],
];

/**
 * Return the filter as the parameters of a query.
 *
 * @param {Filters} filter
 */
export function auditQuery({ who, action, since }) {
  const seconds = SINCE.find(([value]) => value === since)?.[2] ?? 0;
  return { who, action, since: seconds ? Math.floor(serverNow() - seconds) : undefined };
}

export class AuditFilterForm {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {(filter: Filters, isTyping: boolean) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.who = el("input", {
      type: "search",
      id: "audit-who",
      placeholder: "part of a name",
      autocomplete: "off",
      maxlength: "200",
      on: { input: () => this.#scheduleSearch() },
    });
    const actions = [option("", "all"), ...ACTIONS.map((name) => option(name))];
    this.action = el("select", { id: "audit-action", on: { change: () => this.#send(false) } }, actions);
    const times = SINCE.map(([value, text]) => option(value, text));
    this.since = el("select", { id: "audit-since", on: { change: () => this.#send(false) } }, times);
    this.node = el(
      "form",
      { class: "controls", role: "search", on: { submit: (event) => event.preventDefault() } },
      inline("Who", this.who),
      inline("What", this.action),
      inline("When", this.since),
    );
  }

  #scheduleSearch() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(true), TYPING_MS);
  }

  /** @param {boolean} isTyping */
  #send(isTyping) {
    clearTimeout(this.#timer);
    const filter = { who: this.who.value.trim(), action: this.action.value, since: this.since.value };
    this.onChange(filter, isTyping);
  }

  /** @param {Filters} filter */
  show({ who = "", action = "", since = "" }) {
    if (this.who.value.trim() !== who) this.who.value = who;
    if (action && !ACTIONS.includes(action)) this.action.append(option(action));
    this.action.value = action;
    this.since.value = SINCE.some(([value]) => value === since) ? since : "";
  }
}
