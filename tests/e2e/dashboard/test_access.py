"""The dashboard for everybody: what axe finds, in light, in dark, and on a phone."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import DESKTOP, PHONE, Dashboard
from tests.support.commands import CommandLine, dead_letter
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow(seconds=90)]

SCREENS: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True},
}

HOUR = 3600.0


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SCREENS[request.param]


@pytest.fixture
def something(world: World, run: CommandLine) -> None:
    """Something of everything, with names as long as they come."""
    long = "a-very-long-name-of-a-pool-that-somebody-has-made-up-x86_64-with-no-space-to-break-it"
    for number in range(60):
        dead_letter(
            world,
            "clone",
            number,
            vm=f"vm-{number}",
            pool=long if number % 2 else POOL,
            error_class="NoTemplate",
            error_message=f"no template {number}",
            redrives=number % 3,
        )
    dead_letter(
        world, "tasks", 1, id="abc", task="t", error_class="E", error_message="x" * 300, traceback="Traceback\n" * 30
    )
    for number in range(30):
        world.vm(Queue.PENDING, f"stuck-{number}", 3 * HOUR)
    world.vm(Queue.READY, "ready", 100)
    run("health")
    run("dlq", "delete", "--yes", "--pool", "none", "--why", "nothing")
    run("purge", "--queue", "ready", "--why", "a look")
    run("health")


@pytest.mark.usefixtures("something")
def test_every_section_is_accessible(open_dashboard: Dashboard, screen: dict[str, Any]) -> None:
    visit = open_dashboard.visit(**screen)
    expect(visit.page.locator(".health-word")).to_be_visible()
    expect(visit.page.locator("svg.chart path.line.ready")).to_have_attribute("d", re.compile("^M"))
    visit.page.get_by_text("Show as a table").click()
    visit.is_accessible()
    visit.go(f"pools/{POOL}")
    expect(visit.page.get_by_role("table", name="Newest dead letters of this pool")).to_be_visible()
    visit.page.locator(".vm-list summary").filter(has_text="Pending").click()
    expect(visit.page.get_by_role("table", name="VMs in pending")).to_be_visible()
    visit.is_accessible()
    visit.go("requests?status=all")
    expect(visit.page.get_by_text("There are no requests")).to_be_visible()
    visit.is_accessible()
    visit.go("letters")
    expect(visit.dead_letters).to_have_count(50)
    visit.dead_letters.nth(3).get_by_role("checkbox").check()
    visit.is_accessible()
    visit.go("purge")
    expect(visit.page.get_by_text("30 entries")).to_be_visible()
    visit.is_accessible()
    visit.go("audit")
    expect(visit.page.get_by_text("a look")).to_be_visible()
    visit.is_accessible()


@pytest.mark.usefixtures("something")
def test_every_dialog_is_accessible(open_dashboard: Dashboard, screen: dict[str, Any]) -> None:
    visit = open_dashboard.visit("letters?letter=abc", **screen)
    expect(visit.dialog.get_by_role("region", name="Traceback")).to_be_visible()
    visit.is_accessible()
    visit.button("Redrive …", visit.dialog).click()
    expect(visit.dialog.get_by_label("Dead letters per second")).to_be_visible()
    visit.is_accessible()
    visit.page.keyboard.press("Escape")
    visit.button("Delete …", visit.dialog).click()
    expect(visit.dialog.get_by_label("Why")).to_be_visible()
    visit.is_accessible()
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.press("Escape")
    visit.go("purge")
    visit.button("Purge …").click()
    expect(visit.dialog.get_by_label("Force")).to_be_visible()
    visit.is_accessible()


def test_the_login_and_the_runbooks_are_accessible(dashboard: Dashboard, screen: dict[str, Any]) -> None:
    visit = dashboard.visit(**screen)
    expect(visit.button("Log in")).to_be_visible()
    visit.is_accessible()
    visit.page.goto(f"{dashboard.address}/runbooks")
    visit.is_accessible()


def test_unhealthy_and_cut_off_is_accessible_too(open_dashboard: Dashboard, screen: dict[str, Any]) -> None:
    visit = open_dashboard.visit(expected=["Failed to load resource"], **screen)
    expect(visit.page.locator(".health-word")).to_contain_text("Unhealthy")
    open_dashboard.web.stop()
    expect(visit.page.get_by_text("No connection to the server")).to_be_visible()
    expect(visit.page).to_have_title("No connection · vmpooler-tasks")
    visit.is_accessible()
