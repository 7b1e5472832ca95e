/** The section of dead letters: groups, list, and what can be done with them. */

import { get, mayOperate } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button } from "../shared/dialogs.js";
import { byId, el, icon, setText, show } from "../shared/dom.js";
import { epochOf, number, plural, serverNow } from "../shared/format.js";
import { deleteDialog, redriveDialog } from "./actions.js";
import { openDetail } from "./detail.js";
import { asQuery, asSelection, FilterForm, filterOf, inWords } from "./filter.js";
import { Groups } from "./groups.js";
import { Rows } from "./list.js";
import { current, go } from "../shared/route.js";
import { buildRuns, loadRuns, runsHaveWorker } from "../redrive/runs.js";

const PAGE = 50;
/** Rows in the page at once: beyond, the list goes on in one that begins where this ends. */
const MOST_ROWS = 300;
const NEW_SECONDS = 60;

const state = {
  filter: {},
  letters: [],
  cursor: null,
  pages: 1,
  total: 0,
  arrived: new Map(),
  revision: null,
  request: null,
  detail: null,
  loaded: false,
};
let parts = null;

/** `revision` is that of the overview: what is read from now on is no older than that. */
export function enterLetters(words, revision) {
  build();
  const filter = filterOf(words);
  parts.form.show(filter);
  if (!state.loaded || JSON.stringify(filter) !== JSON.stringify(state.filter)) {
    Object.assign(state, { filter, pages: 1, loaded: true, revision, arrived: new Map() });
    parts.rows.clearSelection();
    load({ isNewFilter: true });
    loadRuns().catch(() => {});
  }
  showDetail(words.letter ?? null);
}

/** An open letter does not lie over other sections. */
export const leaveLetters = () => showDetail(null);

/** What the overview says of them; if they changed, they are read again where they are seen. */
export function updateLetters(overview, isSeen) {
  if (!parts) return;
  runsHaveWorker(overview);
  parts.form.offerPools(overview.pools.map((pool) => pool.pool));
  for (const [id, since] of state.arrived) if (serverNow() - since > NEW_SECONDS) state.arrived.delete(id);
  if (!isSeen || overview.revision === state.revision) return;
  state.revision = overview.revision;
  load({});
}

function build() {
  if (parts) return;
  const runs = buildRuns(() => {
    load({});
    loadRuns().catch(() => {});
  });
  parts = {
    form: new FilterForm((filter, isTyping) => {
      go("letters", filter, { replace: isTyping });
    }),
    groups: new Groups((error) => go("letters", error ? { ...state.filter, error } : without("error"))),
    rows: new Rows(
      (letter) => go("letters", { ...state.filter, letter: letter.id }, { state: { opened: true } }),
      showActions,
    ),
    trouble: el("div", { role: "alert" }),
    note: el("div", { class: "note" }),
    total: el("p", { class: "total" }),
    actions: el("div", { class: "actions" }),
    empty: el("div", { class: "empty", hidden: true }),
    unreadable: el("div"),
    more: el("div", { class: "more" }),
  };
  byId("letters-body").append(
    runs.cards,
    parts.form.node,
    parts.form.chips,
    parts.trouble,
    parts.note,
    parts.groups.node,
    el(
      "section",
      { class: "list", "aria-labelledby": "list-title" },
      el("h2", { id: "list-title", tabindex: "-1", text: "Newest first" }),
      el("div", { class: "list-head" }, parts.total, parts.actions),
      parts.unreadable,
      parts.rows.node,
      parts.empty,
      parts.more,
    ),
    runs.past,
  );
}

function without(name) {
  const { [name]: _, ...others } = state.filter;
  return others;
}

async function load({ isNewFilter = false, isMore = false }) {
  state.request?.abort();
  const request = new AbortController();
  state.request = request;
  parts.rows.node.setAttribute("aria-busy", "true");
  try {
    const [found, stats] = await Promise.all([pages(request.signal), groupsOf(request.signal)]);
    take(found, stats, isNewFilter || isMore);
    parts.trouble.replaceChildren();
  } catch (error) {
    if (request.signal.aborted) return;
    state.revision = "unread"; // the next overview tries again
    parts.trouble.replaceChildren(
      el("p", { class: "notice bad" }, icon("unhealthy"), `Cannot be read: ${error.message}`),
    );
  } finally {
    if (state.request === request) parts.rows.node.removeAttribute("aria-busy");
  }
}

/** As many pages as are shown, from the newest on. */
async function pages(signal) {
  const found = await get("dlq", { ...asQuery(state.filter), limit: PAGE * state.pages }, signal);
  const letters = [...new Map(found.letters.map((one) => [one.id, one])).values()];
  return { letters, cursor: found.next_cursor, unreadable: found.unreadable };
}

/** Of all errors, so that another one can be chosen. */
const groupsOf = (signal) => get("dlq/stats", asQuery(without("error")), signal);

