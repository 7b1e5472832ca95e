/** The end of the page: the version, and links to other pages about the same installation. */

import { byId, el, safeUrl } from "../shared/dom.js";

/** @import { Overview } from "../shared/types.js" */

/** @param {Overview} overview */
export function showFooter({ version, flower }) {
  const footer = byId("footer");
  const key = `${version} ${flower}`;
  if (footer.dataset.key === key) return;
  footer.dataset.key = key;
  /** @type {[string, string][]} */
  const links = [
    ["Runbooks", "/runbooks"],
    ["Operator guide", "/operator-guide"],
    ["API document", "/openapi.json"],
    ["Metrics", "/metrics"],
  ];
  if (flower) links.push(["Flower", safeUrl(flower)]);
  footer.replaceChildren(
    el("span", { text: `vmpooler-tasks ${version}` }),
    ...links.map(([text, href]) =>
      el(
        "a",
        { href, target: "_blank", rel: "noopener noreferrer" },
        text,
        el("span", { class: "unseen", text: ", in a new window" }),
      ),
    ),
  );
}
