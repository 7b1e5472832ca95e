/** The buttons above the list: they redrive or delete the selected dead letters, or all of the filter. */

import { mayOperate } from "../shared/api.js";
import { button } from "../shared/controls.js";
import { byId, el } from "../shared/dom.js";
import { number, plural } from "../shared/format.js";
import { asSelection, inWords } from "./filter.js";

/** @import { Action } from "./detail.js" */
/** @import { Filter } from "./filter.js" */

/**
 * `redrive` and `remove` open a dialog, `clear` clears the selection.
 *
 * @typedef {{redrive: Action, remove: Action, clear: () => void}} ListActions
 */

/** @typedef {{selected: Set<string>, total: number, filter: Filter}} Choice */

export class ActionBar {
  /** @type {Choice} */
  #choice = { selected: new Set(), total: 0, filter: {} };

  /** @param {ListActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.node = el("div", { class: "actions" });
    if (!mayOperate()) {
      this.node.append(el("span", { class: "muted", text: "Your role is read: you cannot redrive or delete." }));
    }
  }

  /** @param {Choice} choice */
  show(choice) {
    this.#choice = choice;
    if (!mayOperate()) return;
    const { selected, total } = choice;
    const key = selected.size ? `selected ${selected.size}` : `all ${total}`;
    if (this.node.dataset.key === key) return;
    this.node.dataset.key = key;
    const hadFocus = this.node.contains(document.activeElement);
    this.node.replaceChildren(...(selected.size ? this.#forSelected(selected.size) : this.#forAll(total)));
    if (hadFocus) (this.node.querySelector("button") ?? byId("letters-title")).focus();
  }

  /** @param {number} count */
  #forSelected(count) {
    const words = plural(count, "selected dead letter");
    const selection = () => ({ ids: [...this.#choice.selected] });
    return [
      el("strong", { text: `${number(count)} selected` }),
      button("Redrive …", () => this.actions.redrive(selection(), words), { kind: "primary" }),
      button("Delete …", () => this.actions.remove(selection(), words), { kind: "danger" }),
      button("Clear selection", () => this.actions.clear(), { kind: "quiet" }),
    ];
  }

  /** @param {number} total */
  #forAll(total) {
    if (!total) return [];
    /** @param {Action} action */
    const run = (action) => action(asSelection(this.#choice.filter), inWords(this.#choice.filter));
    return [
      button(`Redrive all ${number(total)} …`, () => run(this.actions.redrive)),
      button(`Delete all ${number(total)} …`, () => run(this.actions.remove), { kind: "danger" }),
    ];
  }
}
