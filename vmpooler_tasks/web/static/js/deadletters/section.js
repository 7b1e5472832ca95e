/** The section of dead letters: the filter, the groups by error, the list, and the redrives. */

import { announce } from "../shared/announce.js";
import { get } from "../shared/api.js";
import { button, inline } from "../shared/controls.js";
import { byId, el, messageOf, notice, setText, show, showBriefly } from "../shared/dom.js";
import { epochOf, plural, serverNow } from "../shared/format.js";
import { HashDialog } from "../shared/hash_dialog.js";
import { goTo } from "../shared/route.js";
import { openRedriveDialog } from "../redrive/dialog.js";
import { openEditDialog } from "../redrive/edit_dialog.js";
import { RedriveRuns } from "../redrive/runs.js";
import { ActionBar } from "./actions.js";
import { Arrivals, newOnes } from "./arrivals.js";
import { openDeleteDialog } from "./delete_dialog.js";
import { openDetail } from "./detail.js";
import { ExportLinks } from "./export_links.js";
import { asQuery, filterOf, mistakesIn, without } from "./filter.js";
import { FilterForm } from "./filter_form.js";
import { Groups } from "./groups.js";
import { List } from "./list.js";
import { MAX_ROWS, More, PAGE } from "./more.js";
import { asWords, isNewestFirst, NEWEST_FIRST, sortingOf, sortingText } from "./sorting.js";

/** @import { Filters } from "../shared/route.js" */
/** @import { DeadLetter, DeadLetterPage, DeadLetterStats, Overview, Selection } from "../shared/types.js" */
/** @import { Filter, Mistake } from "./filter.js" */

const MAINTENANCE_QUEUE = "vmpooler.maintenance";

export class DeadLettersSection {
  /** @type {Filter | null} */
  #filter = null;
  /** @type {DeadLetter[]} */
  #deadLetters = [];
  #sorting = NEWEST_FIRST;
  #hasMistakes = false;
  /** @type {string[]} */
  #pools = [];
  #pages = 1;
  #total = 0;
  #arrivals = new Arrivals();
  /** The overview's revision that the list shows; null: read the list again. @type {string | null} */
  #revision = null;
  /** @type {AbortController | null} */
  #request = null;

