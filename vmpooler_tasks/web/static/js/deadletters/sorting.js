/** The order of the list: as in the hash, as the API takes it, and the headings that change it. */

import { option } from "../shared/controls.js";
import { el } from "../shared/dom.js";

/** @typedef {{sort: string, order: "asc" | "desc"}} Sorting */

/** Columns by their headings. @type {Record<string, string>} */
const COLUMNS = { Failed: "time", Queue: "queue", "VM or task": "vm", Pool: "pool", Error: "error" };

/** @type {Sorting} */
export const NEWEST_FIRST = { sort: "time", order: "desc" };

/** @type {Record<string, string>} */
const WORDS = { time: "time of failure", queue: "queue", vm: "VM or task", pool: "pool", error: "error" };

export const SORTS = Object.values(COLUMNS);
export const ORDERS = ["asc", "desc"];

/**
 * Return the order that the words of a hash name.
 *
 * @param {Partial<Record<string, string>>} words
 * @returns {Sorting}
 */
export function sortingOf({ sort, order }) {
  if (!sort || !SORTS.includes(sort)) return NEWEST_FIRST;
  return { sort, order: order === "asc" || order === "desc" ? order : firstOrder(sort) };
}

/**
 * Return the order as the words of a hash; empty for the newest first.
 *
 * @param {Sorting} sorting
 * @returns {Record<string, string>}
 */
export const asWords = (sorting) => (isNewestFirst(sorting) ? {} : { ...sorting });

/** @param {Sorting} sorting */
export const isNewestFirst = ({ sort, order }) => sort === "time" && order === "desc";

/**
 * Return the order in words.
 *
 * @param {Sorting} sorting
 */
export function sortingText({ sort, order }) {
  if (sort === "time") return order === "desc" ? "Newest first" : "Oldest first";
  return `By ${WORDS[sort]}, ${order === "asc" ? "A to Z" : "Z to A"}`;
}

/** @param {string} sort */
const firstOrder = (sort) => (sort === "time" ? "desc" : "asc");

/**
 * Return the order after a press on the heading of a column: the other way round if it is the present one.
 *
 * @param {Sorting} before
 * @param {string} sort
 * @returns {Sorting}
 */
export function pressed(before, sort) {
  if (before.sort !== sort) return { sort, order: firstOrder(sort) };
  return { sort, order: before.order === "asc" ? "desc" : "asc" };
}

/** The headings of the table, and a choice for a phone, where the rows are cards without headings. */
export class SortControls {
  /** @type {Sorting} */
  #sorting = NEWEST_FIRST;
  /** @type {Map<string, HTMLElement>} */
  #heads = new Map();

  /**
   * @param {HTMLTableElement} table
   * @param {(sorting: Sorting) => void} onSort
   */
  constructor(table, onSort) {
    this.onSort = onSort;
    this.choice = el(
      "select",
      { id: "dead-letter-sort", on: { change: () => this.#choose() } },
      SORTS.flatMap((sort) => [firstOrder(sort), firstOrder(sort) === "asc" ? "desc" : "asc"].map(choiceOf(sort))),
    );
    for (const head of table.querySelectorAll("th")) {
      const sort = COLUMNS[head.textContent ?? ""];
      if (sort) this.#addButton(head, sort);
    }
  }

  /**
   * @param {HTMLElement} head
   * @param {string} sort
   */
  #addButton(head, sort) {
    const label = head.textContent ?? "";
    const press = el("button", { type: "button", class: "sort", on: { click: () => this.#press(sort) } }, label);
    press.append(el("span", { class: "arrow", "aria-hidden": "true" }));
    head.replaceChildren(press);
    this.#heads.set(sort, head);
  }

  /** @param {string} sort */
  #press(sort) {
    this.onSort(pressed(this.#sorting, sort));
  }

  #choose() {
    const [sort, order] = this.choice.value.split(" ");
    this.onSort(sortingOf({ sort, order }));
  }

  /** @param {Sorting} sorting */
  show(sorting) {
    this.#sorting = sorting;
    this.choice.value = `${sorting.sort} ${sorting.order}`;
    for (const [sort, head] of this.#heads) {
      const isSorted = sort === sorting.sort;
      if (isSorted) head.setAttribute("aria-sort", sorting.order === "asc" ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }
}

/** @param {string} sort */
const choiceOf = (sort) => (/** @type {string} */ order) =>
  option(`${sort} ${order}`, sortingText(sortingOf({ sort, order })));
