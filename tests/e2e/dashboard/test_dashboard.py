"""The dashboard as somebody sees it who has never seen it: in a real browser, on a real server."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.browser import PASSWORD, REFUSED, Dashboard
from tests.support.commands import CommandLine, dead_letter
from tests.support.fleet import keeping_alive
from tests.support.processes import configuration
from tests.support.world import POOL, World, settings
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.jobs.health import check
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow(seconds=80)]

HOUR = 3600.0


@pytest.fixture
def fleet(world: World) -> Iterator[None]:
    """A worker and a beat that are alive, after a first check that beat has asked for."""
    with keeping_alive(world.db):
        check.run(world.db, settings(), system_clock)
        yield


def test_one_logs_in_and_out(dashboard: Dashboard) -> None:
    visit = dashboard.visit("letters", expected=[REFUSED])
    visit.log_in(password="a wrong one")
    expect(visit.page.get_by_role("alert").filter(has_text="wrong")).to_be_visible()
    visit.log_in()
    expect(visit.page.get_by_role("heading", name="Dead letters", level=1)).to_be_visible()
    expect(visit.page.locator("#who")).to_contain_text("olga")
    expect(visit.page.locator("#who")).to_contain_text("operate")
    visit.button("Log out").click()
    expect(visit.button("Log in")).to_be_visible()
    assert PASSWORD not in dashboard.web.log


def test_a_session_that_has_ended_asks_for_the_login_again(dashboard: Dashboard, world: World) -> None:
    visit = dashboard.visit(expected=[REFUSED])
    visit.log_in()
    expect(visit.page.locator(".health-word")).to_be_visible()
    visit.page.context.clear_cookies()
    expect(visit.page.get_by_text("The session has ended")).to_be_visible()


@pytest.mark.usefixtures("fleet")
def test_the_status_says_why_and_what_to_do(open_dashboard: Dashboard, world: World, run: CommandLine) -> None:
    world.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), {f'{{"vm":"{n}"}}': world.now for n in range(101)})
    assert run("health").status == 1
    visit = open_dashboard.visit()
    expect(visit.page.locator(".health-word")).to_have_text(re.compile(r"^Degraded: \d+ problems?$"))
    expect(visit.page).to_have_title(re.compile(r"^Degraded: \d+ problems? · vmpooler-tasks$"))
    expect(visit.page.locator("link[rel=icon]")).to_have_attribute("data-status", "degraded")
    expect(visit.page.locator(".last-check")).to_have_text(re.compile("Last check .+ ago|just now"))
    reason = visit.page.get_by_role("list", name="Reasons").get_by_role("listitem")
    expect(reason).to_contain_text("101 dead letters, more than 100")
    expect(reason.locator("code")).to_have_text("vmpooler-tasks dlq stats")
    expect(visit.button("Copy", reason)).to_be_visible()
    runbook = reason.get_by_role("link", name="Runbook").get_attribute("href")
    assert runbook == f"{open_dashboard.address}/runbooks#dlq_size"
    reason.get_by_role("link", name="Dead letters").click()
    expect(visit.page).to_have_url(f"{open_dashboard.address}/#letters")


def test_no_worker_and_no_beat_are_said_plainly(open_dashboard: Dashboard, world: World) -> None:
    visit = open_dashboard.visit()
    for name in ("Workers", "Beat"):
        expect(visit.page.get_by_role("group", name=name)).to_contain_text("None")
    expect(visit.page.locator(".health-word")).to_have_text(re.compile("^Unhealthy: "))


def test_the_pools_are_seen_at_a_glance(open_dashboard: Dashboard, world: World) -> None:
    for number in range(3):
        world.vm(Queue.READY, f"r{number}", HOUR)
    world.vm(Queue.PENDING, "p", 60)
    dead_letter(world, "clone", 60, vm="v", pool=POOL, error_class="E", error_message="no space left")
    visit = open_dashboard.visit("pools")
    row = visit.page.get_by_role("row").filter(has=visit.page.get_by_role("rowheader", name=POOL))
    expect(row.locator(".num.ready")).to_have_text("3")
    expect(row.locator(".num.pending")).to_have_text("1")
    expect(row).to_contain_text("no space left")
    row.get_by_role("link", name="1 failure").click()
    expect(visit.dead_letters).to_have_count(1)
    expect(visit.page).to_have_url(f"{open_dashboard.address}/#letters?pool={POOL}&since=1h")


def test_a_dead_letter_arrives_and_disturbs_nobody(open_dashboard: Dashboard, world: World) -> None:
    for number in range(3):
        dead_letter(world, "clone", 100 + number, vm=f"old-{number}", pool=POOL, error_class="E", error_message="no")
    visit = open_dashboard.visit("letters")
    expect(visit.dead_letters).to_have_count(3)
    chosen = visit.dead_letters.nth(1).get_by_role("checkbox")
    chosen.check()
    dead_letter(world, "clone", 0, vm="young", pool=POOL, error_class="E", error_message="no again")
    expect(visit.dead_letters).to_have_count(4)
    expect(visit.dead_letters.first).to_contain_text("new")
    expect(visit.dead_letters.first).to_contain_text("young")
    visit.hears("1 new dead letter")
    assert visit.focused() == "Select old-1, E"
    expect(visit.dead_letters.nth(2).get_by_role("checkbox")).to_be_checked()
    expect(visit.page.get_by_text("1 selected")).to_be_visible()


def test_what_is_searched_for_stands_in_the_link(open_dashboard: Dashboard, world: World) -> None:
    dead_letter(world, "clone", 9, vm="one", pool="a", error_class="NoTemplate", error_message="none of 1")
    dead_letter(world, "clone", 8, vm="two", pool="a", error_class="NoTemplate", error_message="none of 2")
    dead_letter(world, "pending", 7, vm="three", pool="b", error_class="Timeout", error_message="late")
    visit = open_dashboard.visit("letters")
    expect(visit.dead_letters).to_have_count(3)
    visit.page.get_by_label("Search").press_sequentially("TEMPL")
    expect(visit.dead_letters).to_have_count(2)
    expect(visit.page).to_have_url(re.compile("#letters\\?search=TEMPL$"))
    visit.page.get_by_role("link", name="Dead letters").click()
    expect(visit.dead_letters).to_have_count(3)
    expect(visit.page.get_by_label("Search")).to_have_value("")
    visit.page.go_back()
    expect(visit.dead_letters).to_have_count(2)
    expect(visit.page.get_by_label("Search")).to_have_value("TEMPL")
    visit.page.get_by_label("Search").fill("")
    expect(visit.dead_letters).to_have_count(3)
    visit.button("NoTemplate none of <n>").click()
    expect(visit.dead_letters).to_have_count(2)
    visit.page.get_by_role("search").get_by_label("Pool").select_option("b")
    expect(visit.page.get_by_text("No dead letter matches this filter")).to_be_visible()
    visit.page.go_back()
    expect(visit.dead_letters).to_have_count(2)
    colleague = open_dashboard.visit(visit.page.url.split("#")[1])
    expect(colleague.dead_letters).to_have_count(2)
    colleague.button("Remove filter error").click()
    expect(colleague.dead_letters).to_have_count(3)


def test_a_dead_letter_is_shown_whole_and_its_markup_stays_text(open_dashboard: Dashboard, world: World) -> None:
    nasty = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
    dead_letter(
        world,
        "tasks",
        5,
        id="abc",
        task=nasty,
        pool=nasty,
        error_class=nasty,
        error_message=nasty,
        request_id=nasty,
        traceback=f"Traceback\n  {nasty}",
        args=[nasty],
        kwargs={nasty: nasty},
        of_others=nasty,
    )
    visit = open_dashboard.visit("letters")
    opener = visit.dead_letters.first.locator(".error").get_by_role("button")
    opener.click()
    expect(visit.dialog.get_by_role("region", name="Traceback")).to_contain_text(f"Traceback\n  {nasty}")
    expect(visit.dialog.get_by_role("region", name="Args", exact=True)).to_contain_text("onerror")
    expect(visit.dialog).to_contain_text("of_others")
    expect(visit.page).to_have_url(re.compile("#letters\\?letter=abc$"))
    assert visit.page.locator("main img, main script, dialog img, dialog script").count() == 0
    visit.page.keyboard.press("Escape")
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    expect(opener).to_be_focused()
    expect(visit.page).to_have_url(f"{open_dashboard.address}/#letters")
    visit.go("letters?letter=abc")
    expect(visit.dialog).to_contain_text("of_others")
    visit.page.go_back()
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    visit.page.go_forward()
    expect(visit.dialog).to_contain_text("of_others")
    visit.go("purge")
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    expect(visit.page.get_by_role("heading", name="Purge", level=1)).to_be_visible()
    assert visit.page.evaluate("window.hit") is None


def test_a_purge_is_planned_and_then_done(open_dashboard: Dashboard, world: World) -> None:
    world.vm(Queue.PENDING, "stuck", 3 * HOUR)
    world.vm(Queue.PENDING, "fine", 60)
    visit = open_dashboard.visit("purge")
    plan = visit.page.get_by_role("table", name="Entries to purge")
    expect(plan.get_by_role("row").nth(1)).to_contain_text("stuck")
    assert world.members(Queue.PENDING) == {b"stuck", b"fine"}
    visit.button("Purge …").click()
    expect(visit.dialog).to_contain_text("1 entry")
    visit.dialog.get_by_label("Why").fill("it hangs")
    visit.button("Purge 1", visit.dialog).click()
    expect(visit.main.get_by_text("1 entry purged")).to_be_visible()
    expect(visit.page.get_by_text("Nothing would be purged now")).to_be_visible()
    assert world.members(Queue.PENDING) == {b"fine"}
    visit.page.get_by_role("link", name="Audit").click()
    row = visit.page.get_by_role("table", name="Actions, newest first").get_by_role("row").nth(1)
    for part in ("local", "purge", "it hangs"):
        expect(row).to_contain_text(part)


def test_a_purge_that_is_switched_off_says_so(dashboard: Dashboard, world: World) -> None:
    world.vm(Queue.PENDING, "stuck", 3 * HOUR)
    dashboard.web.stop()
    dashboard.web.environment["VMPOOLER_CONFIG"] = configuration(purge_enabled=False)
    dashboard.start()
    visit = dashboard.visit("purge")
    visit.log_in()
    expect(visit.page.get_by_text("Purge is switched off")).to_be_visible()
    visit.button("Purge …").click()
    visit.button("Purge 1", visit.dialog).click()
    expect(visit.main.get_by_text("Nothing was done: purge is switched off")).to_be_visible()
    assert world.members(Queue.PENDING) == {b"stuck"}
    visit.button("Purge …").click()
    visit.dialog.get_by_label("Force").check()
    visit.button("Purge 1", visit.dialog).click()
    expect(visit.main.get_by_text("1 entry purged")).to_be_visible()


def test_a_reader_sees_no_button_that_changes_anything(dashboard: Dashboard, world: World) -> None:
    dead_letter(world, "clone", 5, id="abc", vm="v", pool=POOL, error_class="E", error_message="no")
    visit = dashboard.visit("letters")
    visit.log_in("rita")
    expect(visit.dead_letters).to_have_count(1)
    expect(visit.page.get_by_text("you cannot redrive or delete")).to_be_visible()
    visit.dead_letters.first.locator(".error").get_by_role("button").click()
    expect(visit.dialog).to_contain_text("you cannot redrive or delete")
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("link", name="Purge", exact=True).click()
    expect(visit.page.locator("#view-purge").get_by_text("you cannot purge")).to_be_visible()
    for name in ("Redrive", "Delete", "Purge …"):
        expect(visit.button(name)).to_have_count(0)


def test_the_trends_are_read_with_the_keyboard(open_dashboard: Dashboard, world: World, run: CommandLine) -> None:
    run("health")
    world.vm(Queue.READY, "v", HOUR)
    run("health")
    visit = open_dashboard.visit("trends")
    slider = visit.page.get_by_label("Values at")
    ready = visit.page.get_by_role("figure", name="VMs in the queues").get_by_role("listitem").first
    expect(ready).to_have_text("ready 1")
    slider.focus()
    visit.page.keyboard.press("ArrowLeft")
    expect(ready).to_have_text("ready 0")
    assert ": ready 0, pending 0" in str(slider.get_attribute("aria-valuetext"))
    visit.page.get_by_text("Show as a table").click()
    table = visit.page.get_by_role("table", name="Figures over time")
    expect(table.get_by_role("row")).to_have_count(3)
