/** The HTTP API. Every failed request is an ApiError. */

/** @import { Session } from "./types.js" */

const TIMEOUT_MS = 20_000;

/** A request that failed. Its status is 0 if the server did not reply. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {number | null} [retryAfterSeconds]
   */
  constructor(status, message, retryAfterSeconds = null) {
    super(message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** @type {Session} */
export const session = { login_required: true, user: null, role: null, csrf_token: null };

/** Return true if this user may redrive, delete and purge. Others see no buttons for it. */
export const mayOperate = () => session.role === "operate";

/** @type {Set<() => void>} */
const logoutListeners = new Set();

/**
 * Call `listener` when the server no longer knows the session.
 *
 * @param {() => void} listener
 */
export const onLoggedOut = (listener) => logoutListeners.add(listener);

export async function loadSession() {
  Object.assign(session, await request("GET", "/session"));
}

/**
 * @param {string} user
 * @param {string} password
 */
export async function logIn(user, password) {
  Object.assign(session, await request("POST", "/session", { body: { user, password } }));
}

export async function logOut() {
  await request("DELETE", "/session");
  Object.assign(session, { user: null, role: null, csrf_token: null });
}

/**
 * Return an id of a dead letter for a path. Browsers change a path with `/` or `..` in it, so that any id but a usual
 * one is written in hexadecimal digits.
 *
 * @param {string} id
 */
export function pathOfId(id) {
  if (/^[0-9a-f]{16}$/.test(id)) return id;
  const digits = Array.from(new TextEncoder().encode(id), (byte) => byte.toString(16).padStart(2, "0"));
  return `~${digits.join("")}`;
}

/**
 * The parameters of a query. A list becomes several parameters of one name; empty values are left out.
 *
 * @typedef {Record<string, unknown>} Parameters
 */

/**
 * Read from the API.
 *
 * @param {string} path
 * @param {Parameters} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export const get = (path, parameters = {}, signal = undefined) =>
  request("GET", `/queue/${path}`, { parameters, signal });

/**
 * Change something through the API.
 *
 * @param {string} path
 * @param {Record<string, unknown>} body
 * @returns {Promise<any>}
 */
export const post = (path, body) => request("POST", `/queue/${path}`, { body });

/**
 * Delete something through the API.
 *
 * @param {string} path
 * @param {Parameters} [parameters]
 * @returns {Promise<any>}
 */
export const remove = (path, parameters = {}) => request("DELETE", `/queue/${path}`, { parameters });

/**
 * @param {string} method
 * @param {string} path
 * @param {{parameters?: Parameters, body?: Record<string, unknown>, signal?: AbortSignal}} [options]
 */
async function request(method, path, { parameters = {}, body, signal } = {}) {
  const url = `/api/v1${path}${queryOf(parameters)}`;
  let response = await send(method, url, body, signal);
  if (response.status === 403 && method !== "GET" && (await renewToken())) {
    response = await send(method, url, body, signal);
  }
  const data = await readJson(response);
  if (response.ok) return data;
  if (response.status === 401 && path !== "/session") for (const listener of logoutListeners) listener();
  throw new ApiError(
    response.status,
    data?.detail || data?.title || `the server returned status ${response.status}`,
    Number(response.headers.get("Retry-After")) || null,
  );
}

/** Read the session again. Return true if its CSRF token is a new one: after a login in another tab, or a restart. */
async function renewToken() {
  const before = session.csrf_token;
  await loadSession();
  return session.csrf_token !== before;
}

/**
 * @param {string} method
 * @param {string} url
 * @param {Record<string, unknown> | undefined} body
 * @param {AbortSignal | undefined} signal
 */
async function send(method, url, body, signal) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && session.csrf_token) headers["X-CSRF-Token"] = session.csrf_token;
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "the server does not reply");
  }
}

/** @param {Response} response */
async function readJson(response) {
  try {
    return response.status === 204 ? null : await response.json();
  } catch {
    return null;
  }
}

/**
 * Return the parameters as the query of an address, with its question mark.
 *
 * @param {Parameters} parameters
 */
export function queryOf(parameters) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") words.append(name, String(one));
    }
  }
  return words.size ? `?${words}` : "";
}
