"""Redriving and deleting on the dashboard, with a real worker."""

import re

import pytest
from playwright.sync_api import expect

from tests.support.browser import PASSWORD, Dashboard, Visit
from tests.support.commands import CommandLine, dead_letter
from tests.support.failing_tasks import PREFIX
from tests.support.processes import Installation, Process, until
from tests.support.redrive_bench import add_sums
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import keys

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow(seconds=50)]


@pytest.fixture
def worker(installation: Installation) -> Process:
    return installation.worker("-P", "threads", tasks=PREFIX, worker_concurrency=4)


def left(world: World) -> int:
    return int(world.client.zcard(keys.dead_letters(DeadLetterQueue.TASKS)))


def test_a_dead_letter_is_redriven_and_goes(
    dashboard: Dashboard, world: World, run: CommandLine, worker: Process
) -> None:
    add_sums(world, range(1, 3))
    visit = dashboard.visit("letters")
    visit.log_in()
    expect(visit.dead_letters).to_have_count(2)
    visit.dead_letters.nth(1).locator(".error").get_by_role("button").click()
    visit.button("Redrive …", visit.dialog).click()
    expect(visit.dialog).to_contain_text("1 will run again")
    visit.dialog.get_by_label("Why").fill("it is back")
    visit.button("Redrive 1", visit.dialog).click()
    expect(visit.page.get_by_text("Redrive is done")).to_be_visible()
    expect(visit.page.get_by_role("list", name="Running redrives")).to_contain_text("1 of 1: 1 redriven")
    expect(visit.dead_letters).to_have_count(1)
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    worker.says("succeeded in", times=1)
    [entry] = run.json("audit")
    assert (entry["action"], entry["who"], entry["why"]) == ("redrive", "olga@web", "it is back")
    visit.page.get_by_text("Redrives of the last week").first.click()
    past = visit.page.get_by_role("table", name="Redrives of the last week")
    expect(past.get_by_role("row").nth(1)).to_contain_text("it is back")


def test_a_whole_group_is_redriven_except_what_came_back_too_often(
    open_dashboard: Dashboard, world: World, worker: Process
) -> None:
    add_sums(world, range(1, 4))
    dead_letter(
        world,
        "tasks",
        1,
        id="f" * 16,
        task=f"{PREFIX}.take_two",
        args=[9, 0],
        kwargs={},
        redrives=3,
        error_class="Outage",
        error_message="attempt 9 failed",
    )
    dead_letter(world, "pending", 1, vm="v", pool=POOL, error_class="Timeout", error_message="late")
    visit = open_dashboard.visit("letters")
    visit.button("Outage attempt <n> failed").click()
    expect(visit.dead_letters).to_have_count(4)
    visit.button("Redrive all 4 …").click()
    expect(visit.dialog).to_contain_text("3 will run again")
    expect(visit.dialog).to_contain_text("1 dead letter failed again too often and is left out")
    visit.dialog.get_by_label("Dead letters per second").fill("0")
    visit.button("Redrive 3", visit.dialog).click()
    expect(visit.dead_letters).to_have_count(1)
    expect(visit.page.get_by_text("1 dead letter with this filter")).to_be_visible()
    until(lambda: left(world) == 1, "the others go")


def test_a_run_is_cancelled(open_dashboard: Dashboard, world: World, worker: Process) -> None:
    add_sums(world, range(1, 41))
    visit = open_dashboard.visit("letters")
    visit.button("Redrive all 40 …").click()
    visit.dialog.get_by_label("Dead letters per second").fill("1")
    visit.button("Redrive 40", visit.dialog).click()
    expect(visit.page.get_by_role("progressbar")).to_be_visible()
    visit.button("Cancel this run").click()
    expect(visit.page.get_by_text("Redrive was cancelled")).to_be_visible()
    visit.button("Hide this run").click()
    expect(visit.page.get_by_role("progressbar")).to_have_count(0)
    assert left(world) > 0


