/**
 * Elements: create, find and update them. Text goes in as text: nothing that the server sends is read as HTML, and what
 * is not printable is escaped.
 */

import { visible } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";

/** The attributes that are read as text. All others are passed on as they are. */
const TEXT_ATTRIBUTES = ["title", "aria-label", "placeholder"];

/** @typedef {Node | string | null | undefined | false} Child */
/** @typedef {Child | Child[]} Children */

/**
 * `text` is the text content, `on` the listeners by event, `data` the dataset. All others are attributes: null and
 * false leave one out, true sets one without a value.
 *
 * @typedef {{
 *   text?: string | number | null,
 *   on?: Record<string, (event: any) => void>,
 *   data?: Record<string, string>,
 *   [attribute: string]: unknown,
 * }} Options
 */

/**
 * Return a new element.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Options} [options]
 * @param {...Children} children
 */
export function el(tag, options = {}, ...children) {
  return fill(document.createElement(tag), options, children);
}

/**
 * Return a new SVG element.
 *
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Options} [options]
 * @param {...Children} children
 */
export function svg(tag, options = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), options, children);
}

/**
 * @template {HTMLElement | SVGElement} Node
 * @param {Node} node
 * @param {Options} options
 * @param {Children[]} children
 */
function fill(node, { text: content, on = {}, data = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    const text = value === true ? "" : String(value);
    node.setAttribute(name, TEXT_ATTRIBUTES.includes(name) ? visible(text) : text);
  }
  for (const [event, listener] of Object.entries(on)) node.addEventListener(event, listener);
  Object.assign(node.dataset, data);
  if (content !== undefined && content !== null) node.textContent = visible(String(content));
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) {
      node.append(typeof child === "string" ? visible(child) : child);
    }
  }
  return node;
}

/**
 * Return the element with this id. Throw an error if there is none.
 *
 * @param {string} id
 */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`no element has the id ${id}`);
  return node;
}

/**
 * Return the first element within `node` that matches. Throw an error if there is none.
 *
 * @param {ParentNode} node
 * @param {string} selector
 */
export function part(node, selector) {
  const found = node.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`no element matches ${selector}`);
  return found;
}

/**
 * Return the first `<time>` within `node`.
 *
 * @param {ParentNode} node
 */
export function timeIn(node) {
  const found = node.querySelector("time");
  if (!found) throw new Error("no <time> here");
  return found;
}

/**
 * Write the text if it differs, so that selected text and the place of a screen reader survive.
 *
 * @param {Node} node
 * @param {string | number} text
 */
export function setText(node, text) {
  const shown = visible(String(text));
  if (node.textContent !== shown) node.textContent = shown;
}

/**
 * @param {HTMLElement} node
 * @param {boolean} isVisible
 */
export function show(node, isVisible) {
  if (node.hidden === isVisible) node.hidden = !isVisible;
}

/**
 * Return the heading of the section or dialog around `node`, and make it focusable. The focus goes there when the
 * focused element goes.
 *
 * @param {Element} node
 */
export function headingOf(node) {
  const heading = node.closest("section, dialog")?.querySelector("h1, h2") ?? null;
  heading?.setAttribute("tabindex", "-1");
  return heading;
}

/** @type {Record<string, string>} */
const ICONS = {
  healthy: "M4 12.500l5 5L20 6.500",
  degraded: "M12 3.500L22 20.500H2zM12 10v5M12 17.800v.2",
  unhealthy: "M8 2.500h8l5.500 5.500v8L16 21.500H8L2.500 16V8zM8.500 8.500l7 7M15.500 8.500l-7 7",
  unknown: "M12 2.500a9.500 9.500 0 1 0 .01 0M9 9.500a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1-1.500 2.400M12 17.300v.2",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  close: "M5 5l14 14M19 5L5 19",
};

/**
 * Return a small drawing. It stands beside a word and adds nothing to it: screen readers skip it.
 *
 * @param {string} name
 */
export function icon(name) {
  return svg(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] ?? ICONS.unknown }),
  );
}

const NOTICE_ICONS = { ok: "healthy", warn: "degraded", bad: "unhealthy" };

/**
 * Return a notice: a paragraph with an icon on a coloured ground.
 *
 * @param {"ok" | "warn" | "bad"} kind
 * @param {string} text
 */
export function notice(kind, text, options = {}) {
  return el("p", { class: `notice ${kind}`, ...options }, icon(NOTICE_ICONS[kind]), text);
}

/**
 * Show a notice in an element that has nothing else, for some seconds.
 *
 * @param {HTMLElement} place
 * @param {HTMLElement} node
 */
export function showBriefly(place, node, seconds = 10) {
  place.replaceChildren(node);
  setTimeout(() => node.remove(), seconds * 1000);
}

/**
 * Return the message of anything that was thrown.
 *
 * @param {unknown} error
 */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Return an address that the server sent if it is a page, and never if it is a script.
 *
 * @param {string} address
 */
export function safeUrl(address) {
  const url = new URL(address, location.href);
  return ["http:", "https:"].includes(url.protocol) ? url.href : "#status";
}
