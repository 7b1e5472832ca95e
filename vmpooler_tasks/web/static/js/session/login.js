/** The form to log in, and who is. */

import { logIn, logOut, session } from "../shared/api.js";
import { button, field } from "../shared/dialogs.js";
import { byId, el, icon, show } from "../shared/dom.js";

/** Shows the form; `onDone` is called once somebody has logged in. */
export function askToLogIn(onDone, message = null) {
  const user = el("input", { type: "text", name: "user", autocomplete: "username", required: true });
  const password = el("input", {
    type: "password",
    name: "password",
    autocomplete: "current-password",
    required: true,
  });
  const submit = el("button", { type: "submit", class: "primary", text: "Log in" });
  const trouble = el("div", { role: "alert" });
  const form = el("form", { on: { submit: send } }, field("User", user), field("Password", password), trouble, submit);
  byId("view-login").replaceChildren(
    el("h1", { id: "login-title", text: "vmpooler-tasks" }),
    el("p", { class: "muted", text: message ?? "Dead letters, purge and health of VMPooler's queues" }),
    form,
  );
  show(byId("view-login"), true);
  user.focus();

  async function send(event) {
    event.preventDefault();
    submit.disabled = true;
    try {
      await logIn(user.value, password.value);
      show(byId("view-login"), false);
      byId("view-login").replaceChildren();
      onDone();
    } catch (error) {
      trouble.replaceChildren(el("p", { class: "notice bad" }, icon("unhealthy"), explain(error)));
      password.value = "";
      password.focus();
    } finally {
      submit.disabled = false;
    }
  }
}

function explain(error) {
  if (error.status === 401) return "The user or the password is wrong.";
  if (error.status === 429) return `Too many attempts. Try again in ${error.retryAfter ?? 60} s.`;
  return error.message;
}

/** Name, role and the way out, in the bar. */
export function showWho(onLoggedOut) {
  const title = session.role === "operate" ? "may look, redrive, delete and purge" : "may look only";
  byId("who").replaceChildren(
    el("span", { class: "user", text: session.user ?? "" }),
    el("span", { class: "role", title, text: session.role ?? "" }),
    session.login_required
      ? button(
          "Log out",
          async () => {
            await logOut();
            onLoggedOut();
          },
          { kind: "quiet" },
        )
      : "",
  );
}
