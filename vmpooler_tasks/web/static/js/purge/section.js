/** The purge: what it would take now, and doing it. */

import { get, mayOperate, post } from "../shared/api.js";
import { announce } from "../shared/announce.js";
import { button, during, field, openDialog, whyField } from "../shared/dialogs.js";
import { byId, cell, el, icon, reconcile, row, setText, show, table } from "../shared/dom.js";
import { duration, number, plural, timeEl } from "../shared/format.js";
import { go } from "../shared/route.js";

const QUEUES = ["pending", "ready", "completed", "orphaned", "requests"];
const WHAT = {
  pending: "stuck in pending",
  ready: "idle in ready: they move on to completed",
  completed: "left in completed",
  orphaned: "metadata of VMs in no queue: gets an end",
  requests: "requests that wait for too long: are failed",
};
const MOST_ROWS = 200;

const state = { filter: {}, features: {}, pools: [], plan: null };
let parts = null;

export function enterPurge(words) {
  build();
  const filter = Object.fromEntries(["pool", "queue"].filter((name) => words[name]).map((name) => [name, words[name]]));
  const isSame = JSON.stringify(filter) === JSON.stringify(state.filter);
  state.filter = filter;
  offerPools();
  parts.pool.value = filter.pool ?? "";
  parts.queue.value = filter.queue ?? "";
  if (!state.plan || !isSame) plan();
}

export function updatePurge(overview) {
  state.features = overview.features;
  state.pools = overview.pools.map((pool) => pool.pool);
  if (!parts) return;
  offerPools();
  showSwitches();
}

function build() {
  if (parts) return;
  const made = table(
    "What would be purged",
    [
      { label: "Queue" },
      { label: "Pool" },
      { label: "VM or request" },
      { label: "Age", class: "num" },
      { label: "Limit", class: "num" },
    ],
    { name: "cards compact" },
  );
  const choose = () => go("purge", { pool: parts.pool.value, queue: parts.queue.value });
  parts = {
    pool: el("select", { id: "purge-pool", on: { change: choose } }, el("option", { value: "", text: "all" })),
    queue: el(
      "select",
      { id: "purge-queue", on: { change: choose } },
      ["", ...QUEUES].map((name) => el("option", { value: name, text: name || "all" })),
    ),
    again: button("Make the plan again", () => plan()),
    apply: button("Purge …", () => apply(), { kind: "danger" }),
    switches: el("div"),
    result: el("div", { role: "status" }),
    summary: el("div", { class: "plan" }),
    table: made.node,
    body: made.body,
    left: el("p", { class: "muted" }),
  };
  byId("purge-body").append(
    el("p", { class: "muted", text: "Takes entries that are too old out of the queues. A plan changes nothing." }),
    parts.switches,
    el(
      "div",
      { class: "controls" },
      el("div", { class: "inline" }, el("label", { for: "purge-pool", text: "Pool" }), parts.pool),
      el("div", { class: "inline" }, el("label", { for: "purge-queue", text: "Queue" }), parts.queue),
      parts.again,
      mayOperate() ? parts.apply : el("span", { class: "muted", text: "With the role read you may look only." }),
    ),
    parts.result,
    parts.summary,
    parts.table,
    parts.left,
  );
  showSwitches();
}

function offerPools() {
  const known = [...parts.pool.options].map((option) => option.value);
  const all = [...new Set([...known, ...state.pools, state.filter.pool ?? ""])].filter(Boolean).sort();
  reconcile(
    parts.pool,
    ["", ...all],
    (name) => name,
    (name) => el("option", { value: name, text: name || "all" }),
  );
}

function showSwitches() {
  const { purge, purge_dry_run: dryRun } = state.features;
  const words =
    purge === false
      ? "Purge is switched off (purge_enabled: false): nothing is purged by itself, and here only by force."
      : dryRun
        ? "The configuration says dry run (purge_dry_run: true): whoever orders a purge, nothing is changed."
        : "";
  if (parts.switches.dataset.words === words) return;
  parts.switches.dataset.words = words;
  parts.switches.replaceChildren(...(words ? [el("p", { class: "notice warn" }, icon("degraded"), words)] : []));
}

async function plan() {
  parts.again.disabled = true;
  parts.apply.disabled = true;
  parts.summary.setAttribute("aria-busy", "true");
  try {
    state.plan = await get("purge", { dry_run: true, ...state.filter });
    showPlan(state.plan);
  } catch (error) {
    state.plan = null;
    showPlan(null);
    parts.summary.replaceChildren(el("p", { class: "notice bad", role: "alert" }, icon("unhealthy"), error.message));
  } finally {
    parts.again.disabled = false;
    parts.summary.removeAttribute("aria-busy");
  }
}

