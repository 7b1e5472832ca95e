/** Who did what, when and why. */

import { get } from "../shared/api.js";
import { button } from "../shared/dialogs.js";
import { byId, cell, el, icon, reconcile, row, show, table } from "../shared/dom.js";
import { number, timeEl } from "../shared/format.js";

const PAGE = 50;
const MOST_ROWS = 300;
const EVERY_MS = 10_000;
const OWN = new Set(["at", "action", "who", "why", "count"]);

const state = { pages: 1, at: 0, isLoading: false };
let parts = null;

export function enterAudit() {
  build();
  load();
}

/** Called with each overview while it is seen: now and then it is read again. */
export function updateAudit() {
  if (parts && Date.now() - state.at > EVERY_MS) load();
}

function build() {
  if (parts) return;
  const made = table(
    "Redrives, deletions and purges, newest first",
    [
      { label: "When" },
      { label: "Who" },
      { label: "What" },
      { label: "Count", class: "num" },
      { label: "Why" },
      { label: "More" },
    ],
    { name: "cards audit" },
  );
  parts = {
    table: made.node,
    body: made.body,
    trouble: el("div", { role: "alert" }),
    empty: el("p", { class: "muted", hidden: true, text: "Nobody has redriven, deleted or purged anything yet." }),
    more: button(`Show ${PAGE} more`, () => {
      state.pages += 1;
      load();
    }),
  };
  byId("audit-body").append(
    el("p", {
      class: "muted",
      text: "Every redrive, deletion and purge, whoever ordered it. The last 10,000 are kept.",
    }),
    parts.trouble,
    parts.table,
    parts.empty,
    el("div", { class: "more" }, parts.more),
  );
}

async function load() {
  if (state.isLoading) return;
  Object.assign(state, { isLoading: true, at: Date.now() });
  try {
    const found = await get("audit", { limit: PAGE * state.pages });
    draw(found.entries, found.next_cursor);
    parts.trouble.replaceChildren();
  } catch (error) {
    parts.trouble.replaceChildren(
      el("p", { class: "notice bad" }, icon("unhealthy"), `Cannot be read: ${error.message}`),
    );
  } finally {
    state.isLoading = false;
  }
}

function draw(entries, cursor) {
  show(parts.table, entries.length > 0);
  show(parts.empty, entries.length === 0);
  show(parts.more, cursor !== null && entries.length < MOST_ROWS);
  const seen = new Map(); // two entries may be alike in all that is told of them
  const keyed = entries.map((entry) => {
    const key = JSON.stringify(entry);
    seen.set(key, (seen.get(key) ?? 0) + 1);
    return { entry, key: `${key}#${seen.get(key)}` };
  });
  reconcile(
    parts.body,
    keyed,
    ({ key }) => key,
    ({ entry }) => makeRow(entry),
  );
}

function makeRow(entry) {
  const count = Number(entry.count);
  return row(
    cell("When", {}, timeEl(entry.at)),
    cell("Who", { text: entry.who ?? "–" }),
    cell("What", { text: entry.action ?? "–" }),
    cell("Count", { class: "num", text: entry.count === undefined ? "–" : number(count) }),
    cell("Why", { class: "wrap", text: entry.why ?? "–" }),
    cell("More", { class: "wrap muted" }, ...further(entry)),
  );
}

function further(entry) {
  return Object.entries(entry)
    .filter(([name, value]) => !OWN.has(name) && value !== null && value !== "" && value !== "0")
    .map(([name, value]) => el("span", { class: "pair", text: `${name}: ${value}` }));
}
