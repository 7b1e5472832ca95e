/** Dialogs. Escape closes them. The focus returns to where it was, or to the section's heading if that is gone. */

import { ApiError } from "./api.js";
import { button } from "./controls.js";
import { el, headingOf, icon, messageOf, notice } from "./dom.js";

let dialogCount = 0;

/**
 * An open dialog. `fail` shows an error in it.
 *
 * @typedef {{body: HTMLElement, foot: HTMLElement, close: () => void, fail: (error: unknown) => void}} Dialog
 */

/**
 * Open a dialog.
 *
 * @param {string} title
 * @param {{isWide?: boolean, onClose?: () => void}} [options] `onClose` is called once, however the dialog is closed
 * @returns {Dialog}
 */
export function openDialog(title, { isWide = false, onClose = () => {} } = {}) {
  dialogCount += 1;
  const id = `dialog-${dialogCount}`;
  const focusBack = rememberFocus();
  const heading = el("h2", { id, text: title, tabindex: "-1" });
  const body = el("div", { class: "dialog-body" });
  const errors = el("div", { role: "alert" });
  const foot = el("div", { class: "dialog-foot" });
  const cross = button("", close, { kind: "quiet", "aria-label": "Close" });
  cross.append(icon("close"));
  const node = el(
    "dialog",
    { "aria-labelledby": id, class: isWide ? "wide" : null, on: { close: onClosed } },
    el("header", { class: "dialog-head" }, heading, cross),
    body,
    errors,
    foot,
  );
  // A click beside the dialog is on its backdrop, which counts as the dialog itself.
  node.addEventListener("click", (event) => event.target === node && close());
  document.body.append(node);
  node.showModal();
  heading.focus();

  function close() {
    node.close();
  }

  function onClosed() {
    node.remove();
    focusBack();
    onClose();
  }

  return { body, foot, close, fail: (error) => errors.replaceChildren(notice("bad", messageOf(error))) };
}

/** Return a function that puts the focus back to where it is now, or near it. */
function rememberFocus() {
  const opener = document.activeElement;
  const heading = opener && headingOf(opener);
  return () => {
    const target = [opener, heading].find((node) => node?.isConnected) ?? document.querySelector("main");
    if (target instanceof HTMLElement) target.focus();
  };
}

/**
 * Do the work, with the button disabled meanwhile. Show an error in the dialog.
 *
 * @param {HTMLButtonElement} pressed
 * @param {Dialog} dialog
 * @param {() => Promise<void>} work
 */
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

/**
 * Fill the dialog with what is read, or show the error.
 *
 * @template Data
 * @param {Dialog} dialog
 * @param {string} waiting shown meanwhile
 * @param {() => Promise<Data>} read
 * @param {(data: Data) => void} fill
 * @param {string} [gone] the words if the server has it no longer
 */
export async function fillWith(dialog, waiting, read, fill, gone) {
  dialog.body.append(el("p", { class: "muted", text: waiting }));
  try {
    const data = await read();
    dialog.body.replaceChildren();
    fill(data);
  } catch (error) {
    dialog.body.replaceChildren();
    dialog.fail(error instanceof ApiError && error.status === 404 ? (gone ?? error) : error);
  }
}
