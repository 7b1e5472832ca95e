"""docs/beside-vmpooler.md: its table has every key of VMPooler that the package knows."""

import re

from tests.unit.docs.test_words import read
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import broker_keys, keys

TEXT = read("docs/beside-vmpooler.md")


def rows() -> dict[str, tuple[str, ...]]:
    """Return key → its columns: observe, features, manager."""
    found: dict[str, tuple[str, ...]] = {}
    for line in TEXT.splitlines():
        if line.startswith("| `"):
            names, *columns = (cell.strip() for cell in line.strip("|").split("|"))
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", names), tuple(columns))
    return found


def vmpoolers_keys() -> set[str]:
    constants = {value for value in vars(keys).values() if isinstance(value, bytes)}
    made = {
        *(keys.queue(queue, "POOL") for queue in Queue),
        *(keys.dead_letters(queue) for queue in DeadLetterQueue),
        *(keys.statistics(what, "DAY") for what in ("boot", "clone")),
        keys.pool("POOL"),
        keys.vm(b"VM"),
        keys.request(b"ID"),
        keys.delivered(b"ID", "ALIAS", "POOL"),
        keys.active("POOL"),
        keys.empty("POOL"),
    }
    patterns = {keys.VMPOOLER_KEYS, keys.VM_PREFIX}
    return {key.decode() for key in (constants | made) - patterns if key.startswith(b"vmpooler__")}


def test_every_key_of_vmpooler_is_in_the_table() -> None:
    assert {key for key in rows() if key.startswith("vmpooler__")} == vmpoolers_keys()


def test_the_keys_of_celery_are_those_of_the_package() -> None:
    celery = next(line for line in TEXT.splitlines() if line.endswith("(Celery) | written | written | written |"))
    assert tuple(re.findall(r"`([^`]+)`", celery)) == broker_keys.CELERY_KEYS
    acl = read("deploy/redis/users.acl").split("user vmpooler-tasks ")[1].splitlines()[0]
    assert set(re.findall(r"~(\S+)", acl)) == {"vmpooler__*", "vmpooler_tasks__*", *broker_keys.CELERY_KEYS}


def test_only_two_keys_of_vmpooler_are_written_while_observing() -> None:
    written = {key for key, (observing, *_) in rows().items() if observing.startswith("written")}
    assert {key for key in written if key.startswith("vmpooler__")} == {"vmpooler__dlq__tasks", "vmpooler__health"}


def test_the_way_back_names_every_pattern_that_is_only_ours() -> None:
    patterns = re.search(r"^for pattern in (.+)$", TEXT, re.MULTILINE)
    assert patterns is not None
    assert set(re.findall(r"'([^']+)'", patterns[1])) == {"vmpooler_tasks__*", *broker_keys.CELERY_KEYS}
