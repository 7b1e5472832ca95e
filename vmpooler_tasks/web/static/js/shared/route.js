/**
 * The place on the page is the hash of its address: `#letters?queue=clone&since=1h`, or `#pools/NAME` for one pool. A
 * colleague who opens the link sees the same. No element has such an id: the browser would scroll to it and move the
 * focus.
 */

/** @typedef {Record<string, string>} Filters */
/** @typedef {{section: string, name: string, filters: Filters}} Place `name` is "" for a section as a whole */

/** @type {Set<(place: Place) => void>} */
const listeners = new Set();

/** True from `goBack` until the browser is there. */
let isGoingBack = false;
/** @type {(() => void) | null} where to go then */
let goNext = null;

/** Return the present place. */
export const currentPlace = () => placeOf(location.hash);

/**
 * Return the place that a hash names.
 *
 * @param {string} hash
 * @returns {Place}
 */
export function placeOf(hash) {
  const [path, ...words] = hash.replace(/^#/, "").split("?");
  const [section, ...names] = path.split("/");
  return {
    section: section || "status",
    name: decoded(names.join("/")),
    filters: Object.fromEntries(new URLSearchParams(words.join("?"))),
  };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Return the hash of the page of one pool.
 *
 * @param {string} pool
 */
export const poolHash = (pool) => `#pools/${encodeURIComponent(pool)}`;

/**
 * Return the hash of a section. Empty filters are left out.
 *
 * @param {string} section
 * @param {Record<string, string | null | undefined>} [filters]
 */
export function hashOf(section, filters = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) if (value) words.append(name, value);
  return words.size ? `#${section}?${words}` : `#${section}`;
}

/**
 * Go to a section. With `replace`, the present place is dropped from the browser's history. While the browser goes back,
 * this waits: the address still names the old place, and going back would undo the move.
 *
 * @param {string} section
 * @param {Record<string, string | null | undefined>} [filters]
 * @param {{replace?: boolean, state?: unknown}} [options]
 */
export function goTo(section, filters = {}, { replace = false, state = null } = {}) {
  if (isGoingBack) {
    goNext = () => goTo(section, filters, { replace, state });
    return;
  }
  const target = hashOf(section, filters);
  if (target === location.hash) return;
  history[replace ? "replaceState" : "pushState"](state, "", target);
  notify();
}

/** Go back to the place before. The browser does this after the present script, and later if it is busy. */
export function goBack() {
  isGoingBack = true;
  history.back();
}

/**
 * Call `listener` after each change of the place: by a link, the address bar, or the buttons back and forward.
 *
 * @param {(place: Place) => void} listener
 */
export function onMove(listener) {
  if (listeners.size === 0) window.addEventListener("popstate", onPopState);
  listeners.add(listener);
}

function onPopState() {
  const next = goNext;
  isGoingBack = false;
  goNext = null;
  notify();
  next?.();
}

function notify() {
  for (const listener of listeners) listener(currentPlace());
}
