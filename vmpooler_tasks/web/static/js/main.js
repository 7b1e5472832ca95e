/** The start of the page: the login, the sections, and the overview that all sections show. */

import { AuditSection } from "./audit/section.js";
import { showFound, showLost } from "./connection.js";
import { DeadLettersSection } from "./deadletters/section.js";
import { showFooter } from "./fleet/footer.js";
import { showCounts, showTiles, totalOf } from "./fleet/tiles.js";
import { WorkersSection } from "./fleet/workers.js";
import { showHealth } from "./health/section.js";
import { clearTab } from "./health/tab.js";
import { Poll } from "./poll.js";
import { PoolPage } from "./pools/page.js";
import { PoolsSection } from "./pools/section.js";
import { PurgeSection } from "./purge/section.js";
import { RequestsSection } from "./requests/section.js";
import { showLogin, showUser } from "./session/login.js";
import { announce } from "./shared/announce.js";
import { ApiError, loadSession, onLoggedOut, session } from "./shared/api.js";
import { byId, show } from "./shared/dom.js";
import { plural, setServerTime } from "./shared/format.js";
import { currentPlace, onMove } from "./shared/route.js";
import { startTicking } from "./shared/times.js";
import { TrendsSection } from "./trends/section.js";

/** @import { Place } from "./shared/route.js" */
/** @import { Overview } from "./shared/types.js" */

/** Sections by view: the view "home" shows several at once. */
const VIEWS = {
  home: ["status", "pools", "workers", "trends"],
  pool: ["pool"],
  requests: ["requests"],
  letters: ["letters"],
  purge: ["purge"],
  audit: ["audit"],
};
const FILTERED_VIEWS = new Set(["requests", "letters", "audit"]);
/** Sections behind the first one of their view. */
const SCROLLED_TO = new Set(["pools", "workers", "trends"]);
const RETRY_MS = 3000;

/** @typedef {keyof typeof VIEWS} View */

const viewNames = /** @type {View[]} */ (Object.keys(VIEWS));

/**
 * Return the view that shows a place. One pool has a view of its own.
 *
 * @param {Place} place
 * @returns {View}
 */
function viewOf({ section, name }) {
  if (section === "pools" && name) return "pool";
  return viewNames.find((view) => VIEWS[view].includes(section)) ?? "home";
}

/** Create the sections. They need the session: its role decides which buttons there are. */
const createSections = () => ({
  pools: new PoolsSection(),
  pool: new PoolPage(),
  workers: new WorkersSection(),
  trends: new TrendsSection(byId("trends-body")),
  requests: new RequestsSection(),
  deadLetters: new DeadLettersSection(),
  purge: new PurgeSection(),
  audit: new AuditSection(),
});

/** The page of somebody who is logged in. It is empty until the first overview. */
class Page {
  poll = new Poll(
    (overview) => this.#update(overview),
    (error, nextAttemptMs) => this.#showFailure(error, nextAttemptMs),
  );
  /** @type {Overview | null} */
  #overview = null;
  /** @type {ReturnType<typeof createSections> | null} */
  #sections = null;
  /** @type {View | null} */
  #view = null;

  /** @param {boolean} hasJustLoggedIn the focus was in the login form: it moves to the section */
  constructor(hasJustLoggedIn) {
    this.hasJustLoggedIn = hasJustLoggedIn;
    show(byId("bar"), true);
    showUser(() => logOutPage());
    this.enter(currentPlace(), false);
    this.poll.start();
  }

  /** @param {Overview} overview */
  #update(overview) {
    showFound();
    setServerTime(overview.at);
    const isFirst = this.#sections === null;
    const view = isFirst ? null : viewOf(currentPlace()); // what the first view shows is read when it is entered
    const { pools, pool, workers, trends, requests, deadLetters, purge, audit } = (this.#sections ??= createSections());
    showHealth(overview.health, overview.features.health);
    showCounts(overview);
    showFooter(overview);
    showTiles(overview);
    pools.update(overview.pools);
    pool.update(overview);
    workers.update(overview.workers);
    if (view === "home") trends.update(overview.health.last_check);
    requests.update(overview, view === "requests");
    deadLetters.update(overview, view === "letters");
    purge.update(overview, view === "purge");
    if (view === "audit") audit.update();
    if (view !== "letters") this.#announceNew(overview);
    this.#overview = overview;
    if (isFirst) this.#enterFirst();
  }