function showPlan(found) {
  const entries = found?.entries.slice(0, MOST_ROWS) ?? [];
  show(parts.table, entries.length > 0);
  parts.apply.disabled = !found;
  const left = found ? (found.entries_left_out ?? 0) + found.entries.length - entries.length : 0;
  setText(parts.left, left ? `and ${number(left)} more; vmpooler-tasks purge --dry-run --json lists them all` : "");
  reconcile(
    parts.body,
    entries,
    (entry) => JSON.stringify([entry.queue, entry.pool, entry.vm]),
    (entry) =>
      row(
        cell("Queue", { text: entry.queue }),
        cell("Pool", { text: entry.pool || "–" }),
        cell("VM or request", { text: entry.vm }),
        cell("Age", { class: "num", text: duration(entry.age_seconds) }),
        cell("Limit", { class: "num muted", text: duration(entry.max_age_seconds) }),
      ),
  );
  if (found) parts.summary.replaceChildren(...summaryOf(found, found.found, "would be purged now"));
}

function summaryOf(report, counts, did) {
  const some = Object.entries(counts).filter(([, count]) => count);
  return [
    el(
      "p",
      {},
      el("strong", { text: report.total ? plural(report.total, "entry", "entries") : "Nothing" }),
      ` ${did}. `,
      el(
        "span",
        { class: "muted" },
        `As of `,
        timeEl(Date.now() / 1000),
        `, in ${report.duration_seconds.toFixed(2)} s.`,
      ),
    ),
    el(
      "ul",
      { class: "expected" },
      some.map(([queue, count]) =>
        el("li", {}, el("strong", { text: number(count) }), ` ${queue}: ${WHAT[queue] ?? ""}`),
      ),
    ),
    ...report.errors.slice(0, 10).map((text) => el("p", { class: "notice warn" }, icon("degraded"), text)),
    report.error_count > 10
      ? el("p", { class: "muted", text: `and ${number(report.error_count - 10)} more errors` })
      : null,
  ].filter(Boolean);
}

function apply() {
  const dialog = openDialog("Purge");
  const { purge, purge_dry_run: dryRun } = state.features;
  const force = el("input", { type: "checkbox" });
  const why = whyField();
  const scope = [state.filter.queue && `queue ${state.filter.queue}`, state.filter.pool && `pool ${state.filter.pool}`];
  const confirm = button(
    state.plan.total ? `Purge ${number(state.plan.total)}` : "Purge",
    () =>
      during(confirm, dialog, async () => {
        const report = await post("purge", {
          dry_run: false,
          pools: only("pool"),
          queues: only("queue"),
          force: force.checked,
          why: why.input.value.trim() || null,
        });
        dialog.close();
        showResult(report);
        plan();
      }),
    { kind: "danger" },
  );
  dialog.body.append(
    el(
      "p",
      {},
      "Purge ",
      el("strong", { text: plural(state.plan.total, "entry", "entries") }),
      `: ${scope.filter(Boolean).join(", ") || "all queues of all pools"}?`,
    ),
    el(
      "ul",
      { class: "expected" },
      Object.entries(state.plan.found)
        .filter(([, count]) => count)
        .map(([queue, count]) =>
          el("li", {}, el("strong", { text: number(count) }), ` ${queue}: ${WHAT[queue] ?? ""}`),
        ),
    ),
    el("p", {
      class: "muted",
      text: "VMs in use are not touched. What has become too old since the plan was made is taken as well.",
    }),
    dryRun
      ? el("p", { class: "notice warn" }, icon("degraded"), "purge_dry_run is set: this will change nothing either.")
      : "",
    field(
      "Force",
      force,
      purge === false
        ? "Needed here: purge is switched off (purge_enabled: false). Also overrules purge_max_percent."
        : "Also take what purge_max_percent protects: a pool's queue of which too large a share is stale at once.",
    ),
    why.node,
  );
  dialog.foot.append(confirm, button("Cancel", dialog.close));
}

const only = (name) => (state.filter[name] ? [state.filter[name]] : []);

function showResult(report) {
  const words = report.skipped
    ? `Nothing done: ${report.skipped}.`
    : report.dry_run
      ? `${plural(report.total, "entry", "entries")} found; nothing was changed, since purge_dry_run is set.`
      : `${plural(report.total, "entry", "entries")} purged in ${report.duration_seconds.toFixed(2)} s.`;
  const isWell = !report.skipped && !report.error_count;
  parts.result.replaceChildren(
    el("p", { class: `notice ${isWell ? "ok" : "warn"}` }, icon(isWell ? "healthy" : "degraded"), words),
    ...report.errors.slice(0, 10).map((text) => el("p", { class: "notice warn" }, icon("degraded"), text)),
  );
  announce(words);
}
