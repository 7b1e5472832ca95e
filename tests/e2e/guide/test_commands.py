"""The operator guide, executed: each command verbatim, with the real tools, on the state that it is meant for."""

import json
import re
from collections.abc import Callable
from functools import partial

import pytest

from tests.support import guide
from tests.support.guide import Command
from tests.support.guide_site import (
    BACKUP,
    DLQ,
    FAILED_REQUEST,
    FOLLOWED,
    HEALTH,
    HIGH_DLQ,
    HOUR,
    MINUTE,
    MISSING_TEMPLATE,
    NO_DEAD_LETTERS,
    NO_HEALTH,
    NO_METRICS,
    QUIET_METRICS,
    REQUEST,
    Site,
    backed_up,
    backed_up_age,
    guides_configuration,
    quiet,
)
from tests.support.world import POOL
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import iso_utc


def test_the_sites_are_configured_as_the_guide_says() -> None:
    assert guides_configuration()[":config"] == {
        "dlq_enabled": True,
        "dlq_ttl": 168,
        "dlq_max_entries": 10000,
        "purge_enabled": True,
        "purge_interval": 3600,
        "purge_dry_run": False,
        "max_pending_age": 7200,
        "max_ready_age": 86400,
        "max_completed_age": 3600,
        "max_orphaned_age": 86400,
        "health_check_enabled": True,
        "health_check_interval": 300,
        "health_thresholds": {
            "pending_queue_max": 100,
            "ready_queue_max": 500,
            "dlq_max_warning": 100,
            "dlq_max_critical": 1000,
            "stuck_vm_age_threshold": 7200,
            "stuck_vm_max_warning": 10,
            "stuck_vm_max_critical": 50,
        },
    }


# --- what each command prints there ----------------------------------------------------------------------------------


def lines(*shown: str) -> str:
    return "".join(f"{line}\n" for line in shown)


def entries(site: Site, queue: DeadLetterQueue) -> list[str]:
    return [
        json.dumps(dead_letter, ensure_ascii=False, separators=(",", ":")) for dead_letter in site.dead_letters[queue]
    ]


def of_the_request(site: Site, queue: DeadLetterQueue) -> str:
    (dead_letter,) = (
        dead_letter for dead_letter in site.dead_letters[queue] if dead_letter.get("request_id") == REQUEST
    )
    return lines(json.dumps(dead_letter, ensure_ascii=False, separators=(",", ":")))


def with_scores(site: Site) -> str:
    moments = (site.world.now - 2 * HOUR, site.world.now - 10 * MINUTE)
    shown = zip(entries(site, DeadLetterQueue.PENDING), moments, strict=True)
    return lines(*(part for entry, score in shown for part in (entry, str(int(score)))))


def prettily(site: Site) -> str:
    return lines(json.dumps(json.loads(of_the_request(site, DeadLetterQueue.CLONE)), ensure_ascii=False, indent=2))


def newest_ten(site: Site) -> str:
    return lines(*reversed(entries(site, DeadLetterQueue.CLONE)[-10:]))


def whole_health(site: Site) -> str:
    return pairs_in_order(
        lines(
            "status",
            "healthy",
            "last_check",
            iso_utc(site.world.now),
            "last_scheduled_check",
            iso_utc(site.world.now),
            "metrics",
            json.dumps(QUIET_METRICS, separators=(",", ":")),
            "stuck_vm_count",
            "0",
            "dlq_total_size",
            "16",
            "orphaned_metadata_count",
            "1",
            "reasons",
            "[]",
        )
    )


def clone_time_of_the_first(site: Site) -> str:
    """Redis answers SMEMBERS in an order of its own, which a script sees as well."""
    first = site.world.db.call("EVAL", "return redis.call('SMEMBERS', KEYS[1])[1]", 1, f"vmpooler__pending__{POOL}")
    return lines(site.world.stamp(backed_up_age(int(first.removeprefix(b"pooler-pending-")))))


def always(*shown: str) -> Callable[[Site], str]:
    return lambda _site: lines(*shown)


def just_now(site: Site) -> str:
    return lines(iso_utc(site.world.now))


