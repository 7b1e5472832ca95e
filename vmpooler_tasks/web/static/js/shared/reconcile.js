/** Lists on the page whose elements stay while items come, go and change. */

import { stepsBetween, uniqueKeys } from "./diff.js";
import { headingOf } from "./dom.js";

/**
 * Make the children of `parent` stand for `items`, in their order. Elements of items that stay are kept. If the element
 * with the focus goes, its neighbour gets the focus.
 *
 * @template Item
 * @template {HTMLElement} Node
 * @param {HTMLElement} parent nothing else may add children to it
 * @param {Item[]} items
 * @param {(item: Item) => unknown} keyOf names an item; equal keys get numbers
 * @param {(item: Item) => Node} create
 * @param {(node: Node, item: Item) => void} [update] writes what changed; also called for a new element
 */
export function reconcile(parent, items, keyOf, create, update = () => {}) {
  const children = /** @type {Node[]} */ ([...parent.children]);
  const nodes = new Map(children.map((node) => [node.dataset.key ?? "", node]));
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const place = children.findIndex((node) => node.contains(focused));
  const keys = uniqueKeys(items.map((item) => String(keyOf(item))));
  const { removals, insertions } = stepsBetween([...nodes.keys()], keys);
  for (const key of removals) nodes.get(key)?.remove();
  for (const [index, key] of keys.entries()) {
    const node = nodes.get(key) ?? create(items[index]);
    node.dataset.key = key;
    nodes.set(key, node);
    update(node, items[index]);
  }
  for (const { key, index } of insertions) {
    const node = nodes.get(key);
    if (node) parent.insertBefore(node, parent.children[index] ?? null);
  }
  if (focused && document.activeElement !== focused) restoreFocus(parent, focused, place);
}

/**
 * @param {HTMLElement} parent
 * @param {Element} focused
 * @param {number} place
 */
function restoreFocus(parent, focused, place) {
  const neighbour = parent.children[Math.min(place, parent.children.length - 1)];
  const target = focused.isConnected
    ? focused
    : (neighbour?.querySelector("button, a[href], input") ?? headingOf(parent));
  if (target instanceof HTMLElement) target.focus({ preventScroll: true });
}
