/** The form of the filter: search, queue, pool and time, and chips for all other filters. */

import { button, inline, offerNames, option } from "../shared/controls.js";
import { el, icon } from "../shared/dom.js";
import { reconcile } from "../shared/reconcile.js";
import { chipsOf, filterOf, QUEUES, SINCE, sinceText } from "./filter.js";

/** @import { Filter } from "./filter.js" */

const TYPING_MS = 300;

export class FilterForm {
  /** @type {Filter} */
  #filter = {};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {(filter: Filter, isTyping: boolean) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.search = el("input", {
      type: "search",
      id: "dead-letter-search",
      placeholder: "error, VM, pool, request, task",
      autocomplete: "off",
      maxlength: "200",
      spellcheck: "false",
      on: { input: () => this.#scheduleSearch() },
    });
    this.queue = this.#select("queue", [["", "all"], ...QUEUES.map((name) => [name, name])]);
    this.pool = this.#select("pool", [["", "all"]]);
    this.since = this.#select("since", SINCE);
    this.chips = el("ul", { class: "chips", "aria-label": "More filters" });
    this.node = el(
      "form",
      { class: "controls", role: "search", on: { submit: (event) => event.preventDefault() } },
      inline("Search", this.search, { grows: true }),
      inline("Queue", this.queue),
      inline("Pool", this.pool),
      inline("Failed", this.since),
    );
  }

  /**
   * @param {string} name
   * @param {string[][]} options
   */
  #select(name, options) {
    const node = el(
      "select",
      { id: `dead-letter-${name}`, on: { change: () => this.#set(name, node.value) } },
      options.map(([value, text]) => option(value, text)),
    );
    return node;
  }

  #scheduleSearch() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#set("search", this.search.value.trim(), true), TYPING_MS);
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #set(name, value, isTyping = false) {
    clearTimeout(this.#timer);
    this.onChange(filterOf({ ...this.#filter, search: this.search.value.trim(), [name]: value }), isTyping);
  }

  /**
   * Show the filter. The search field keeps its cursor while somebody types in it.
   *
   * @param {Filter} filter
   */
  show(filter) {
    this.#filter = filter;
    if (this.search.value.trim() !== (filter.search ?? "")) this.search.value = filter.search ?? "";
    this.queue.value = filter.queue ?? "";
    this.offerPools([filter.pool]);
    this.pool.value = filter.pool ?? "";
    if (filter.since && ![...this.since.options].some((one) => one.value === filter.since)) {
      this.since.append(option(filter.since, sinceText(filter.since)));
    }
    this.since.value = filter.since ?? "";
    reconcile(
      this.chips,
      chipsOf(filter),
      ({ name, text }) => `${name}=${text}`,
      ({ name, text }) => this.#chip(name, text),
    );
  }

  /**
   * @param {string} name
   * @param {string} text
   */
  #chip(name, text) {
    const cross = button("", () => this.#set(name, ""), { kind: "quiet", "aria-label": `Remove filter ${text}` });
    cross.append(icon("close"));
    return el("li", { class: "chip" }, el("span", { text }), cross);
  }

  /**
   * Add these pools to the choice.
   *
   * @param {(string | undefined)[]} names
   */
  offerPools(names) {
    offerNames(this.pool, names);
  }
}