PRINTS: dict[Command, Callable[[Site], str]] = {
    Command(DLQ, "redis-cli ZRANGE vmpooler__dlq__pending 0 -1"): lambda site: lines(
        *entries(site, DeadLetterQueue.PENDING)
    ),
    Command(DLQ, "redis-cli ZRANGE vmpooler__dlq__pending 0 -1 WITHSCORES"): with_scores,
    Command(DLQ, "redis-cli ZCARD vmpooler__dlq__pending"): always("2"),
    Command(DLQ, "redis-cli ZREVRANGE vmpooler__dlq__clone 0 9"): newest_ten,
    Command(DLQ, "redis-cli ZRANGEBYSCORE vmpooler__dlq__pending -inf $(date -d '1 hour ago' +%s)"): lambda site: lines(
        entries(site, DeadLetterQueue.PENDING)[0]
    ),
    Command(HEALTH, "redis-cli HGETALL vmpooler__health"): whole_health,
    Command(HEALTH, "redis-cli HGET vmpooler__health status"): always("healthy"),
    Command(HEALTH, "redis-cli HGET vmpooler__health last_check"): just_now,
    Command(FAILED_REQUEST, 'redis-cli ZRANGE vmpooler__dlq__pending 0 -1 | grep "req-abc123"'): partial(
        of_the_request, queue=DeadLetterQueue.PENDING
    ),
    Command(FAILED_REQUEST, 'redis-cli ZRANGE vmpooler__dlq__clone 0 -1 | grep "req-abc123"'): partial(
        of_the_request, queue=DeadLetterQueue.CLONE
    ),
    Command(FAILED_REQUEST, 'redis-cli ZRANGE vmpooler__dlq__clone 0 -1 | grep "req-abc123" | jq .'): prettily,
    Command(BACKUP, "redis-cli HGET vmpooler__health status"): always("degraded"),
    Command(BACKUP, "redis-cli HGET vmpooler__health stuck_vm_count"): always("12"),
    Command(
        BACKUP,
        f"redis-cli SMEMBERS vmpooler__pending__{POOL} | head -1 "
        "| xargs -I {} redis-cli HGET vmpooler__vm__{} clone",
    ): clone_time_of_the_first,
    Command(BACKUP, "redis-cli ZREVRANGE vmpooler__dlq__clone 0 9"): newest_ten,
    Command(HIGH_DLQ, "redis-cli ZCARD vmpooler__dlq__pending"): always("2"),
    Command(HIGH_DLQ, "redis-cli ZCARD vmpooler__dlq__clone"): always("12"),
    Command(
        HIGH_DLQ, "redis-cli ZRANGE vmpooler__dlq__clone 0 -1 | jq -r '.error_message' | sort | uniq -c | sort -rn"
    ): always(f"      6 {MISSING_TEMPLATE}", "      4 permission denied", "      2 failed to obtain IP"),
    Command(NO_DEAD_LETTERS, "redis-cli HGET vmpooler__config dlq_enabled"): always("true"),
    Command(NO_DEAD_LETTERS, "redis-cli PING"): always("PONG"),
    Command(NO_HEALTH, "redis-cli HGET vmpooler__health last_check"): just_now,
    Command(NO_METRICS, "redis-cli HGETALL vmpooler__health"): whole_health,
}


def pairs_in_order(printed: str) -> str:
    """What HGETALL prints, sorted by field: a hash has no order."""
    shown = printed.splitlines()
    return lines(*(part for pair in sorted(zip(shown[::2], shown[1::2], strict=True)) for part in pair))


def comparable(command: str, printed: str) -> str:
    """The letters' ids, which are no part of the guide, are only asked to be there."""
    without_ids = re.sub(r'("id": ?)"[0-9a-f]{16}"', r'\1"…"', printed)
    return pairs_in_order(without_ids) if "HGETALL" in command else without_ids


# --- the tests -------------------------------------------------------------------------------------------------------


def test_every_command_of_the_guide_has_an_expectation_and_every_expectation_a_command() -> None:
    found = guide.commands(guide.TEXT)
    assert set(found) == {*PRINTS, FOLLOWED}
    assert len(found) == len(set(found)) == 23


def test_no_command_of_the_guide_escapes_the_search_for_them() -> None:
    rest = guide.TEXT
    for command in sorted(guide.commands(guide.TEXT), key=lambda command: -len(command.text)):
        assert command.text in guide.TEXT
        rest = rest.replace(command.text, "")
    assert re.findall(r".*\b(?:redis-cli|jq|grep|tail|sort|uniq|xargs|date)\b.*", rest) == []
    assert {fence.language for fence in guide.fences(guide.TEXT)} == {"bash", "yaml", "json", ""}


def test_commands_are_found_with_their_comments_continuations_pipelines_and_in_the_prose() -> None:
    markdown = """## First
```bash
# a comment
redis-cli PING  # behind it

redis-cli ZRANGE key \\
  0 -1 |
  jq -r '.a
.b' && tail x
```
Not `timeout`, but `jq .` and `redis-cli INFO`, as in `# a comment`.
## Second
1. In a list:
   ```bash
   redis-cli GET x | wc -l
   ```
```yaml
redis-cli: no
```
"""
    assert guide.commands(markdown) == [
        Command("First", "redis-cli PING  # behind it"),
        Command("First", "redis-cli ZRANGE key \\\n  0 -1 |\n  jq -r '.a\n.b' && tail x"),
        Command("Second", "redis-cli GET x | wc -l"),
        Command("First", "jq ."),
        Command("First", "redis-cli INFO"),
    ]


@pytest.fixture(scope="module")
def site_for(open_site: Callable[..., Site]) -> Callable[[str], Site]:
    """The site in the state that a section of the guide is about."""
    begun: dict[Callable[[Site], None], Site] = {}

    def get(section: str) -> Site:
        state = backed_up if section == BACKUP else quiet
        if state not in begun:
            begun[state] = open_site()
            state(begun[state])
        return begun[state]

    return get


@pytest.mark.parametrize("command", PRINTS, ids=lambda command: f"{command.section}: {command.text}")
def test_a_command_of_the_guide_prints_what_is_there(command: Command, site_for: Callable[[str], Site]) -> None:
    site = site_for(command.section)
    assert comparable(command.text, site.shell.type(command.text)) == PRINTS[command](site)