  constructor() {
    this.runs = new RedriveRuns(() => this.#reloadAll());
    this.form = new FilterForm((filter, isTyping) => this.#goTo(filter, { replace: isTyping }));
    this.groups = new Groups((error) => this.#goTo({ ...this.#filterWithoutError(), error: error ?? "" }));
    this.detail = new HashDialog("letters", "letter", (id, onClose) => this.#openDetail(id, onClose));
    this.list = new List(
      ({ id }) => this.detail.goTo(id, { ...this.#filter, ...asWords(this.#sorting) }),
      () => this.#showActions(),
      (sorting) => this.#goTo(this.#filter ?? {}, {}, sorting),
    );
    this.exports = new ExportLinks();
    this.actions = new ActionBar({
      redrive: (selection, words) => this.#redrive(selection, words),
      remove: (selection, words) => this.#remove(selection, words),
      clear: () => this.list.clearSelection(),
    });
    this.more = new More(() => this.#showMore());
    this.errors = el("div", { role: "alert" });
    this.note = el("div", { class: "note" });
    this.total = el("p", { class: "total" });
    this.empty = el("div", { class: "empty", hidden: true });
    this.unreadable = el("div");
    this.mistakes = el("div", { role: "alert" });
    this.title = el("h2", { id: "list-title", tabindex: "-1", text: "Newest first" });
    this.found = el(
      "section",
      { class: "list", "aria-labelledby": "list-title" },
      this.title,
      el("div", { class: "list-head" }, this.total, this.exports.node, this.actions.node),
      el("div", { class: "sort-choice" }, inline("Sort", this.list.sorting.choice)),
      this.unreadable,
      this.list.node,
      this.empty,
      this.more.node,
    );
    this.#build();
  }

  #build() {
    byId("letters-body").append(
      this.runs.cards,
      this.form.node,
      this.form.chips,
      this.errors,
      this.mistakes,
      this.note,
      this.groups.node,
      this.found,
      this.runs.history,
    );
  }

  /**
   * @param {Filters} words of the hash
   * @param {string} revision of the overview: what is read from now on is no older
   */
  enter(words, revision) {
    const filter = filterOf(words);
    const sorting = sortingOf(words);
    this.#showMistakes(mistakesIn(words), filter);
    this.form.show(filter);
    this.list.sorting.show(sorting);
    this.exports.show(filter);
    setText(this.title, sortingText(sorting));
    if (!isEqual([filter, sorting], [this.#filter, this.#sorting]) && !this.#hasMistakes) {
      this.#filter = filter;
      this.#sorting = sorting;
      this.#pages = 1;
      this.#revision = revision;
      this.#arrivals.clear();
      this.list.clearSelection();
      this.#load({ marksArrivals: false });
      this.#loadRuns();
    }
    this.detail.show(words.letter);
  }

  /** Close an open dead letter: it does not cover other sections. */
  leave() {
    this.detail.show(undefined);
  }

  /**
   * Take over the overview. Read the list again if dead letters came or went.
   *
   * @param {Overview} overview
   * @param {boolean} isVisible
   */
  update(overview, isVisible) {
    this.runs.setHasWorker(overview.workers.some((worker) => worker.queues.includes(MAINTENANCE_QUEUE)));
    this.#pools = overview.pools.map((pool) => pool.pool);
    this.form.offerPools(this.#pools);
    this.#arrivals.expire(serverNow());
    if (!isVisible || !this.#filter || overview.revision === this.#revision) return;
    this.#revision = overview.revision;
    this.#load();
  }

  /**
   * Go to a filter. The order of the list stays.
   *
   * @param {Filters | Filter} words
   * @param {{replace?: boolean, state?: unknown}} [options]
   */
  #goTo(words, options = {}, sorting = this.#sorting) {
    goTo("letters", { ...words, ...asWords(sorting) }, options);
  }

  /**
   * Show which part of the address cannot be used. A list without it would be another one than the address means.
   *
   * @param {Mistake[]} mistakes
   * @param {Filter} filter
   */
  #showMistakes(mistakes, filter) {
    this.#hasMistakes = mistakes.length > 0;
    this.mistakes.replaceChildren(
      ...mistakes.map(({ name, value, allowed }) =>
        notice("bad", `The address has ${name}=${value}: ${allowed}. Nothing is shown.`),
      ),
      ...(mistakes.length
        ? [button("Show the list without this filter", () => this.#goTo(filter, { replace: true }))]
        : []),
    );
    for (const node of [this.found, this.groups.node]) show(node, !this.#hasMistakes);
    if (this.#hasMistakes) this.#filter = null;
  }

  #filterWithoutError() {
    return without(this.#filter ?? {}, "error");
  }

  #showMore() {
    const oldest = this.#deadLetters.at(-1);
    if (oldest && this.#deadLetters.length >= MAX_ROWS) {
      this.#goTo({ ...this.#filter, until: String(Math.floor(epochOf(oldest.failed_at) ?? 0) + 1) });
      return;
    }
    this.#pages += 1;
    this.#load({ marksArrivals: false });
  }

  /** Read the list and the groups. The groups are of all errors, so that another one can be chosen. */
  async #load({ marksArrivals = true } = {}) {
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    this.list.node.setAttribute("aria-busy", "true");
    try {
      const pageQuery = { ...asQuery(this.#filter ?? {}), ...asWords(this.#sorting), limit: PAGE * this.#pages };
      const [page, stats] = await Promise.all([
        get("dlq", pageQuery, request.signal),
        get("dlq/stats", asQuery(this.#filterWithoutError()), request.signal),
      ]);
      this.#show(page, stats, marksArrivals);
      this.errors.replaceChildren();
    } catch (error) {
      if (request.signal.aborted) return;
      this.#revision = null; // the next overview tries again
      this.errors.replaceChildren(notice("bad", `The dead letters cannot be read: ${messageOf(error)}`));
    } finally {
      if (this.#request === request) this.list.node.removeAttribute("aria-busy");
    }
  }

  /**
   * @param {DeadLetterPage} page
   * @param {DeadLetterStats} stats
   * @param {boolean} marksArrivals
   */
  #show(page, stats, marksArrivals) {
    const deadLetters = [...new Map(page.letters.map((one) => [one.id, one])).values()];
    if (marksArrivals) this.#markArrivals(deadLetters);
    this.#deadLetters = deadLetters;
    this.#total = this.#totalOf(stats);
    this.list.show(deadLetters, this.#arrivals.ids());
    this.groups.show(stats.groups, this.#filter?.error);
    this.form.offerPools(stats.groups.flatMap((group) => group.pools));
    const isFiltered = Object.keys(this.#filter ?? {}).length > 0;
    setText(this.total, `${plural(this.#total, "dead letter")}${isFiltered ? " with this filter" : ""}`);
    this.unreadable.replaceChildren(...page.unreadable.map(unreadableNotice));
    show(this.list.node, deadLetters.length > 0);
    this.#showEmpty(deadLetters.length === 0, isFiltered);
    this.more.show(deadLetters.length, this.#total, page.next_cursor !== null, isNewestFirst(this.#sorting));
    this.#showActions();
  }

  /** @param {DeadLetter[]} deadLetters */
  #markArrivals(deadLetters) {
    const arrived = newOnes(this.#deadLetters, deadLetters);
    this.#arrivals.add(arrived, serverNow());
    if (arrived.length) announce(plural(arrived.length, "new dead letter"), "arrived");
  }

  /** @param {DeadLetterStats} stats */
  #totalOf(stats) {
    const error = this.#filter?.error;
    return error ? (stats.groups.find((group) => group.error === error)?.count ?? 0) : stats.total;
  }

  /**
   * @param {boolean} isEmpty
   * @param {boolean} isFiltered
   */
  #showEmpty(isEmpty, isFiltered) {
    show(this.empty, isEmpty);
    if (!isEmpty) return;
    this.empty.replaceChildren(
      el("p", { text: isFiltered ? "No dead letter matches this filter." : "There are no dead letters." }),
      this.#isUnknownPool() ? el("p", { text: `No pool has the name ${this.#filter?.pool}.` }) : "",
      isFiltered ? button("Show all", () => goTo("letters")) : "",
    );
  }

  #isUnknownPool() {
    const pool = this.#filter?.pool;
    return Boolean(pool) && this.#pools.length > 0 && !this.#pools.includes(pool ?? "");
  }

  #showActions() {
    this.actions.show({ selected: this.list.selected, total: this.#total, filter: this.#filter ?? {} });
  }

  /**
   * @param {Selection} selection
   * @param {string} words
   */
  #redrive(selection, words) {
    openRedriveDialog(selection, words, (run) => {
      this.detail.close();
      this.runs.watch(run);
      this.list.clearSelection();
      this.#load();
    });
  }

  /**
   * @param {Selection} selection
   * @param {string} words
   */
  #remove(selection, words) {
    openDeleteDialog(selection, words, (count) => {
      this.detail.close();
      this.#showNote(`${plural(count, "dead letter")} deleted.`);
      this.list.clearSelection();
      this.#load();
    });
  }

  /** @param {string} id */
  #edit(id) {
    openEditDialog(id, (task) => {
      this.detail.close();
      this.#showNote(`${task} is sent to the workers with the changed arguments.`);
      this.#load();
    });
  }

  /** @param {string} text */
  #showNote(text) {
    showBriefly(this.note, notice("ok", text));
  }

  #reloadAll() {
    this.#load();
    this.#loadRuns();
  }

  #loadRuns() {
    this.runs.load().catch(() => {}); // the list itself says that the server cannot read
  }

  /**
   * @param {string} id
   * @param {() => void} onClose
   */
  #openDetail(id, onClose) {
    return openDetail(id, {
      redrive: (selection, words) => this.#redrive(selection, words),
      remove: (selection, words) => this.#remove(selection, words),
      edit: (one) => this.#edit(one),
      onClose,
    });
  }
}

/**
 * @param {unknown} one
 * @param {unknown} other
 */
const isEqual = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** @param {string} key */
const unreadableNotice = (key) =>
  notice("warn", `The key ${key} does not hold dead letters, but data of another type. Run vmpooler-tasks doctor.`);
