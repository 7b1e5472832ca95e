/** The HTTP API. What fails is an ApiError; `status` 0 means that the server did not answer. */

const TIMEOUT_MS = 20_000;

export class ApiError extends Error {
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** Who is logged in. Whoever may only read sees no buttons that change anything. */
export const session = { login_required: true, user: null, role: null, csrf_token: null };

export const mayOperate = () => session.role === "operate";

const onLoggedOut = new Set();

/** Calls `listener` when the server does not know the session (any more). */
export const whenLoggedOut = (listener) => onLoggedOut.add(listener);

export async function loadSession() {
  Object.assign(session, await request("GET", "/session"));
  return session;
}

export async function logIn(user, password) {
  Object.assign(session, await request("POST", "/session", { body: { user, password } }));
}

export async function logOut() {
  await request("DELETE", "/session");
  Object.assign(session, { user: null, role: null, csrf_token: null });
}

/** `parameters`: a list is repeated; what is null or empty is left out. */
export const get = (path, parameters = {}, signal = undefined) =>
  request("GET", `/queue/${path}`, { parameters, signal });

export const post = (path, body) => request("POST", `/queue/${path}`, { body });

export const remove = (path, parameters = {}) => request("DELETE", `/queue/${path}`, { parameters });

async function request(method, path, { parameters = {}, body, signal } = {}) {
  const url = `/api/v1${path}${query(parameters)}`;
  let response = await send(method, url, body, signal);
  if (response.status === 403 && method !== "GET" && (await hasNewToken())) {
    response = await send(method, url, body, signal);
  }
  const data = await readJson(response);
  if (response.ok) return data;
  if (response.status === 401 && path !== "/session") onLoggedOut.forEach((listener) => listener());
  throw new ApiError(
    response.status,
    data?.detail || data?.title || `the server answers ${response.status}`,
    Number(response.headers.get("Retry-After")) || null,
  );
}

/** Whether there is another CSRF token now: somebody logged in anew in another tab, or the server was restarted. */
async function hasNewToken() {
  const before = session.csrf_token;
  await loadSession();
  return session.csrf_token !== before;
}

async function send(method, url, body, signal) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && session.csrf_token) headers["X-CSRF-Token"] = session.csrf_token;
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  try {
    return await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "the server does not answer");
  }
}

async function readJson(response) {
  try {
    return response.status === 204 ? null : await response.json();
  } catch {
    return null;
  }
}

function query(parameters) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") words.append(name, one);
    }
  }
  return words.size ? `?${words}` : "";
}
