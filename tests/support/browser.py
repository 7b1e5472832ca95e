"""The dashboard in a real Chromium, served by a real `vmpooler-tasks web`."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Request, expect, sync_playwright

from tests.support.commands import PROGRAM
from tests.support.ports import free_port
from tests.support.processes import PATIENCE, Installation, Process
from tests.support.servers import required

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "a good: long password"
USERS = f"olga:operate:{PASSWORD},rita:read:{PASSWORD}"

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}

REFUSED = "Failed to load resource"
"""Chromium logs this for every response of 400 and above, and for a missing one. Tests that provoke these expect it."""

MAX_TABS = 120


@contextmanager
def chromium() -> Iterator[Browser]:
    path = required("chromium")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


class Dashboard:
    """A web process and the visits to it. `users` is WEB_USERS; without it, nobody has to log in."""

    def __init__(self, browser: Browser, installation: Installation, users: str = "") -> None:
        self.browser, self.installation = browser, installation
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.web = Process(
            [str(PROGRAM), "web", "--port", str(self.port)],
            folder=installation.start_in,
            environment={**installation.environment, "WEB_USERS": users},
            log=installation.folder / "web.log",
        )
        self.visits: list[Visit] = []

    def start(self) -> None:
        self.web.start().says("[web] Serving")

    def visit(self, section: str = "status", *, expected: Sequence[str] = (), **context: Any) -> "Visit":
        """Open a browser at this section."""
        made = Visit(self, expected, context)
        self.visits.append(made)
        made.go(section)
        return made

    def leave(self) -> None:
        """Close the browsers and stop the web process. Fail if a browser reported a trouble."""
        for visit in self.visits:
            visit.page.context.close()
        self.web.stop()
        assert [trouble for visit in self.visits for trouble in visit.troubles] == []


class Visit:
    """One browser. `troubles` are errors in its console, violations of the CSP, and requests to other hosts."""

    def __init__(self, dashboard: Dashboard, expected: Sequence[str], context: dict[str, Any]) -> None:
        self.dashboard, self.expected = dashboard, tuple(expected)
        self.troubles: list[str] = []
        self.page = dashboard.browser.new_context(**{"viewport": DESKTOP, **context}).new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.on("console", lambda message: self._record_trouble(message.type, message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self.page.on("request", self._on_request)
        violated = "addEventListener('securitypolicyviolation', (e) => console.error(`CSP: ${e.violatedDirective}`))"
        self.page.add_init_script(violated)

    def _record_trouble(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(text.startswith(one) for one in self.expected):
            self.troubles.append(f"{kind}: {text}")

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.dashboard.address).netloc:
            self.troubles.append(f"requested {request.url}")

    def go(self, section: str) -> None:
        self.page.goto(f"{self.dashboard.address}/#{section}")

    def log_in(self, user: str = "olga", password: str = PASSWORD) -> None:
        self.page.get_by_label("User").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.button("Log in").click()

    def button(self, name: str, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name)

    @property
    def main(self) -> Locator:
        """Return the content. The texts for screen readers, which repeat its notices for a while, are outside."""
        return self.page.locator("main")

    @property
    def dead_letters(self) -> Locator:
        """Return the rows of the list."""
        return self.page.locator("table.dead-letters tbody tr")

    @property
    def dialog(self) -> Locator:
        """Return the dialog in front."""
        return self.page.get_by_role("dialog").last

    def tab_to(self, name: str) -> None:
        """Press Tab until the focused element has this name."""
        for _ in range(MAX_TABS):
            self.page.keyboard.press("Tab")
            if name in self.focused():
                return
        raise AssertionError(f"Tab does not lead to {name!r}")

    def focused(self) -> str:
        """Return the name of the focused element."""
        name_of = """() => {
            const at = document.activeElement;
            return at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent;
        }"""
        return str(self.page.evaluate(name_of)).strip()

    def is_accessible(self) -> None:
        """Fail if axe finds a violation, or if something is wider than the window."""
        found = Axe().run(self.page).response["violations"]
        violations = [{"rule": one["id"], "at": [node["html"][:200] for node in one["nodes"]]} for one in found]
        assert not violations, json.dumps(violations, indent=1)
        wide = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
            [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth)
                .map((one) => one.outerHTML.slice(0, 200))"""
        beyond = self.page.evaluate(wide)
        assert not beyond, f"wider than the window: {beyond}"

    def hears(self, text: str) -> None:
        """Wait until this is announced to screen readers."""
        expect(self.page.locator("#announcer")).to_contain_text(text)
