/** A banner while the server, or Redis behind it, does not reply. The page is out of date then. */

import { showFoundInTab, showLostInTab } from "./health/tab.js";
import { ApiError } from "./shared/api.js";
import { byId, el, icon, messageOf } from "./shared/dom.js";
import { localTime, serverNow } from "./shared/format.js";
import { timeEl } from "./shared/times.js";

const bannerPlace = () => byId("connection");

/**
 * Show the banner.
 *
 * @param {unknown} error
 * @param {number | null} shownAt when the state on the page was true; null before the first overview
 * @param {number} nextAttemptMs
 */
export function showLost(error, shownAt, nextAttemptMs) {
  const problem =
    error instanceof ApiError && error.status === 0
      ? "No connection to the server."
      : `The server cannot read the state: ${messageOf(error).replace(/\.$/, "")}.`;
  const shown = shownAt ? `This page shows the state of ${localTime(shownAt)}.` : "There is nothing to show yet.";
  let banner = bannerPlace().firstElementChild;
  if (!(banner instanceof HTMLElement) || banner.dataset.problem !== problem) {
    banner = bannerOf(problem, shown);
    bannerPlace().replaceChildren(banner);
    document.body.classList.add("stale");
    showLostInTab();
  }
  banner.lastElementChild?.replaceWith(countdown(nextAttemptMs));
}

/** Remove the banner. */
export function showFound() {
  if (!bannerPlace().firstElementChild) return;
  bannerPlace().replaceChildren();
  document.body.classList.remove("stale");
  showFoundInTab();
}

/**
 * @param {string} problem
 * @param {string} shown
 */
function bannerOf(problem, shown) {
  return el(
    "p",
    { class: "notice bad banner", data: { problem } },
    icon("unhealthy"),
    el("strong", { text: problem }),
    " ",
    el("span", { text: shown }),
    " ",
    el("span"),
  );
}

/**
 * Screen readers skip the countdown: it changes every second.
 *
 * @param {number} ms
 */
const countdown = (ms) =>
  el("span", { "aria-hidden": "true" }, "Next attempt in ", timeEl(serverNow() + ms / 1000, "left"), ".");