  /** Show the section of the address, which may be further down. */
  #enterFirst() {
    const place = currentPlace();
    this.enter(place, this.hasJustLoggedIn);
    if (viewOf(place) === "home" && SCROLLED_TO.has(place.section)) byId(`${place.section}-title`).scrollIntoView();
  }

  /**
   * Announce new dead letters. Their own section does that itself.
   *
   * @param {Overview} overview
   */
  #announceNew(overview) {
    const count = this.#overview ? totalOf(overview.dlq) - totalOf(this.#overview.dlq) : 0;
    if (count > 0) announce(plural(count, "new dead letter"), "arrived");
  }

  /**
   * @param {unknown} error
   * @param {number} nextAttemptMs
   */
  #showFailure(error, nextAttemptMs) {
    const isLoggedOut = error instanceof ApiError && error.status === 401;
    if (!isLoggedOut) showLost(error, this.#overview?.at ?? null, nextAttemptMs);
  }

  /**
   * Show the section of a place. Its content comes with the first overview.
   *
   * @param {Place} place
   * @param {boolean} movesFocus
   */
  enter(place, movesFocus) {
    const { section, name, filters } = place;
    const view = viewOf(place);
    markCurrent(view === "pool" || VIEWS[view].includes(section) ? section : "status");
    if (!this.#overview || !this.#sections) return; // nothing is shown that would move later
    for (const one of viewNames) show(byId(`view-${one}`), one === view);
    show(byId("footer"), true);
    const { pool, trends, requests, deadLetters, purge, audit } = this.#sections;
    if (view === "pool") pool.enter(name, this.#overview);
    else pool.leave();
    if (view === "requests") requests.enter(filters);
    else requests.leave();
    if (view === "letters") deadLetters.enter(filters, this.#overview.revision);
    else deadLetters.leave();
    if (view === "purge") purge.enter(filters);
    if (view === "audit") audit.enter(filters);
    if (view === "home") trends.update(this.#overview.health.last_check);
    // A changed filter of a list leaves the focus where it is.
    if (movesFocus && (!FILTERED_VIEWS.has(view) || view !== this.#view))
      focusSection(view === "pool" ? view : section);
    this.#view = view;
  }
}

/** @type {Page | null} */
let page = null;

/** @param {string} section */
function markCurrent(section) {
  for (const link of document.querySelectorAll("nav a")) {
    if (link instanceof HTMLElement && link.dataset.section === section) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/**
 * Move the focus to the heading of a section: a screen reader goes on from there.
 *
 * @param {string} section
 */
function focusSection(section) {
  const title = document.getElementById(`${section}-title`) ?? byId("status-title");
  title.focus({ preventScroll: true });
  if (SCROLLED_TO.has(section)) title.scrollIntoView();
  else scrollTo(0, 0);
}

/**
 * Show the login form instead of the page. After the login, the page is loaded again.
 *
 * @param {string} [message]
 */
function logOutPage(message) {
  page?.poll.stop();
  page = null;
  showFound();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  for (const name of viewNames) show(byId(`view-${name}`), false);
  for (const id of ["bar", "footer"]) show(byId(id), false);
  clearTab();
  showLogin(() => location.reload(), message);
}

async function start() {
  try {
    await loadSession();
  } catch (error) {
    showLost(error, null, RETRY_MS);
    setTimeout(start, RETRY_MS);
    return;
  }
  showFound();
  if (session.role) page = new Page(false);
  else showLogin(() => (page = new Page(true)));
}

onLoggedOut(() => page && logOutPage("The session has ended. Log in again."));
onMove((place) => page?.enter(place, true));
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // its hash would be read as a section
  byId("main").focus();
});
startTicking();
start();
