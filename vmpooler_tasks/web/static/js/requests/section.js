/** The section of on-demand requests: who waits for what, for how long, and why. */

import { get, mayOperate } from "../shared/api.js";
import { button, inline, offerNames } from "../shared/controls.js";
import { byId, el, messageOf, notice, setText, show, showBriefly } from "../shared/dom.js";
import { HashDialog } from "../shared/hash_dialog.js";
import { goTo } from "../shared/route.js";
import { openCancelDialog, openRequest } from "./detail.js";
import { RequestList } from "./list.js";
import { asQuery, choiceOf, CHOICES } from "./words.js";

/** @import { Filters } from "../shared/route.js" */
/** @import { Overview, Request, RequestPage } from "../shared/types.js" */

const PAGE = 50;
const MAX_ROWS = 200;
const INTERVAL_MS = 4000;
const TYPING_MS = 300;

export class RequestsSection {
  /** @type {Filters | null} */
  #filters = null;
  #pages = 1;
  #loadedAtMs = 0;
  /** @type {AbortController | null} */
  #request = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    this.dialog = new HashDialog("requests", "request", (id, onClose) =>
      openRequest(id, { onClose, onCancel: (request) => this.#cancel(request) }),
    );
    this.list = new RequestList(
      (id) => this.dialog.goTo(id, this.#filters ?? {}),
      (request) => this.#cancel(request),
    );
    this.search = el("input", {
      type: "search",
      id: "request-search",
      placeholder: "id, user, pool",
      autocomplete: "off",
      maxlength: "200",
      spellcheck: "false",
      on: { input: () => this.#scheduleSearch() },
    });
    this.pool = el("select", { id: "request-pool", on: { change: () => this.#set({ pool: this.pool.value }) } });
    this.choices = el(
      "div",
      { class: "segments", role: "group", "aria-label": "Status" },
      CHOICES.map(({ value, label }) => button(label, () => this.#set({ status: value }), { "data-value": value })),
    );
    this.manager = el("p", { class: "intro" });
    this.errors = el("div", { role: "alert" });
    this.note = el("div", { role: "status" });
    this.unreadable = el("div");
    this.empty = el("p", { class: "empty", hidden: true });
    this.more = button(`Show ${PAGE} more`, () => this.#showMore());
    this.rest = el("span", { class: "muted" });
    for (const node of [this.list.node, this.more]) show(node, false);
    this.#build();
  }

  #build() {
    byId("requests-body").append(
      this.manager,
      el(
        "form",
        { class: "controls", role: "search", on: { submit: (event) => event.preventDefault() } },
        this.choices,
        inline("Find", this.search, { grows: true }),
        inline("Pool", this.pool),
      ),
      this.errors,
      this.note,
      this.unreadable,
      this.list.node,
      this.empty,
      el("div", { class: "more" }, this.more, this.rest),
      mayOperate() ? "" : el("p", { class: "muted", text: "Your role is read: you cannot cancel requests." }),
    );
  }

  /** @param {Filters} words of the hash */
  enter({ request, ...filters }) {
    if (JSON.stringify(filters) !== JSON.stringify(this.#filters)) {
      this.#filters = filters;
      this.#pages = 1;
      this.#showControls(filters);
      this.#load();
    }
    this.dialog.show(request);
  }

  leave() {
    this.dialog.show(undefined);
  }

  /**
   * Take over the overview. Read the list again from time to time while it is visible.
   *
   * @param {Overview} overview
   * @param {boolean} isVisible
   */
  update({ pools, features }, isVisible) {
    setText(
      this.manager,
      features.manage_pools
        ? "Requests for VMs on demand: the open ones, and those of the last month."
        : "VMPooler's own manager fills these requests. Those that it has closed are found by their whole id only.",
    );
    offerNames(
      this.pool,
      pools.map((one) => one.pool),
    );
    if (isVisible && this.#filters && Date.now() - this.#loadedAtMs > INTERVAL_MS) this.#load();
  }

  /** @param {Filters} filters */
  #showControls({ status, search, pool }) {
    const chosen = choiceOf(status);
    for (const one of this.choices.querySelectorAll("button")) {
      one.setAttribute("aria-pressed", String(one.dataset.value === chosen.value));
    }
    if (this.search.value.trim() !== (search ?? "")) this.search.value = search ?? "";
    offerNames(this.pool, [pool]);
    this.pool.value = pool ?? "";
  }

  #scheduleSearch() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#set({}, true), TYPING_MS);
  }

  /** @param {Filters} changed */
  #set(changed, isTyping = false) {
    clearTimeout(this.#timer);
    goTo("requests", { ...this.#filters, search: this.search.value.trim(), ...changed }, { replace: isTyping });
  }

  #showMore() {
    this.#pages += 1;
    this.#load();
  }

  async #load() {
    this.#request?.abort();
    const { signal } = (this.#request = new AbortController());
    this.#loadedAtMs = Date.now();
    try {
      const limit = Math.min(MAX_ROWS, PAGE * this.#pages);
      this.#show(await get("requests", { ...asQuery(this.#filters ?? {}), limit }, signal));
      this.errors.replaceChildren();
    } catch (error) {
      if (!signal.aborted) {
        this.errors.replaceChildren(notice("bad", `The requests cannot be read: ${messageOf(error)}`));
      }
    }
  }

  /** @param {RequestPage} page */
  #show({ requests, next_cursor: nextCursor, unreadable }) {
    this.list.show(requests);
    show(this.list.node, requests.length > 0);
    show(this.empty, requests.length === 0);
    setText(this.empty, this.#emptyText());
    const canGrow = nextCursor !== null && PAGE * this.#pages < MAX_ROWS;
    show(this.more, canGrow);
    setText(this.rest, nextCursor !== null && !canGrow ? "Older requests are not shown. Search for them." : "");
    const text = `These keys hold data of another type: ${unreadable.join(", ")}. Run vmpooler-tasks doctor.`;
    this.unreadable.replaceChildren(...(unreadable.length ? [notice("warn", text)] : []));
  }

  #emptyText() {
    const { search, pool, user, status } = this.#filters ?? {};
    return search || pool || user ? "No request matches this search." : choiceOf(status).none;
  }

  /** @param {Request} request */
  #cancel(request) {
    openCancelDialog(request, (text) => {
      this.dialog.close();
      showBriefly(this.note, notice("ok", text));
      this.#load();
    });
  }
}
