/** Dead letters grouped by their error: what fails most stands first, and narrows the list when chosen. */

import { button } from "../shared/dialogs.js";
import { el, reconcile, setText, show } from "../shared/dom.js";
import { number, plural, setTime, timeEl } from "../shared/format.js";

const FEW = 6;
const MOST = 200;

export class Groups {
  #all = false;
  #groups = [];
  #chosen = null;

  /** `onChoose(error)`; null takes the choice back. */
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.list = el("ul", { class: "groups" });
    this.more = button(
      "",
      () => {
        this.#all = !this.#all;
        this.#draw();
      },
      { kind: "quiet" },
    );
    this.node = el(
      "section",
      { class: "by-error", "aria-labelledby": "groups-title" },
      el("h2", { id: "groups-title", text: "By error" }),
      this.list,
      this.more,
    );
  }

  show(groups, chosen) {
    this.#groups = groups;
    this.#chosen = chosen ?? null;
    this.#draw();
  }

  #draw() {
    const shown = this.#groups.slice(0, this.#all ? MOST : FEW);
    const chosen = this.#groups.find((group) => group.error === this.#chosen);
    if (chosen && !shown.includes(chosen)) shown.push(chosen);
    const most = this.#groups[0]?.count ?? 1;
    reconcile(
      this.list,
      shown,
      (group) => group.error,
      (group) => this.#make(group),
      (node, group) => update(node, group, most, group.error === this.#chosen),
    );
    show(this.more, this.#groups.length > FEW);
    const hidden = this.#groups.length - MOST;
    setText(
      this.more,
      this.#all
        ? `Show fewer${hidden > 0 ? ` (${plural(hidden, "more group")} not shown)` : ""}`
        : `Show all ${number(this.#groups.length)} groups`,
    );
    show(this.node, this.#groups.length > 0);
  }

  #make(group) {
    const press = button("", () => this.onChoose(group.error === this.#chosen ? null : group.error), { kind: "group" });
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

function update(node, group, most, isChosen) {
  node.querySelector("button").setAttribute("aria-pressed", isChosen);
  setText(node.querySelector(".count"), number(group.count));
  node.querySelector(".share > span").style.inlineSize = `${(100 * group.count) / most}%`;
  setText(node.querySelector(".where"), [...group.queues, ...few(group.pools)].filter(Boolean).join(", "));
  setTime(node.querySelector("time"), group.newest, "age");
}

function few(pools) {
  return pools.length > 3 ? [`${pools.length} pools`] : pools;
}
