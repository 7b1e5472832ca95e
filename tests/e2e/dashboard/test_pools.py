"""The pools on the page, and the page of one pool."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Dashboard
from tests.support.days_work import managed
from tests.support.processes import Installation
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow(seconds=25)]

HOUR = 3600.0


@pytest.fixture
def manager(browser: Browser, installation: Installation) -> Iterator[Dashboard]:
    """A dashboard of pools that these workers manage, without a login. No worker runs."""
    installation.environment["VMPOOLER_CONFIG"] = managed()
    own = Dashboard(browser, installation)
    own.start()
    yield own
    own.leave()


def test_the_page_of_a_pool_shows_its_vms_and_pauses_it(manager: Dashboard, world: World) -> None:
    world.vm(Queue.READY, "ready-one", 2 * HOUR)
    world.vm(Queue.RUNNING, "running-one", HOUR, **{"checkout": world.stamp(120), "token:user": "rita"})
    world.client.hset(keys.POOL_SIZES.decode(), POOL, "4")
    visit = manager.visit("pools")
    visit.page.get_by_role("link", name=POOL).click()
    expect(visit.page).to_have_url(f"{manager.address}/#pools/{POOL}")
    expect(visit.page.get_by_role("heading", name=POOL, level=1)).to_be_focused()
    ready = visit.page.get_by_role("table", name="VMs in ready")
    expect(ready).to_contain_text("ready-one")
    expect(ready).to_contain_text("2 h ago")
    expect(visit.page.get_by_role("table", name="VMs in running")).to_contain_text("rita")
    size = visit.page.get_by_role("table", name="Settings of the pool").get_by_role("row").nth(1)
    expect(size).to_contain_text(re.compile("size.*4.*2.*4"))
    visit.is_accessible()
    visit.button("Pause …").click()
    visit.dialog.get_by_label("Why").fill("maintenance")
    visit.button("Pause", visit.dialog).click()
    state = visit.page.locator(".pool-head .state")
    expect(state).to_contain_text("Paused")
    expect(state).to_contain_text("by local@web: maintenance")
    expect(visit.button("Resume …")).to_be_visible()
    assert world.client.hexists(keys.PAUSED.decode(), POOL)
    visit.page.get_by_role("link", name="All pools").click()
    expect(visit.page.locator("td.pool-state .state").first).to_contain_text("Paused")


def test_the_first_pool_is_visible_on_a_phone_without_scrolling(manager: Dashboard, world: World) -> None:
    visit = manager.visit(viewport={"width": 390, "height": 844})
    first = visit.page.locator("table.pools tbody tr").first
    expect(first).to_be_in_viewport(ratio=0.99)
    visit.go(f"pools/{POOL}")
    expect(visit.page.get_by_role("heading", name=POOL, level=1)).to_be_visible()
    visit.is_accessible()
    visit.go("pools/of-nobody")
    expect(visit.page.get_by_role("alert").filter(has_text="There is no pool of-nobody")).to_be_visible()
    visit.troubles.clear()  # the 404
