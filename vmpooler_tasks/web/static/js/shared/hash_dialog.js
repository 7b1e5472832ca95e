/** A dialog that the address names. Going back closes it, and closing it goes back. */

import { currentPlace, goBack, goTo } from "./route.js";

/** @import { Dialog } from "./dialogs.js" */

export class HashDialog {
  /** @type {{id: string, dialog: Dialog | null} | null} */
  #shown = null;

  /**
   * @param {string} section
   * @param {string} filter the name of the filter that holds the id
   * @param {(id: string, onClose: () => void) => Dialog} open
   */
  constructor(section, filter, open) {
    this.section = section;
    this.filter = filter;
    this.open = open;
  }

  /**
   * Put the id into the address, which opens the dialog.
   *
   * @param {string} id
   * @param {Record<string, string | undefined>} others the filters that stay in the address
   */
  goTo(id, others) {
    goTo(this.section, { ...others, [this.filter]: id }, { state: { hasOpenedDialog: true } });
  }

  /**
   * Open the dialog of the id that the address names now, or close it.
   *
   * @param {string | undefined} id none closes it
   */
  show(id) {
    if (this.#shown?.id === id) return;
    const before = this.#shown;
    this.#shown = null;
    before?.dialog?.close();
    if (!id) return;
    /** @type {{id: string, dialog: Dialog | null}} */
    const shown = { id, dialog: null };
    this.#shown = shown;
    shown.dialog = this.open(id, () => this.#shown === shown && this.#onClosed(id));
  }

  close() {
    this.#shown?.dialog?.close();
  }

  /** @param {string} id */
  #onClosed(id) {
    this.#shown = null;
    const { filters } = currentPlace();
    if (filters[this.filter] !== id) return; // another section was opened meanwhile
    if (history.state?.hasOpenedDialog) goBack();
    else goTo(this.section, { ...filters, [this.filter]: "" }, { replace: true });
  }
}
