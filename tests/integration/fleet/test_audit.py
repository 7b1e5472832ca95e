"""The audit is searched: by who, what and when, in pages, and an action of several steps is one entry."""

import pytest

from vmpooler_tasks.jobs.deadletters.delete import delete
from vmpooler_tasks.model.deadletters.entry import read_dead_letter
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.fleet.audit import AuditFilter

pytestmark = pytest.mark.both_servers


def add(db: Database, second: int, **fields: str) -> None:
    db.client.xadd(
        fleet_keys.AUDIT, {"action": "purge", "who": "beat", "count": "0", **fields}, id=f"{second * 1000}-0"
    )


def seconds(page: audit.AuditPage) -> list[float]:
    return [entry.at for entry in page.entries]


def test_filters_select_by_who_what_and_when(db: Database) -> None:
    for second in range(1, 4):
        add(db, second)
    add(db, 4, action="delete", who="Anna@host")
    add(db, 5, action="redrive", who="olga@web")
    assert seconds(audit.search(db, AuditFilter(), 9)) == [5, 4, 3, 2, 1]
    assert seconds(audit.search(db, AuditFilter(who="anna"), 9)) == [4]
    assert seconds(audit.search(db, AuditFilter(action="re"), 9)) == [5]
    assert seconds(audit.search(db, AuditFilter(since=2, until=4), 9)) == [4, 3, 2]
    assert seconds(audit.search(db, AuditFilter(who="nobody"), 9)) == []


def test_pages_show_each_entry_once(db: Database) -> None:
    for second in range(1, 1300):
        add(db, second, who="beat" if second % 2 else "anna")
    found: list[float] = []
    cursor = None
    while True:
        page = audit.search(db, AuditFilter(who="beat"), 100, cursor)
        found += seconds(page)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == list(range(1299, 0, -2))


@pytest.mark.parametrize("cursor", ["0-0", "0-1", "999999999999999-0"])
def test_any_cursor_is_a_place(db: Database, cursor: str) -> None:
    add(db, 1)
    assert len(audit.search(db, AuditFilter(until=10**12), 9, cursor).entries) in (0, 1)


def test_a_large_deletion_is_one_entry(db: Database) -> None:
    entries = []
    for queue, count in ((DeadLetterQueue.CLONE, 1200), (DeadLetterQueue.READY, 3)):
        raws = [f'{{"id":"{queue}{number}"}}'.encode() for number in range(count)]
        db.client.zadd(keys.dead_letters(queue), dict.fromkeys(raws, 1.0))
        entries += [read_dead_letter(queue, raw, 1.0) for raw in raws]
    assert delete(db, entries, who="anna", why="fixed") == 1203
    assert len(audit.read_newest(db, 99)) > 2, "each step records itself"
    [entry] = audit.search(db, AuditFilter(), 9).entries
    assert (entry.fields["count"], entry.fields["queue"], entry.fields["who"]) == ("1203", "clone, ready", "anna")
    one = read_dead_letter(DeadLetterQueue.CLONE, b'{"id":"x"}', 1.0)
    db.client.zadd(keys.dead_letters(DeadLetterQueue.CLONE), {one.raw: 1.0})
    delete(db, [one], who="anna", why=None)
    assert audit.OPERATION not in audit.search(db, AuditFilter(), 1).entries[0].fields


def test_an_entry_without_a_script_is_recorded(db: Database) -> None:
    audit.record(db, {"action": "run now", "who": "anna", "why": None})
    assert audit.read_newest(db, 1)[0].fields == {"action": "run now", "who": "anna"}
