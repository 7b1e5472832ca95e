"""On-demand requests on the page."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser import PHONE, Dashboard
from tests.support.world import POOL, World

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow(seconds=15)]

ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

CLOSE_AND_OPEN_AGAIN = """() => {
    const dialog = document.querySelector("dialog");
    dialog.addEventListener("close", () => document.activeElement.click());
    dialog.close();
}"""
"""Click the button that opened the dialog at once, while the browser still goes back."""


def request(world: World, name: str, user: str, age: float) -> None:
    """As VMPooler's API server does."""
    fields = {"requested": f"centos:{POOL}:2", "token:token": "a-secret", "token:user": user}
    world.client.hset(f"vmpooler__odrequest__{name}", mapping=fields)
    world.client.zadd("vmpooler__provisioning__request", {name: int(world.now - age)})


def test_a_request_is_found_read_and_cancelled(open_dashboard: Dashboard, world: World) -> None:
    request(world, ID, "rita", 90)
    request(world, "another", "otto", 30)
    visit = open_dashboard.visit("requests")
    rows = visit.page.get_by_role("table", name="On-demand requests").locator("tbody tr")
    expect(rows).to_have_count(2)
    visit.page.get_by_label("Find").press_sequentially("RITA")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("VMPooler's manager has to accept it")
    expect(visit.page).to_have_url(re.compile("#requests\\?search=RITA$"))
    visit.is_accessible()
    opener = visit.button("7c9e6679", rows.first).first
    opener.click()
    expect(visit.dialog).to_contain_text(ID)
    expect(visit.dialog.get_by_role("table", name="History")).to_contain_text("requested")
    assert "a-secret" not in visit.page.content()
    visit.is_accessible()
    visit.page.evaluate(CLOSE_AND_OPEN_AGAIN)
    expect(visit.dialog).to_contain_text(ID)
    visit.page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    expect(visit.page).to_have_url(re.compile("#requests\\?search=RITA$"))
    visit.go(f"requests?search=RITA&request={ID}")
    visit.button("Cancel this request …", visit.dialog).click()
    visit.dialog.get_by_label("Why").fill("not needed")
    visit.button("Cancel the request", visit.dialog).click()
    expect(visit.main.get_by_text("0 VMs moved to completed")).to_be_visible()
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    expect(visit.page.get_by_text("No request matches this search")).to_be_visible()
    assert world.client.hget(f"vmpooler__odrequest__{ID}", "status") == b"deleted"


def test_a_reader_sees_requests_on_a_phone_and_cannot_cancel(dashboard: Dashboard, world: World) -> None:
    request(world, ID, "rita", 90)
    visit = dashboard.visit("requests", expected=["Failed to load resource"], viewport=PHONE)
    visit.log_in("rita")
    expect(visit.page.get_by_text("VMPooler's manager has to accept it")).to_be_visible()
    expect(visit.button("Cancel request")).to_have_count(0)
    visit.is_accessible()
