/** Tables. Roles are written out: on a phone the rows become cards, and keep their roles. */

import { el } from "./dom.js";

/** @typedef {{label: string, class?: string, isHidden?: boolean}} Column */

/**
 * Return a table and its body.
 *
 * @param {string} caption
 * @param {Column[]} columns
 * @param {{hasVisibleCaption?: boolean, className?: string}} [options]
 */
export function table(caption, columns, { hasVisibleCaption = false, className = "" } = {}) {
  const heads = columns.map((column) =>
    el(
      "th",
      { scope: "col", role: "columnheader", class: column.class },
      column.isHidden ? el("span", { class: "unseen", text: column.label }) : column.label,
    ),
  );
  const body = el("tbody", { role: "rowgroup" });
  const node = el(
    "table",
    { role: "table", class: className },
    el("caption", { class: hasVisibleCaption ? null : "unseen", text: caption }),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)),
    body,
  );
  return { node, body };
}

/** @param {...import("./dom.js").Children} cells */
export const row = (...cells) => el("tr", { role: "row" }, ...cells);

/**
 * Return the cell that names its row.
 *
 * @param {import("./dom.js").Options} options
 * @param {...import("./dom.js").Children} children
 */
export const rowHead = (options, ...children) => el("th", { scope: "row", role: "rowheader", ...options }, ...children);

/**
 * Return a cell.
 *
 * @param {string} label the name of its column; shown in the cards of a phone
 * @param {import("./dom.js").Options} [options]
 * @param {...import("./dom.js").Children} children
 */
export function cell(label, options = {}, ...children) {
  return el("td", { role: "cell", data: { label }, ...options }, ...children);
}