function take({ letters, cursor, unreadable }, stats, isExpected) {
  const before = new Set(state.letters.map((letter) => letter.id));
  const newest = Math.max(0, ...state.letters.map((letter) => epochOf(letter.failed_at) ?? 0));
  const arrived = isExpected
    ? []
    : letters.filter((letter) => !before.has(letter.id) && (epochOf(letter.failed_at) ?? 0) >= newest);
  for (const letter of arrived) state.arrived.set(letter.id, serverNow());
  if (arrived.length) announce(`${plural(arrived.length, "new dead letter")}`, "arrived");
  Object.assign(state, { letters, cursor, total: totalOf(stats) });
  parts.rows.show(letters, new Set(state.arrived.keys()));
  parts.groups.show(stats.groups, state.filter.error);
  parts.form.offerPools(stats.groups.flatMap((group) => group.pools));
  setText(
    parts.total,
    Object.keys(state.filter).length
      ? `${plural(state.total, "letter")} of this filter`
      : plural(state.total, "letter"),
  );
  parts.unreadable.replaceChildren(
    ...unreadable.map((key) =>
      el(
        "p",
        { class: "notice warn" },
        icon("degraded"),
        `${key} holds no dead letters, but something else: vmpooler-tasks doctor tells more.`,
      ),
    ),
  );
  show(parts.rows.node, letters.length > 0);
  showEmpty(letters.length === 0);
  showMore();
  showActions(parts.rows.selected);
}

function totalOf(stats) {
  if (!state.filter.error) return stats.total;
  return stats.groups.find((group) => group.error === state.filter.error)?.count ?? 0;
}

function showEmpty(isEmpty) {
  show(parts.empty, isEmpty);
  if (!isEmpty) return;
  const isFiltered = Object.keys(state.filter).length > 0;
  parts.empty.replaceChildren(
    el("p", { text: isFiltered ? "No dead letter meets this filter." : "No dead letters. Nothing failed for good." }),
    isFiltered ? button("Show all", () => go("letters")) : "",
  );
}

function showMore() {
  const isFull = state.letters.length >= MOST_ROWS;
  const oldest = state.letters.at(-1);
  const text = isFull ? "Show older ones" : `Show ${PAGE} more`;
  const words = `${number(state.letters.length)} of ${number(state.total)} shown`;
  if (parts.more.dataset.words === words && parts.more.firstChild) return;
  parts.more.dataset.words = words;
  const press = button(text, () => {
    if (isFull) {
      go("letters", { ...state.filter, until: Math.floor(epochOf(oldest.failed_at)) + 1 });
      return;
    }
    state.pages += 1;
    load({ isMore: true });
  });
  const hadFocus = parts.more.contains(document.activeElement);
  parts.more.replaceChildren(
    ...(state.letters.length ? [el("span", { class: "muted", text: words })] : []),
    ...(state.cursor ? [press] : []),
  );
  if (hadFocus) (state.cursor ? press : byId("list-title")).focus();
}

function showActions(selected) {
  if (!mayOperate()) {
    parts.actions.replaceChildren(
      el("span", { class: "muted", text: "With the role read you may look only: no redrive, no delete." }),
    );
    return;
  }
  const key = selected.size ? `s${selected.size}` : `a${state.total}`;
  if (parts.actions.dataset.key === key) return;
  parts.actions.dataset.key = key;
  const hadFocus = parts.actions.contains(document.activeElement);
  parts.actions.replaceChildren(...(selected.size ? selectedActions(selected) : wholeActions()));
  if (hadFocus) (parts.actions.querySelector("button") ?? byId("letters-title")).focus();
}

function selectedActions(selected) {
  const words = plural(selected.size, "selected dead letter");
  const chosen = () => ({ ids: [...parts.rows.selected] });
  return [
    el("strong", { text: `${number(selected.size)} selected` }),
    button("Redrive …", () => redriveDialog(chosen(), words, changed), { kind: "primary" }),
    button("Delete …", () => deleteDialog(chosen(), words, deleted), { kind: "danger" }),
    button("Clear", () => parts.rows.clearSelection(), { kind: "quiet" }),
  ];
}

function wholeActions() {
  if (!state.total) return [];
  const words = () => inWords(state.filter);
  return [
    button(`Redrive all ${number(state.total)} …`, () => redriveDialog(asSelection(state.filter), words(), changed)),
    button(`Delete all ${number(state.total)} …`, () => deleteDialog(asSelection(state.filter), words(), deleted)),
  ];
}

function changed() {
  parts.rows.clearSelection();
  load({});
}

function deleted(count) {
  parts.note.replaceChildren(
    el("p", { class: "notice ok" }, icon("healthy"), `${plural(count, "dead letter")} deleted.`),
  );
  setTimeout(() => parts.note.replaceChildren(), 10_000);
  changed();
}

/** The hash says which letter is open: the way back closes it, and closing it goes back. */
async function showDetail(id) {
  if (state.detail?.id === id) return;
  const before = state.detail;
  state.detail = id ? { id } : null;
  (await before?.dialog)?.close();
  if (!id) return;
  const own = state.detail;
  own.dialog = openDetail(id, {
    onDone: (count) => (count ? deleted(count) : changed()),
    onClose: () => {
      if (state.detail !== own) return;
      state.detail = null;
      if (current().filters.letter !== id) return; // whoever went elsewhere meanwhile stays there
      if (history.state?.opened) history.back();
      else go("letters", state.filter, { replace: true });
    },
  });
}
