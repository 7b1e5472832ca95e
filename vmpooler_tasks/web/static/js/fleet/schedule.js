/** The schedule of beat: the last and the next run of each entry, and the button that runs one now. */

import { announce } from "../shared/announce.js";
import { get, mayOperate, post } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { el, messageOf, notice, setText, show, showBriefly } from "../shared/dom.js";
import { duration, serverNow } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { cell, row, table } from "../shared/table.js";
import { setTime, timeEl } from "../shared/times.js";

/** @import { ScheduleEntry } from "../shared/types.js" */

const INTERVAL_MS = 5000;
/** A beat may send an entry so many seconds late without being late. */
const TOLERANCE_SECONDS = 10;

/** @type {Record<string, string>} */
const NAMES = { purge: "Purge", health: "Health check", pools: "Inspection of pools", requests: "On-demand requests" };

const COLUMNS = [{ label: "What" }, { label: "Every" }, { label: "Last run" }, { label: "Next run" }];

export class Schedule {
  #loadedAtMs = 0;

  constructor() {
    const columns = mayOperate() ? [...COLUMNS, { label: "Run", isHidden: true }] : COLUMNS;
    const made = table("Schedule", columns, { className: "cards compact schedule" });
    this.body = made.body;
    this.errors = el("div", { role: "alert" });
    this.result = el("div", { role: "status" });
    this.node = el(
      "section",
      { class: "list", "aria-labelledby": "schedule-title" },
      el("h2", { id: "schedule-title", tabindex: "-1", text: "Schedule" }),
      this.errors,
      this.result,
      made.node,
    );
  }

  /** Read the schedule again from time to time. */
  update() {
    if (Date.now() - this.#loadedAtMs > INTERVAL_MS) this.load();
  }

  async load() {
    this.#loadedAtMs = Date.now();
    try {
      /** @type {{entries: ScheduleEntry[]}} */
      const { entries } = await get("schedule");
      reconcile(
        this.body,
        entries,
        (entry) => entry.name,
        (entry) => this.#create(entry),
        update,
      );
      this.errors.replaceChildren();
    } catch (error) {
      this.errors.replaceChildren(notice("bad", `The schedule cannot be read: ${messageOf(error)}`));
    }
  }

  /** @param {ScheduleEntry} entry */
  #create(entry) {
    const name = NAMES[entry.name] ?? entry.name;
    const press = button("Run now", () => this.#run(entry.name, name, press), { "aria-label": `Run now: ${name}` });
    return row(
      cell("What", { text: name, title: entry.task }),
      cell("Every", { text: duration(entry.interval_seconds) }),
      cell("Last run", { class: "last" }, timeEl(entry.last_run, "age")),
      cell("Next run", { class: "next" }, timeEl(entry.next_run, "age"), el("span", { class: "off" })),
      mayOperate() && cell("Run", { class: "act" }, press),
    );
  }

  /**
   * @param {string} entry
   * @param {string} name
   * @param {HTMLButtonElement} press
   */
  async #run(entry, name, press) {
    press.disabled = true;
    try {
      await post(`schedule/${encodeURIComponent(entry)}/run`, {});
      const text = `${name}: sent to the workers.`;
      showBriefly(this.result, notice("ok", text));
      announce(text);
    } catch (error) {
      this.result.replaceChildren(notice("bad", messageOf(error)));
    } finally {
      press.disabled = false;
      press.focus();
    }
  }
}

/**
 * @param {HTMLTableRowElement} node
 * @param {ScheduleEntry} entry
 */
function update(node, entry) {
  const [last, next] = node.querySelectorAll("time");
  setTime(last, entry.last_run, "age");
  setTime(next, entry.next_run, "age");
  show(next, entry.enabled && entry.last_run !== null);
  const words = node.querySelector(".off");
  if (words) setText(words, wordsOf(entry));
  const press = node.querySelector("button");
  if (press) show(press, entry.enabled);
}

/** @param {ScheduleEntry} entry */
function wordsOf({ enabled, switch: option, last_run: last, next_run: next }) {
  if (!enabled) return `off (${option}: false)`;
  if (last === null) return "as soon as beat runs";
  return next !== null && next < serverNow() - TOLERANCE_SECONDS ? ": overdue. Is beat running?" : "";
}
