/** Buttons and fields. */

import { el, icon } from "./dom.js";
import { reconcile } from "./reconcile.js";

const COPIED_MS = 2000;
let fieldCount = 0;

/**
 * Return a button.
 *
 * @param {string} text
 * @param {(event: MouseEvent) => void} onClick
 * @param {{kind?: "primary" | "danger" | "quiet" | "group", [attribute: string]: unknown}} [options]
 */
export function button(text, onClick, { kind, ...attributes } = {}) {
  return el("button", { type: "button", class: kind, text, on: { click: onClick }, ...attributes });
}

/**
 * Return a labelled field. Screen readers read the hint with it.
 *
 * @param {string} label
 * @param {HTMLInputElement} input
 * @param {string | null} [hint]
 */
export function field(label, input, hint = null) {
  fieldCount += 1;
  input.id = `field-${fieldCount}`;
  const hintEl = hint && el("span", { class: "hint", id: `hint-${fieldCount}`, text: hint });
  if (hintEl) input.setAttribute("aria-describedby", hintEl.id);
  const labelEl = el("label", { for: input.id, text: label });
  return input.type === "checkbox"
    ? el("div", { class: "field check" }, el("div", {}, input, labelEl), hintEl)
    : el("div", { class: "field" }, labelEl, input, hintEl);
}

/** Return the field for the reason that the audit keeps. */
export function whyField() {
  const input = el("input", { type: "text", maxlength: "500", autocomplete: "off" });
  return { input, node: field("Why", input, "Kept in the audit, with your name.") };
}

/**
 * Return a control with its label before it, for a row of controls.
 *
 * @param {string} label
 * @param {HTMLElement} input has an id
 * @param {{grows?: boolean}} [options]
 * @param {...import("./dom.js").Children} more
 */
export function inline(label, input, { grows = false } = {}, ...more) {
  return el(
    "div",
    { class: grows ? "inline grow" : "inline" },
    el("label", { for: input.id, text: label }),
    input,
    ...more,
  );
}

/**
 * Return an option of a select.
 *
 * @param {string} value
 * @param {string} [text]
 */
export const option = (value, text = value) => el("option", { value, text });

/**
 * Add names to the options of a select, in order, behind the option for all. The choice stays.
 *
 * @param {HTMLSelectElement} select
 * @param {(string | undefined)[]} names
 */
export function offerNames(select, names) {
  const known = [...select.options].map((one) => one.value);
  const all = [...new Set(["", ...known, ...names.map((name) => name ?? "")])].sort();
  if (all.length > known.length) reconcile(select, all, String, (name) => option(name, name || "all"));
}

/**
 * Return a button that copies the text, and shows for a moment that it did.
 *
 * @param {string} text
 */
export function copyButton(text, label = "Copy") {
  const words = el("span", { text: label });
  const node = button("", copy, { class: "quiet copy" });
  node.append(icon("copy"), words);

  async function copy() {
    words.textContent = await copied(text);
    setTimeout(() => {
      words.textContent = label;
    }, COPIED_MS);
  }
  return node;
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    return "Select the text and copy it"; // without HTTPS, or without permission, there is no clipboard
  }
}
