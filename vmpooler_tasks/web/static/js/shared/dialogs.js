/** Dialogs: Escape closes them, and the focus returns to where it was, or to the section's heading if that is gone. */

import { el, headingOf, icon } from "./dom.js";

let count = 0;

/**
 * Opens a dialog and answers `{node, body, foot, close, fail}`. `fail(error)` shows what went wrong in it.
 * `onClose` is called once, however it is closed.
 */
export function openDialog(title, { wide = false, onClose = () => {} } = {}) {
  count += 1;
  const id = `dialog-${count}`;
  const opener = document.activeElement;
  const home = opener ? headingOf(opener) : null;
  const body = el("div", { class: "dialog-body" });
  const trouble = el("div", { role: "alert" });
  const foot = el("div", { class: "dialog-foot" });
  const close = () => node.close();
  const node = el(
    "dialog",
    { "aria-labelledby": id, class: wide ? "wide" : null, on: { close: closed } },
    el(
      "header",
      { class: "dialog-head" },
      el("h2", { id, text: title, tabindex: "-1" }),
      el("button", { type: "button", class: "quiet", "aria-label": "Close", on: { click: close } }, icon("close")),
    ),
    body,
    trouble,
    foot,
  );
  // A click beside the dialog is on its backdrop, which counts as the dialog itself.
  node.addEventListener("click", (event) => event.target === node && close());
  document.body.append(node);
  node.showModal();
  node.querySelector("h2").focus();

  function closed() {
    node.remove();
    (opener?.isConnected ? opener : home?.isConnected ? home : document.querySelector("main"))?.focus();
    onClose();
  }

  function fail(error) {
    trouble.replaceChildren(el("p", { class: "notice bad" }, icon("unhealthy"), error.message));
  }

  return { node, body, foot, close, fail };
}

/** A button. `kind` is "primary", "danger", "quiet" or nothing. */
export function button(text, listener, { kind = null, ...attributes } = {}) {
  return el("button", { type: "button", class: kind, text, on: { click: listener }, ...attributes });
}

/** A labelled field; `hint` is read with it. */
export function field(label, input, hint = null) {
  count += 1;
  input.id = `field-${count}`;
  const said = hint && el("span", { class: "hint", id: `hint-${count}`, text: hint });
  if (said) input.setAttribute("aria-describedby", said.id);
  const words = el("label", { for: input.id, text: label });
  return input.type === "checkbox"
    ? el("div", { class: "field check" }, el("div", {}, input, words), said)
    : el("div", { class: "field" }, words, input, said);
}

/** The field that goes into the audit. */
export function whyField() {
  const input = el("input", { type: "text", maxlength: "500", autocomplete: "off" });
  return { input, node: field("Why", input, "For the audit. Your name is noted as well.") };
}

/** Runs `work` once, with the button off meanwhile; what fails is shown in the dialog. */
export async function during(pressed, dialog, work) {
  pressed.disabled = true;
  try {
    await work();
  } catch (error) {
    dialog.fail(error);
    if (pressed.isConnected) {
      pressed.disabled = false;
      pressed.focus();
    }
  }
}

/** Copies the text, and says so on the button for a moment. */
export function copyButton(text, label = "Copy") {
  const words = el("span", { text: label });
  const node = el("button", { type: "button", class: "quiet copy", on: { click: copy } }, icon("copy"), words);

  async function copy() {
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      done = "Select it and copy"; // no clipboard without HTTPS, or not allowed
    }
    words.textContent = done;
    setTimeout(() => {
      words.textContent = label;
    }, 2000);
  }
  return node;
}
