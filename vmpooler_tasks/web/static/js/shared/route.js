/**
 * The place in the page is its hash: `#letters?queue=clone&since=1h`. A colleague who gets the link sees the same.
 * No element has such an id: the browser would scroll there by itself and take the focus away.
 */

const listeners = new Set();

/** `{section, filters}` of the present hash. */
export function current() {
  const [section, words = ""] = location.hash.slice(1).split("?", 2);
  return { section: section || "status", filters: Object.fromEntries(new URLSearchParams(words)) };
}

export function link(section, filters = {}) {
  const set = Object.entries(filters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return set.length ? `#${section}?${new URLSearchParams(set)}` : `#${section}`;
}

/** Goes there; with `replace` the way back does not lead to where we are now. */
export function go(section, filters = {}, { replace = false, state = null } = {}) {
  const target = link(section, filters);
  if (target === location.hash) return;
  history[replace ? "replaceState" : "pushState"](state, "", target);
  tell();
}

export const whenMoved = (listener) => listeners.add(listener);

function tell() {
  listeners.forEach((listener) => listener(current()));
}

// For links, the address bar, and the way back and forth: a hash that changed is told of by this as well.
window.addEventListener("popstate", tell);
