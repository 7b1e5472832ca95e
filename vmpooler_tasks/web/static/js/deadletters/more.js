/** The end of the list: how many dead letters it shows, and the button for more. */

import { button } from "../shared/controls.js";
import { byId, el } from "../shared/dom.js";
import { number } from "../shared/format.js";

export const PAGE = 50;
/** Rows on the page at once. Older dead letters are shown in a new list that starts where this one ends. */
export const MAX_ROWS = 300;

export class More {
  /** @param {() => void} onMore */
  constructor(onMore) {
    this.onMore = onMore;
    this.node = el("div", { class: "more" });
  }

  /**
   * @param {number} shown
   * @param {number} total
   * @param {boolean} hasMore
   * @param {boolean} isNewestFirst only then older ones can be shown in a new list
   */
  show(shown, total, hasMore, isNewestFirst) {
    const isFull = shown >= MAX_ROWS && !isNewestFirst;
    const words = `${number(shown)} of ${number(total)} shown${isFull && hasMore ? ". Narrow the filter to see others." : ""}`;
    if (this.node.dataset.words === words && this.node.firstChild) return;
    this.node.dataset.words = words;
    const hadFocus = this.node.contains(document.activeElement);
    const press = button(shown >= MAX_ROWS ? "Show older dead letters" : `Show ${PAGE} more`, () => this.onMore());
    this.node.replaceChildren(
      ...(shown ? [el("span", { class: "muted", text: words })] : []),
      ...(hasMore && !isFull ? [press] : []),
    );
    if (hadFocus) (hasMore && !isFull ? press : byId("list-title")).focus();
  }
}
