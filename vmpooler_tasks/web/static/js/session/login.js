/** The login form, and the user in the bar. */

import { ApiError, logIn, logOut, session } from "../shared/api.js";
import { button, field } from "../shared/controls.js";
import { byId, el, messageOf, notice, show } from "../shared/dom.js";

/**
 * Show the login form.
 *
 * @param {() => void} onLoggedIn
 * @param {string} [message] why it is shown
 */
export function showLogin(onLoggedIn, message = "Dead letters, purge and health of VMPooler's queues") {
  const user = el("input", { type: "text", name: "user", autocomplete: "username", required: true });
  const password = el("input", {
    type: "password",
    name: "password",
    autocomplete: "current-password",
    required: true,
  });
  const submit = el("button", { type: "submit", class: "primary", text: "Log in" });
  const errors = el("div", { role: "alert" });
  byId("view-login").replaceChildren(
    el("h1", { id: "login-title", text: "vmpooler-tasks" }),
    el("p", { class: "muted", text: message }),
    el("form", { on: { submit: send } }, field("User", user), field("Password", password), errors, submit),
  );
  show(byId("view-login"), true);
  user.focus();

  /** @param {SubmitEvent} event */
  async function send(event) {
    event.preventDefault();
    submit.disabled = true;
    try {
      await logIn(user.value, password.value);
      show(byId("view-login"), false);
      byId("view-login").replaceChildren();
      onLoggedIn();
    } catch (error) {
      errors.replaceChildren(notice("bad", explain(error)));
      password.value = "";
      password.focus();
    } finally {
      submit.disabled = false;
    }
  }
}

/** @param {unknown} error */
function explain(error) {
  if (!(error instanceof ApiError)) return messageOf(error);
  if (error.status === 401) return "The user or the password is wrong.";
  if (error.status === 429) return `Too many attempts. Try again in ${error.retryAfterSeconds ?? 60} s.`;
  return error.message;
}

/**
 * Show the user, the role and the logout button in the bar.
 *
 * @param {() => void} onLoggedOut
 */
export function showUser(onLoggedOut) {
  const title = session.role === "operate" ? "may read, redrive, delete and purge" : "may only read";
  const logout = () => logOut().then(onLoggedOut);
  byId("who").replaceChildren(
    el("span", { class: "user", text: session.user ?? "" }),
    el("span", { class: "role", title, text: session.role ?? "" }),
    session.login_required ? button("Log out", logout, { kind: "quiet" }) : "",
  );
}
