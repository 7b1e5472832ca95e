"""Dead letters, the audit and the schedule on the dashboard: sort, export, edit, fold, run now."""

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.browser import Dashboard
from tests.support.commands import dead_letter
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import fleet_keys, keys
from vmpooler_tasks.store.fleet import audit

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow(seconds=40)]

PURGE = "vmpooler_tasks.purge_stale_entries"


def three(world: World) -> None:
    dead_letter(world, "ready", 30, vm="b-vm", pool="other", error_class="B", error_message="x " * 500)
    dead_letter(world, "clone", 60, vm="c-vm", pool=POOL, error_class="C", error_message="no", request_id="req-1")
    dead_letter(world, "pending", 90, vm="a-vm", pool=POOL, error_class="A", error_message="no")


def test_one_line_a_row_sorted_by_keyboard_with_a_link_to_the_pool(open_dashboard: Dashboard, world: World) -> None:
    three(world)
    visit = open_dashboard.visit("letters")
    expect(visit.dead_letters).to_have_count(3)
    heights = [visit.dead_letters.nth(row).bounding_box() for row in range(3)]
    assert {round(box["height"]) for box in heights if box} <= {30, 31, 32, 33}, heights
    expect(visit.page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    visit.page.get_by_role("button", name="VM or task").press("Enter")
    expect(visit.dead_letters.locator(".what")).to_have_text(["a-vm", "b-vm", "c-vm"])
    expect(visit.page.get_by_role("columnheader", name="VM or task")).to_have_attribute("aria-sort", "ascending")
    visit.page.get_by_role("button", name="VM or task").press("Enter")
    expect(visit.dead_letters.locator(".what")).to_have_text(["c-vm", "b-vm", "a-vm"])
    expect(visit.page).to_have_url(re.compile(r"#letters\?sort=vm&order=desc$"))
    expect(visit.page.get_by_role("heading", name="By VM or task, Z to A")).to_be_visible()
    link = visit.dead_letters.first.get_by_role("link", name=POOL)
    assert link.get_attribute("href") == f"#pools/{POOL}"
    visit.dead_letters.first.get_by_role("link", name="req-1").click()
    expect(visit.dead_letters).to_have_count(1)
    visit.is_accessible()


def test_an_invalid_filter_in_the_address_is_told(open_dashboard: Dashboard, world: World) -> None:
    three(world)
    visit = open_dashboard.visit("letters?queue=clonee&vm=a-vm")
    expect(visit.page.get_by_role("alert").filter(has_text="queue=clonee")).to_contain_text(
        "it must be one of pending, clone, ready, tasks"
    )
    expect(visit.dead_letters.first).not_to_be_visible()
    visit.is_accessible()
    visit.button("Show the list without this filter").click()
    expect(visit.dead_letters).to_have_count(1)
    expect(visit.page).to_have_url(re.compile(r"#letters\?vm=a-vm$"))


def test_the_filter_is_exported(open_dashboard: Dashboard, world: World, tmp_path: Path) -> None:
    three(world)
    visit = open_dashboard.visit(f"letters?pool={POOL}")
    expect(visit.dead_letters).to_have_count(2)
    with visit.page.expect_download() as saved:
        visit.page.get_by_role("link", name="Export as CSV").click()
    assert re.fullmatch(r"dead-letters-.*\.csv", saved.value.suggested_filename)
    saved.value.save_as(tmp_path / "saved.csv")
    with (tmp_path / "saved.csv").open(newline="") as file:
        assert [row["vm"] for row in csv.DictReader(file)] == ["c-vm", "a-vm"]


def test_a_failed_task_is_edited_and_its_attempts_are_listed(open_dashboard: Dashboard, world: World) -> None:
    attempt = {"failed_at": "2024-01-15T10:30:00Z", "error_class": "E", "redriven_at": "2024-01-15T11:30:00Z"}
    dead_letter(
        world,
        "tasks",
        30,
        id="e" * 16,
        task=PURGE,
        args=[],
        kwargs={"pools": ["wrnog"]},
        error_class="InvalidInputError",
        error_message="no pool 'wrnog'",
        attempts=[{**attempt, "who": "anna@host", "run": "run-1"}],
        redrives=1,
    )
    visit = open_dashboard.visit("letters", expected=["Failed to load resource"])
    visit.dead_letters.first.locator(".error").get_by_role("button").click()
    expect(visit.dialog.locator(".attempts li")).to_have_count(2)
    expect(visit.dialog.locator(".attempts li").first).to_contain_text("by anna@host, run run-1")
    visit.button("Edit and redrive …", visit.dialog).click()
    arguments = visit.page.get_by_label("Arguments, as JSON")
    expect(arguments).to_have_value(re.compile("wrnog"))
    visit.is_accessible()
    arguments.fill('{"kwargs": {"pool": "x"}}')
    visit.button("Check and redrive", visit.dialog).click()
    expect(visit.dialog.get_by_role("alert")).to_contain_text("unexpected keyword argument 'pool'")
    arguments.fill(f'{{"kwargs": {{"pools": ["{POOL}"], "dry_run": true}}}}')
    visit.dialog.get_by_label("Why").fill("a typing error")
    visit.button("Check and redrive", visit.dialog).click()
    expect(visit.page.get_by_text("is sent to the workers with the changed arguments")).to_be_visible()
    expect(visit.page.get_by_text("There are no dead letters.")).to_be_visible()
    assert world.client.zcard(keys.dead_letters(DeadLetterQueue.TASKS)) == 0
    assert audit.read_newest(world.db, 1)[0].fields["why"] == "a typing error"


def test_the_audit_folds_quiet_purges_and_is_filtered(open_dashboard: Dashboard, world: World) -> None:
    for _ in range(14):
        audit.record(world.db, {"action": "purge", "who": "beat", "count": 0})
    audit.record(world.db, {"action": "delete", "who": "anna@host", "count": 3, "why": "noise"})
    visit = open_dashboard.visit("audit")
    rows = visit.page.locator("table.audit tbody tr")
    expect(rows).to_have_count(2)
    fold = visit.button("14 automatic purges that found nothing")
    expect(fold).to_have_attribute("aria-expanded", "false")
    fold.press("Enter")
    expect(rows).to_have_count(16)
    expect(fold).to_have_attribute("aria-expanded", "true")
    visit.is_accessible()
    visit.page.get_by_role("searchbox", name="Who").fill("ANNA")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("noise")
    expect(visit.page).to_have_url(re.compile(r"#audit\?who=ANNA$"))
    visit.page.get_by_label("What").select_option("redrive")
    expect(visit.page.get_by_text("No entry matches this filter.")).to_be_visible()


def test_an_entry_of_the_schedule_runs_now(open_dashboard: Dashboard, world: World) -> None:
    world.client.hset(fleet_keys.SCHEDULE, "purge", repr(world.now - 60))
    visit = open_dashboard.visit("purge")
    rows = visit.page.locator("table.schedule tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.first.locator(".last")).to_contain_text("1 min")
    expect(rows.first.locator(".next")).to_contain_text("in 5")
    expect(rows.nth(2)).to_contain_text("off (manage_pools: false)")
    visit.button("Run now: Purge").click()
    expect(visit.main.get_by_text("Purge: sent to the workers.")).to_be_visible()
    assert audit.read_newest(world.db, 1)[0].fields["entry"] == "purge"
    visit.is_accessible()