def test_a_run_without_a_worker_says_what_it_waits_for(open_dashboard: Dashboard, world: World) -> None:
    add_sums(world, range(1, 2))
    visit = open_dashboard.visit("letters")
    visit.button("Redrive all 1 …").click()
    visit.button("Redrive 1", visit.dialog).click()
    expect(visit.page.get_by_text("no worker serves vmpooler.maintenance")).to_be_visible()


def test_the_selected_are_deleted_and_no_others(open_dashboard: Dashboard, world: World, run: CommandLine) -> None:
    add_sums(world, range(1, 6))
    visit = open_dashboard.visit("letters")
    for place in (0, 2):
        visit.dead_letters.nth(place).get_by_role("checkbox").check()
    visit.button("Delete …").click()
    expect(visit.dialog).to_contain_text("2 dead letters")
    visit.page.keyboard.press("Escape")
    assert left(world) == 5
    visit.button("Delete …").click()
    visit.dialog.get_by_label("Why").fill("known")
    visit.button("Delete 2", visit.dialog).click()
    expect(visit.dead_letters).to_have_count(3)
    expect(visit.main.get_by_text("2 dead letters deleted.")).to_be_visible()
    shown = visit.dead_letters.locator(".error").all_text_contents()
    assert [re.findall(r"\d+", text)[0] for text in shown] == ["4", "2", "1"]
    assert {entry["why"] for entry in run.json("audit")} == {"known"}


def test_what_arrives_while_one_is_asked_is_not_deleted_with_the_rest(open_dashboard: Dashboard, world: World) -> None:
    add_sums(world, range(1, 4))
    visit = open_dashboard.visit("letters")
    visit.button("Delete all 3 …").click()
    expect(visit.dialog).to_contain_text("3 dead letters")
    dead_letter(world, "tasks", -60, id="late", error_class="E", error_message="of the future, as clocks differ")
    visit.button("Delete 3", visit.dialog).click()
    expect(visit.dead_letters).to_have_count(1)
    assert left(world) == 1


def test_all_of_it_goes_with_the_keyboard_alone(dashboard: Dashboard, world: World, worker: Process) -> None:
    add_sums(world, range(1, 2))
    visit = dashboard.visit()
    press = visit.page.keyboard.press
    expect(visit.page.get_by_label("User")).to_be_focused()
    visit.page.keyboard.type("olga")
    press("Tab")
    visit.page.keyboard.type(PASSWORD)
    press("Enter")
    expect(visit.page.locator(".health-word")).to_be_visible()
    skips_to_the_content(visit)
    visit.tab_to("Dead letters")
    press("Enter")
    expect(visit.page.get_by_role("heading", name="Dead letters", level=1)).to_be_focused()
    expect(visit.dead_letters).to_have_count(1)
    visit.tab_to("Outage attempt 1 failed")
    press("Enter")
    expect(visit.dialog.get_by_role("region", name="Args", exact=True)).to_be_visible()
    visit.tab_to("Redrive …")
    press("Enter")
    expect(visit.dialog).to_contain_text("1 will run again")
    press("Escape")
    assert visit.focused() == "Redrive …"
    press("Enter")
    expect(visit.dialog).to_contain_text("1 will run again")
    visit.tab_to("Why")
    visit.page.keyboard.type("by hand")
    visit.tab_to("Redrive 1")
    press("Space")
    expect(visit.page.get_by_text("Redrive is done")).to_be_visible()
    expect(visit.dead_letters).to_have_count(0)
    visit.hears("Redrive done: 1 redriven")
    assert visit.focused() == "Newest first"


def skips_to_the_content(visit: Visit) -> None:
    visit.page.reload()
    expect(visit.page.locator(".health-word")).to_be_visible()
    visit.page.keyboard.press("Tab")
    assert visit.focused() == "Skip to the content"
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("main")).to_be_focused()
    visit.page.keyboard.press("Shift+Tab")
