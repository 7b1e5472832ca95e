/** Building and updating the page. All text goes in as text: what the server says is never taken for HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. In `options`: `text`, `on` ({event: listener}), `data` (dataset), else attributes; what is null or false
 * is left out, true is an attribute without a value.
 */
export function el(tag, options = {}, ...children) {
  return furnish(document.createElement(tag), options, children);
}

/** The same for SVG. */
export function svg(tag, options = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), options, children);
}

function furnish(node, { text, on = {}, data = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  Object.assign(node.dataset, data);
  if (text !== undefined && text !== null) node.textContent = text;
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** Only what differs is written, so that a selection of text and a screen reader's place survive. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/**
 * Makes the children of `parent` stand for `items`, in their order. Nodes of items that stay are kept, with their
 * focus; `update(node, item)` writes what changed. If the focused one goes, its neighbour gets the focus.
 */
export function reconcile(parent, items, keyOf, make, update = () => {}) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  const held = parent.contains(document.activeElement) ? document.activeElement : null;
  const place = held ? [...parent.children].findIndex((node) => node.contains(held)) : -1;
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const node = old.get(key) ?? make(item);
    node.dataset.key = key;
    old.delete(key);
    update(node, item);
    return node;
  });
  for (const node of old.values()) node.remove();
  wanted.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  if (held && document.activeElement !== held) refocus(parent, held, place);
}

function refocus(parent, held, place) {
  const near = parent.children[Math.min(place, parent.children.length - 1)];
  const target = held.isConnected ? held : (near?.querySelector("button, a[href], input") ?? headingOf(parent));
  target?.focus({ preventScroll: true });
}

/** The heading of the section that a node stands in: where the focus goes when its place is gone. */
export function headingOf(node) {
  const heading = node.closest("section, dialog")?.querySelector("h1, h2");
  heading?.setAttribute("tabindex", "-1");
  return heading;
}

const ICONS = {
  healthy: "M4 12.500l5 5L20 6.500",
  degraded: "M12 3.500L22 20.500H2zM12 10v5M12 17.800v.2",
  unhealthy: "M8 2.500h8l5.500 5.500v8L16 21.500H8L2.500 16V8zM8.500 8.500l7 7M15.500 8.500l-7 7",
  unknown: "M12 2.500a9.500 9.500 0 1 0 .01 0M9 9.500a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1-1.500 2.400M12 17.300v.2",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  close: "M5 5l14 14M19 5L5 19",
};

/** A small drawing beside a word; it says nothing that the word does not. */
export function icon(name) {
  return svg(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] ?? ICONS.unknown }),
  );
}

/** A table: its caption, and column heads `[{label, class, hidden}]`. Roles are said: cards on a phone keep them. */
export function table(caption, columns, { captionSeen = false, name = "" } = {}) {
  const heads = columns.map((column) =>
    el(
      "th",
      { scope: "col", role: "columnheader", class: column.class },
      column.hidden ? el("span", { class: "unseen", text: column.label }) : column.label,
    ),
  );
  const body = el("tbody", { role: "rowgroup" });
  const node = el(
    "table",
    { role: "table", class: name },
    el("caption", { class: captionSeen ? null : "unseen", text: caption }),
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)),
    body,
  );
  return { node, body };
}

/** A cell; `label` is its column's name, shown where the table has become cards. */
export function cell(label, options = {}, ...children) {
  return el("td", { role: "cell", data: { label }, ...options }, ...children);
}

export const row = (...cells) => el("tr", { role: "row" }, ...cells);
