"""The command and the page ask before they run a revert again; `doctor` names orders that wait."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import Dashboard
from tests.support.commands import CommandLine, dead_letter
from tests.support.processes import Installation, configuration
from tests.support.servers import TestServer
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys

pytestmark = pytest.mark.slow(seconds=20)

ID = "a" * 16


@pytest.fixture
def managed(valkey: TestServer, tmp_path: Path) -> Installation:
    """Processes that manage the pools."""
    whole = json.loads(configuration(manage_pools=True))
    return Installation(valkey.url, tmp_path, json.dumps({**whole, ":providers": {"dummy": {}}}))


def failed_revert(world: World) -> None:
    checkout = world.stamp(600)
    world.vm(Queue.RUNNING, "vm-1", 600, checkout=checkout)
    kwargs = {"vm": "vm-1", "pool": POOL, "snapshot": "before"}
    dead_letter(
        world,
        "tasks",
        60,
        id=ID,
        vm="vm-1",
        pool=POOL,
        task="vmpooler_tasks.revert_snapshot",
        args=[],
        kwargs=kwargs,
        checkout=checkout,
        order="0123456789ab",
        error_class="InterruptedOrderError",
        error_message="its worker was lost after the revert had started",
    )


def test_the_command_asks_and_a_script_has_to_say_it(managed: Installation, world: World) -> None:
    run = CommandLine(managed.folder, managed.environment)
    failed_revert(world)
    assert run("dlq", "redrive", "--all", "--confirm").status == 64
    assert "add --confirm" in run("dlq", "redrive", ID, "--yes").err
    asked = run("dlq", "redrive", ID, typed="n\n")
    assert asked.status == 130
    assert "reverts a VM and discards what its user did since the snapshot. Run it again?" in asked.err
    assert not world.client.exists(keys.REVERT_ORDERS)
    assert "kept: a revert discards what the user did" in run("dlq", "redrive", "--all", "--dry-run").out
    assert "1 redriven" in run("dlq", "redrive", ID, typed="y\ny\n").out
    assert world.client.smembers(keys.REVERT_ORDERS) == {b"vm-1:before"}
    [found] = [one for one in json.loads(run("doctor", "--json").out) if one["what"] == "orders"]
    assert found["state"] == "ok"
    assert re.fullmatch(r"1 in vmpooler__tasks__snapshot-revert for \d+s", found["found"])
    world.client.zadd(keys.VM_ORDERS_SEEN, {"revert_snapshot vm-1:before": world.now - 3600})
    assert "nobody carries them out" in run("doctor").out


def test_the_page_has_a_box_to_check(browser: Browser, managed: Installation, world: World) -> None:
    failed_revert(world)
    dashboard = Dashboard(browser, managed)
    with managed:
        dashboard.start()
        visit = dashboard.visit("letters")
        visit.dead_letters.first.locator(".error").get_by_role("button").click()
        visit.button("Redrive …", visit.dialog).click()
        box = visit.page.get_by_label("Run reverts again, too")
        expect(box).not_to_be_checked()
        expect(visit.button("Redrive 1", visit.dialog)).not_to_be_visible()
        visit.is_accessible()
        box.check()
        expect(visit.page.get_by_label("Run reverts again, too")).to_be_checked()
        visit.button("Redrive 1", visit.dialog).click()
        expect(visit.page.get_by_text("started: 1 dead letter")).to_be_visible()
        dashboard.leave()
