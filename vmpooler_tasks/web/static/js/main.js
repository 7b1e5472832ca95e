/** The dashboard: who is logged in, which section is seen, and what the overview says every two seconds. */

import { announce } from "./shared/announce.js";
import { loadSession, session, whenLoggedOut } from "./shared/api.js";
import { enterAudit, updateAudit } from "./audit/section.js";
import * as connection from "./shared/connection.js";
import { byId, show } from "./shared/dom.js";
import { plural, serverTimeIs, startTicking } from "./shared/format.js";
import { enterLetters, leaveLetters, updateLetters } from "./deadletters/section.js";
import { askToLogIn, showWho } from "./session/login.js";
import { Poll } from "./shared/poll.js";
import { showPools } from "./pools/section.js";
import { enterPurge, updatePurge } from "./purge/section.js";
import { current, whenMoved } from "./shared/route.js";
import { showStatus } from "./health/section.js";
import { showLetterCount, showTiles } from "./fleet/tiles.js";
import { showTrends } from "./trends/section.js";

const HOME = ["status", "pools", "trends"];
const VIEWS = ["home", "letters", "purge", "audit"];
const RETRY_MS = 3000;

let shownAt = null; // when the overview that is shown was true
let before = null; // the overview before
let isIn = false;
let hasJustLoggedIn = false;

const poll = new Poll(take, (error, nextTryMs) => {
  if (error.status !== 401) connection.lost(error, shownAt, nextTryMs);
});

const viewOf = (section) => (HOME.includes(section) || !VIEWS.includes(section) ? "home" : section);

function take(overview) {
  connection.found();
  serverTimeIs(overview.at);
  shownAt = overview.at;
  const view = viewOf(current().section);
  showStatus(overview.health, overview.features.health);
  showLetterCount(overview.dlq);
  showTiles(overview);
  showPools(overview.pools);
  if (view === "home") showTrends(overview.health.last_check ?? "never");
  updateLetters(overview, view === "letters");
  updatePurge(overview);
  if (view === "audit") updateAudit();
  tellOfNew(overview, view);
  const isFirst = before === null;
  before = overview;
  if (isFirst) enter(current(), hasJustLoggedIn);
}

/** In the section of dead letters each new one is marked and told of there. */
function tellOfNew(overview, view) {
  const size = (one) => Object.values(one.dlq).reduce((sum, count) => sum + count, 0);
  const more = before ? size(overview) - size(before) : 0;
  if (more > 0 && view !== "letters") announce(`${plural(more, "new dead letter")}`, "arrived");
}

function enter({ section, filters }, isByUser) {
  if (!isIn) return;
  const view = viewOf(section);
  for (const name of VIEWS) show(byId(`view-${name}`), name === view);
  for (const one of document.querySelectorAll("nav a")) {
    if (one.dataset.section === (byId(`view-${section}`) ? section : "status"))
      one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  if (!before) return; // with the first overview the section is entered once more
  if (view === "letters") enterLetters(filters, before.revision);
  else leaveLetters();
  if (view === "purge") enterPurge(filters);
  if (view === "audit") enterAudit();
  if (view === "home") showTrends(before.health.last_check ?? "never");
  if (isByUser && view !== "letters") goTo(section);
  else if (isByUser && view !== lastView) goTo(section);
  lastView = view;
}

let lastView = null;

/** A screen reader begins to read where the link led to. */
function goTo(section) {
  const title = byId(`${section}-title`) ?? byId("status-title");
  title.focus({ preventScroll: true });
  if (section === "pools" || section === "trends") title.scrollIntoView();
  else scrollTo(0, 0);
}

/** Whoever has just logged in had the focus in the form: it goes on with the section. */
function begin(afterLogin) {
  hasJustLoggedIn = afterLogin;
  isIn = true;
  show(byId("bar"), true);
  showWho(leave);
  enter(current(), false);
  poll.start();
}

function leave(message = null) {
  isIn = false;
  poll.stop();
  connection.found();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  for (const name of VIEWS) show(byId(`view-${name}`), false);
  show(byId("bar"), false);
  document.title = "vmpooler-tasks";
  askToLogIn(() => location.reload(), typeof message === "string" ? message : null);
}

async function boot() {
  try {
    await loadSession();
  } catch (error) {
    connection.lost(error, null, RETRY_MS);
    setTimeout(boot, RETRY_MS);
    return;
  }
  connection.found();
  if (session.role) begin(false);
  else askToLogIn(() => begin(true));
}

whenLoggedOut(() => isIn && leave("The session has ended. Log in to go on."));
whenMoved((route) => enter(route, true));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its hash would be taken for a section
  byId("main").focus();
});
startTicking();
boot();
