"""The dashboard with ten thousand dead letters."""

import json

import pytest
from playwright.sync_api import expect

from tests.support.browser import Dashboard
from tests.support.commands import dead_letter
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow]

MANY = 10_000
MAX_ROWS = 300
MAX_NODES = 12_000


@pytest.fixture
def many(world: World) -> None:
    members = {}
    for number in range(MANY):
        fields = {
            "vm": f"vm-{number}",
            "pool": f"pool-{number % 400}",
            "error_class": f"E{number % 300}",
            "error_message": f"no {'x' * (number % 300)}",
            "id": f"{number:016d}",
        }
        members[json.dumps(fields)] = int(world.now) - 60 - number
    world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), members)


@pytest.mark.usefixtures("many")
def test_the_page_stays_small(open_dashboard: Dashboard, world: World) -> None:
    visit = open_dashboard.visit("letters")
    expect(visit.page.get_by_text("10,000 dead letters")).to_be_visible()
    visit.button("Show all 300 groups").click()
    for shown in range(100, MAX_ROWS + 50, 50):
        visit.button("Show 50 more").click()
        expect(visit.dead_letters).to_have_count(shown)
    assert visit.page.locator("*").count() < MAX_NODES
    dead_letter(world, "clone", 0, vm="young", pool=POOL, error_class="E", error_message="no")
    expect(visit.dead_letters.first).to_contain_text("young")
    expect(visit.dead_letters).to_have_count(MAX_ROWS)
    visit.button("Show older dead letters").click()
    expect(visit.dead_letters).to_have_count(50)
    # Those of its last second are shown once more: not all of that second may have been there.
    expect(visit.dead_letters.first).to_contain_text(f"vm-{MAX_ROWS - 3}")
    visit.page.get_by_label("Search").fill("vm-9999")
    expect(visit.dead_letters).to_have_count(1)
    expect(visit.page.get_by_text("1 dead letter with this filter")).to_be_visible()
