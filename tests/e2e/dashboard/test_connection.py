"""The dashboard when the server, or Redis behind it, goes away and comes back."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import REFUSED, Dashboard
from tests.support.commands import dead_letter
from tests.support.processes import Installation
from tests.support.servers import TestServer
from tests.support.world import POOL, World

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow]


def test_the_page_outlives_the_web_process(open_dashboard: Dashboard, world: World) -> None:
    dead_letter(world, "clone", 5, vm="v", pool=POOL, error_class="E", error_message="no")
    visit = open_dashboard.visit("letters", expected=[REFUSED])
    expect(visit.dead_letters).to_have_count(1)
    open_dashboard.web.kill()
    banner = visit.page.locator("#connection")
    expect(banner).to_contain_text("No connection to the server")
    expect(banner).to_contain_text("This page shows the state of ")
    dead_letter(world, "clone", 1, vm="w", pool=POOL, error_class="E", error_message="no")
    open_dashboard.start()
    expect(visit.dead_letters).to_have_count(2)
    expect(banner).to_be_empty()
    # The old token is not valid any more: the page reads the new one.
    visit.button("Delete all 2 …").click()
    visit.button("Delete 2", visit.dialog).click()
    expect(visit.dead_letters).to_have_count(0)


def test_the_page_says_that_redis_is_away(
    open_dashboard: Dashboard, world: World, valkey: TestServer, installation: Installation
) -> None:
    visit = open_dashboard.visit(expected=[REFUSED])
    expect(visit.page.locator(".health-word")).to_be_visible()
    banner = visit.page.locator("#connection")
    valkey.kill()
    try:
        expect(banner).to_contain_text("The server cannot read the state")
    finally:
        valkey.start()
    expect(banner).to_be_empty()


def test_a_page_that_is_opened_while_redis_is_away_comes_to_life(
    dashboard: Dashboard, world: World, valkey: TestServer
) -> None:
    valkey.kill()
    try:
        visit = dashboard.visit("audit", expected=[REFUSED])
        expect(visit.button("Log in").or_(visit.page.locator("#connection p"))).to_be_visible()
    finally:
        valkey.start()
    visit.log_in()
    expect(visit.page.get_by_text("Nothing was done so far")).to_be_visible()
