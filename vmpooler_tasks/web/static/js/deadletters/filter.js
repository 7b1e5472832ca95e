/** Which dead letters are meant: the same filter in the hash, in the form, and as the API takes it. */

import { button } from "../shared/dialogs.js";
import { byId, el, icon, reconcile } from "../shared/dom.js";
import { localTime, serverNow } from "../shared/format.js";

const QUEUES = ["pending", "clone", "ready", "tasks"];
const SINCE = [
  ["", "any time"],
  ["15m", "last 15 minutes"],
  ["1h", "last hour"],
  ["6h", "last 6 hours"],
  ["1d", "last day"],
  ["7d", "last 7 days"],
];
const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };
const TYPING_MS = 300;

/** Those without a field of their own: each is shown as a chip that takes it away. */
const CHIPS = {
  error: (value) => `error: ${value}`,
  error_class: (value) => `class: ${value}`,
  vm: (value) => `VM: ${value}`,
  request: (value) => `request: ${value}`,
  until: (value) => `until ${localTime(Number(value))}`,
};
const NAMES = ["search", "queue", "pool", "since", ...Object.keys(CHIPS)];

/** The filter of these words of the hash; what is no filter is left out. */
export function filterOf(words) {
  return Object.fromEntries(NAMES.filter((name) => words[name]).map((name) => [name, words[name]]));
}

/** `1h` is an hour ago, whenever the link is opened; a number is an epoch. */
function epochOf(since) {
  const [, count, unit] = /^(\d+)([smhd])$/.exec(since ?? "") ?? [];
  if (unit) return Math.floor(serverNow() - Number(count) * UNITS[unit]);
  return Number.isFinite(Number(since)) ? since : undefined;
}

export function asQuery(filter) {
  return { ...filter, since: epochOf(filter.since) };
}

/**
 * As the API takes it for a redrive or a deletion. Its end is now, unless it has one: what arrives after the preview
 * was not meant.
 */
export function asSelection(filter) {
  const { queue, since, until, ...others } = filter;
  const isAll = Object.keys(filter).length === 0 || Object.keys(filter).join() === "queue";
  return {
    ...others,
    queues: queue ? [queue] : [],
    ...(since ? { since: epochOf(since) } : {}),
    until: until ? Number(until) : Math.ceil(serverNow()),
    ...(isAll ? { every: true } : {}),
  };
}

/** In words, for a dialog. */
export function inWords(filter) {
  const words = Object.entries(filter).map(
    ([name, value]) => CHIPS[name]?.(value) ?? (name === "since" ? sinceWords(value) : `${name} “${value}”`),
  );
  return words.length ? words.join(", ") : "all of them";
}

function sinceWords(since) {
  return SINCE.find(([value]) => value === since)?.[1] ?? `since ${localTime(Number(since))}`;
}

/** The form. `onChange(filter, isTyping)` gets each new filter. */
export class FilterForm {
  #filter = {};
  #timer = null;

  constructor(onChange) {
    this.onChange = onChange;
    this.search = el("input", {
      type: "search",
      id: "letter-search",
      placeholder: "error, VM, pool, request, task",
      autocomplete: "off",
      maxlength: "200",
      spellcheck: "false",
      on: { input: () => this.#typed() },
    });
    this.queue = this.#select("letter-queue", [["", "all"], ...QUEUES.map((name) => [name, name])], "queue");
    this.pool = this.#select("letter-pool", [["", "all"]], "pool");
    this.since = this.#select("letter-since", SINCE, "since");
    this.chips = el("ul", { class: "chips", "aria-label": "Further filters" });
    this.node = el(
      "form",
      { class: "controls", role: "search", on: { submit: (event) => event.preventDefault() } },
      labelled("Search", this.search, "grow"),
      labelled("Queue", this.queue),
      labelled("Pool", this.pool),
      labelled("Failed", this.since),
    );
  }

  #select(id, options, name) {
    return el(
      "select",
      { id, on: { change: (event) => this.#set(name, event.target.value) } },
      options.map(([value, text]) => el("option", { value, text })),
    );
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#set("search", this.search.value.trim(), true), TYPING_MS);
  }

  #set(name, value, isTyping = false) {
    clearTimeout(this.#timer);
    const { [name]: _, ...others } = { ...this.#filter, search: this.search.value.trim() };
    this.onChange(filterOf(value ? { ...others, [name]: value } : others), isTyping);
  }

  /** Shows this filter. The text that somebody is typing, which it comes from, keeps its cursor. */
  show(filter) {
    this.#filter = filter;
    if (this.search.value.trim() !== (filter.search ?? "")) this.search.value = filter.search ?? "";
    this.queue.value = filter.queue ?? "";
    this.offerPools([]);
    this.pool.value = filter.pool ?? "";
    if (filter.since && ![...this.since.options].some((option) => option.value === filter.since)) {
      this.since.append(el("option", { value: filter.since, text: sinceWords(filter.since) }));
    }
    this.since.value = filter.since ?? "";
    const set = Object.keys(CHIPS).filter((name) => filter[name]);
    reconcile(
      this.chips,
      set,
      (name) => `${name}=${filter[name]}`,
      (name) => this.#chip(name, filter[name]),
    );
  }

  #chip(name, value) {
    const off = button("", () => this.#set(name, ""), {
      kind: "quiet",
      "aria-label": `Remove filter ${CHIPS[name](value)}`,
    });
    off.append(icon("close"));
    return el("li", { class: "chip" }, el("span", { text: CHIPS[name](value) }), off);
  }

  /** Pools to choose from: those known so far, these, and the chosen one. */
  offerPools(names) {
    const known = [...this.pool.options].map((option) => option.value);
    const all = [...new Set([...known, ...names, this.#filter.pool ?? ""])].filter(Boolean).sort();
    if (all.length + 1 === known.length) return;
    const chosen = this.pool.value;
    this.pool.replaceChildren(
      el("option", { value: "", text: "all" }),
      ...all.map((name) => el("option", { value: name, text: name })),
    );
    this.pool.value = chosen;
  }
}

function labelled(text, input, extra = "") {
  return el("div", { class: `inline ${extra}` }, el("label", { for: input.id, text }), input);
}

export const focusSearch = () => byId("letter-search")?.focus();
