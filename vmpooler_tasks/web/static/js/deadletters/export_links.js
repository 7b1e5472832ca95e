/** The links that export the dead letters of the present filter. The browser saves the file while it arrives. */

import { queryOf } from "../shared/api.js";
import { el } from "../shared/dom.js";
import { asQuery } from "./filter.js";

/** @import { Filter } from "./filter.js" */

/** @type {[string, string][]} */
const FORMATS = [
  ["jsonl", "JSON lines"],
  ["csv", "CSV"],
];

export class ExportLinks {
  constructor() {
    this.links = FORMATS.map(([format, text]) => ({
      format,
      node: el("a", { text, "aria-label": `Export as ${text}`, download: "" }),
    }));
    const [lines, table] = this.links;
    this.node = el(
      "p",
      { class: "export" },
      el("span", { class: "muted", text: "Export: " }),
      lines.node,
      ", ",
      table.node,
    );
  }

  /** @param {Filter} filter */
  show(filter) {
    for (const { format, node } of this.links) {
      node.href = `/api/v1/queue/dlq/export${queryOf({ ...asQuery(filter), format })}`;
    }
  }
}
