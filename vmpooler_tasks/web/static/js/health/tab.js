/** The browser's tab: its title and its icon show the health status. */

/** @typedef {"healthy" | "degraded" | "unhealthy" | "unknown"} TabStatus */

/** Each status has a shape and a colour of its own. @type {Record<TabStatus, string>} */
const SHAPES = {
  healthy: `<circle cx="16" cy="16" r="15" fill="#1c8049"/><path d="M9 16.500l5 5 9.500-11"/>`,
  degraded: `<path d="M16 2L31 29H1z" fill="#b86a00" stroke="none"/><path d="M16 12v8M16 24.500v.1"/>`,
  unhealthy: `<path d="M10 1h12l9 9v12l-9 9H10l-9-9V10z" fill="#c22a1e" stroke="none"/><path d="M10.500 10.500l11 11M21.500 10.500l-11 11"/>`,
  unknown: `<circle cx="16" cy="16" r="15" fill="#66707f"/><path d="M12 12.500a4 4 0 1 1 6 3.500c-1.500.8-2 1.600-2 3M16 24v.1"/>`,
};

/** @type {{status: TabStatus, words: string}} */
let shown = { status: "unknown", words: "" };
let isLost = false;

/**
 * Show the health status in the tab.
 *
 * @param {TabStatus} status
 * @param {string} words
 */
export function showInTab(status, words) {
  shown = { status, words };
  if (!isLost) write(status, words);
}

/** Show in the tab that there is no connection: the status on the page is an old one. */
export function showLostInTab() {
  isLost = true;
  write("unknown", "No connection");
}

/** Show the health status in the tab again. */
export function showFoundInTab() {
  if (!isLost) return;
  isLost = false;
  write(shown.status, shown.words);
}

/** Show in the tab that nobody is logged in. */
export function clearTab() {
  isLost = false;
  showInTab("unknown", "");
}

/**
 * @param {TabStatus} status
 * @param {string} words
 */
function write(status, words) {
  document.title = words ? `${words} · vmpooler-tasks` : "vmpooler-tasks";
  const link = document.querySelector("link[rel='icon']");
  if (!(link instanceof HTMLLinkElement) || link.dataset.status === status) return;
  link.dataset.status = status;
  link.href = iconOf(status);
}

/** @param {TabStatus} status */
const iconOf = (status) =>
  `data:image/svg+xml,${encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><g fill="none" stroke="#fff" stroke-width="3.500" stroke-linecap="round" stroke-linejoin="round">${SHAPES[status]}</g></svg>`,
  )}`;
