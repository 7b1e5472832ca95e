/** A banner while the server, or Redis behind it, does not answer: what is shown then is old. */

import { byId, el, icon } from "./dom.js";
import { localTime, serverNow, timeEl } from "./format.js";

const place = () => byId("connection");

export function lost(error, shownSince, nextTryMs) {
  const what =
    error.status === 0
      ? "No connection to the server."
      : `The server cannot tell: ${error.message.replace(/\.$/, "")}.`;
  const shown = shownSince ? `Shown: state of ${localTime(shownSince)}.` : "Nothing to show yet.";
  let banner = place().firstElementChild;
  if (banner?.dataset.what !== what) {
    banner = el(
      "p",
      { class: "notice bad banner", data: { what } },
      icon("unhealthy"),
      el("strong", { text: what }),
      " ",
      el("span", { text: shown }),
      " ",
      el("span"),
    );
    place().replaceChildren(banner);
    document.body.classList.add("stale");
  }
  // The countdown is not part of what is said aloud again and again.
  const count = el(
    "span",
    { "aria-hidden": "true" },
    "Tries again in ",
    timeEl(serverNow() + nextTryMs / 1000, "left"),
    ".",
  );
  banner.lastElementChild.replaceWith(count);
}

export function found() {
  if (!place().firstElementChild) return;
  place().replaceChildren();
  document.body.classList.remove("stale");
}
