/** Dead letters grouped by error, the most frequent first. A chosen group narrows the list. */

import { button } from "../shared/controls.js";
import { el, part, setText, show, timeIn } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";
import { reconcile } from "../shared/reconcile.js";
import { setTime, timeEl } from "../shared/times.js";

/** @import { ErrorGroup } from "../shared/types.js" */

const FIRST_GROUPS = 6;
const MAX_GROUPS = 200;
const MAX_POOLS = 3;

export class Groups {
  #showsAll = false;
  /** @type {ErrorGroup[]} */
  #groups = [];
  /** @type {string | null} */
  #chosen = null;

  /** @param {(error: string | null) => void} onChoose null removes the choice */
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.list = el("ul", { class: "groups" });
    this.more = button("", () => this.#toggleAll(), { kind: "quiet" });
    this.node = el(
      "section",
      { class: "by-error", "aria-labelledby": "groups-title" },
      el("h2", { id: "groups-title", text: "By error" }),
      this.list,
      this.more,
    );
  }

  /**
   * @param {ErrorGroup[]} groups
   * @param {string | undefined} chosen
   */
  show(groups, chosen) {
    this.#groups = groups;
    this.#chosen = chosen ?? null;
    this.#draw();
  }

  #toggleAll() {
    this.#showsAll = !this.#showsAll;
    this.#draw();
  }

  #draw() {
    const shown = this.#groups.slice(0, this.#showsAll ? MAX_GROUPS : FIRST_GROUPS);
    const chosen = this.#groups.find((group) => group.error === this.#chosen);
    if (chosen && !shown.includes(chosen)) shown.push(chosen);
    const maxCount = this.#groups[0]?.count ?? 1;
    reconcile(
      this.list,
      shown,
      (group) => group.error,
      (group) => this.#create(group),
      (node, group) => update(node, group, maxCount, group.error === this.#chosen),
    );
    show(this.more, this.#groups.length > FIRST_GROUPS);
    setText(this.more, this.#moreText());
    show(this.node, this.#groups.length > 0);
  }

  #moreText() {
    if (!this.#showsAll) return `Show all ${number(this.#groups.length)} groups`;
    const hidden = this.#groups.length - MAX_GROUPS;
    return `Show fewer${hidden > 0 ? ` (${plural(hidden, "more group")} not shown)` : ""}`;
  }

  /** @param {ErrorGroup} group */
  #create(group) {
    const choose = () => this.onChoose(group.error === this.#chosen ? null : group.error);
    const press = button("", choose, { kind: "group" });
    press.append(
      el("span", { class: "count" }),
      el("span", { class: "share", "aria-hidden": "true" }, el("span")),
      el(
        "span",
        { class: "error" },
        el("strong", { text: group.error_class ?? "" }),
        ` ${group.message ?? group.error}`,
      ),
      el("span", { class: "where muted" }),
      el("span", { class: "when muted" }, "newest ", timeEl(null, "age")),
    );
    return el("li", {}, press);
  }
}

/**
 * @param {HTMLElement} node
 * @param {ErrorGroup} group
 * @param {number} maxCount
 * @param {boolean} isChosen
 */
function update(node, group, maxCount, isChosen) {
  part(node, "button").setAttribute("aria-pressed", String(isChosen));
  setText(part(node, ".count"), number(group.count));
  part(node, ".share > span").style.inlineSize = `${(100 * group.count) / maxCount}%`;
  const places = [...group.queues, ...poolTexts(group.pools)];
  setText(part(node, ".where"), places.filter(Boolean).join(", "));
  setTime(timeIn(node), group.newest, "age");
}

/** @param {string[]} pools */
const poolTexts = (pools) => (pools.length > MAX_POOLS ? [`${pools.length} pools`] : pools);
