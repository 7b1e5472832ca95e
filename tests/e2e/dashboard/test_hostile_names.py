"""Names from outside are text on the page: no markup, no script, nothing invisible."""

import pytest
from playwright.sync_api import expect

from tests.support.browser import Dashboard
from tests.support.commands import dead_letter
from tests.support.hostile_names import HOSTILE_NAMES
from tests.support.world import World
from vmpooler_tasks.store.fleet import audit

pytestmark = [pytest.mark.stage(name="dashboard"), pytest.mark.slow(seconds=10)]

NAMES = [name for name in HOSTILE_NAMES.values() if name.strip()]


def is_text(shown: str) -> bool:
    return all(line.isprintable() for line in shown.replace("\t", "\n").split("\n"))


def test_hostile_names_are_text_in_lists_and_details(open_dashboard: Dashboard, world: World) -> None:
    for number, name in enumerate(NAMES):
        fields = dict.fromkeys(("vm", "pool", "error_class", "error_message"), name)
        dead_letter(world, "clone", number, id=f"id-{number}", args=[name, {name: name}], **fields)  # type: ignore[arg-type]
        audit.record(world.db, {"action": name, "who": name, "why": name, "count": "1"})
    visit = open_dashboard.visit("letters")
    expect(visit.dead_letters).to_have_count(min(len(NAMES), 50))
    assert is_text(visit.page.locator("body").inner_text())
    visit.go(f"letters?letter=id-{NAMES.index(HOSTILE_NAMES['bidi override'])}")
    expect(visit.dialog).to_contain_text("a\\u202egpj.exe\\u202c")
    assert is_text(visit.dialog.inner_text())
    visit.page.keyboard.press("Escape")
    visit.go("audit")
    expect(visit.page.locator("#audit-body tbody tr").first).to_be_visible()
    assert is_text(visit.page.locator("body").inner_text())
    assert visit.page.locator("main img, main script, dialog img, dialog script").count() == 0
    assert visit.page.evaluate("window.hit") is None
    assert visit.page.locator("a[href^='javascript:' i]").count() == 0
