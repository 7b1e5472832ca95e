"""The operator guide, executed: each command verbatim, with the real tools, on the state that it is meant for."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import yaml

from tests.support import guide, servers
from tests.support.fleet import let_run
from tests.support.guide import Command
from tests.support.processes import Installation
from tests.support.servers import required
from tests.support.shell import Shell
from tests.support.world import POOL, World
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.jobs.purge import cycle as purge_cycle
from vmpooler_tasks.jobs.purge.options import PurgeOptions
from vmpooler_tasks.model.deadletters.entry import RequestOrigin, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.deadletters.push import push
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.store.vmpooler.config import publish_config

OTHER_POOL = "ubuntu-2004-x86_64"
REQUEST = "req-abc123"
MINUTE, HOUR, DAY = 60, 3600, 86400

DLQ = "1. Dead-Letter Queue (DLQ)"
HEALTH = "3. Health Checks"
FAILED_REQUEST = "Scenario 1: Investigating Failed VM Requests"
BACKUP = "Scenario 2: Queue Backup"
HIGH_DLQ = "Scenario 3: High DLQ Size"
CHANGED_LIMITS = "Scenario 4: Testing Configuration Changes"
NO_DEAD_LETTERS = "DLQ Not Capturing Failures"
NO_HEALTH = "Health Check Not Updating"
NO_METRICS = "Metrics Not Appearing"

MISSING_TEMPLATE = "template centos-7-template does not exist"
CLONE_ERRORS = [MISSING_TEMPLATE] * 6 + ["permission denied"] * 4 + ["failed to obtain IP"] * 2
"""Oldest first, a minute apart; the guide's request failed last of those without a template."""

LIMITS = DeadLetterLimits(ttl_seconds=168 * HOUR, max_entries=10_000)

Fields = Mapping[str, Any]


# --- the states, each made by the product ----------------------------------------------------------------------------


@dataclass
class Site:
    """An installation with the guide's configuration; `letters` are those that its dead-letter queues should hold."""

    installation: Installation
    shell: Shell
    world: World
    dead_letters: dict[DeadLetterQueue, list[Fields]] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return load_settings(self.installation.environment)

    def fail(self, queue: DeadLetterQueue, vm: str, error: str, *, request: str | None = None) -> None:
        """A VM fails now, as the clone and check tasks report it."""
        names = {"request_id": request.encode(), "pool_alias": b"centos-7"} if request else {}
        dead_letter = failed_vm(
            queue=queue,
            vm=vm.encode(),
            pool=POOL,
            error_class="StandardError",
            error_message=error,
            now=self.world.now,
            identity=vm.encode(),
            origin=RequestOrigin(retry_count=3, **names),
        )
        push(self.world.db, queue, dead_letter, now=self.world.now, limits=LIMITS)
        self._expect(queue, vm, "StandardError", error, request, retry_count=3)

    def purge(self, vm: str, age: int, *, request: str | None = None) -> None:
        """A VM of this age is in pending now, and a purge cycle takes it."""
        origin = {"request_id": request, "pool_alias": "centos-7"} if request else {}
        self.world.vm(Queue.PENDING, vm, age, **origin)
        purge_cycle.run(self.world.db, self.settings, self.world.clock, PurgeOptions(who="test"))
        reason = f"Stale pending VM (age: {age}s > max: 7200s)"
        self._expect(DeadLetterQueue.PENDING, vm, "Purge", reason, request, retry_count=0)

    def _expect(
        self, queue: DeadLetterQueue, vm: str, error_class: str, error: str, request: str | None, retry_count: int
    ) -> None:
        """The guide's fields, in its order."""
        self.dead_letters.setdefault(queue, []).append(
            {
                "vm": vm,
                "pool": POOL,
                "queue_from": str(queue),
                "error_class": error_class,
                "error_message": error,
                "failed_at": iso_utc(self.world.now),
                "retry_count": retry_count,
                **({"request_id": request, "pool_alias": "centos-7"} if request else {}),
                "id": "…",
            }
        )

    def check_health(self) -> None:
        """Check as beat requests it, with a worker and a beat alive."""
        let_run(self.world)
        assert health_check.run(self.world.db, self.settings, self.world.clock) is not None


def guides_configuration(**changed: Any) -> dict[str, Any]:
    """The guide's own three "Configuration" blocks, and two pools."""
    told: dict[str, Any] = {}
    for section, block in guide.configurations(guide.TEXT):
        if section in {DLQ, "2. Auto-Purge", HEALTH}:
            told = {**guide.options(block), **told}  # a section's first block is its configuration
    pools = [{"name": POOL, "alias": ["centos-7"], "size": 2}, {"name": OTHER_POOL, "size": 2}]
    return {":config": {**told, **changed}, ":pools": pools}


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


def quiet(site: Site) -> None:
    """Some failures, of which two were purged hours and minutes ago, and queues in good order."""
    world, now = site.world, site.world.now
    world.now = now - 2 * HOUR
    site.purge("pooler-sad-dog", 7250)
    for place, error in enumerate(CLONE_ERRORS):
        world.now = now - (30 - place) * MINUTE
        is_the_request = error == MISSING_TEMPLATE != CLONE_ERRORS[place + 1]
        site.fail(DeadLetterQueue.CLONE, f"pooler-clone-{place}", error, request=REQUEST if is_the_request else None)
    site.fail(DeadLetterQueue.READY, "pooler-misty-otter", "timeout: größer als 5 s")
    site.fail(DeadLetterQueue.TASKS, "pooler-calm-gecko", "MemoryError: ")
    world.now = now - 10 * MINUTE
    site.purge("pooler-happy-elephant", 7300, request=REQUEST)
    world.now = now
    for queue, pool, ages in (
        (Queue.PENDING, POOL, (300, 900)),
        (Queue.READY, POOL, (100, 200, 600)),
        (Queue.READY, OTHER_POOL, (4000,)),
        (Queue.COMPLETED, OTHER_POOL, (60,)),
    ):
        for age in ages:
            world.vm(queue, f"pooler-{queue}-{age}", age, pool)
    world.vm(None, "pooler-forgotten-yak", 3 * DAY)
    world.client.set("vmpooler__tasks__clone", 2)
    site.check_health()
    publish_config(world.db, site.settings.published())


QUIET_METRICS = {
    "queues": {
        POOL: {
            "pending": {"size": 2, "oldest_age": 900, "avg_age": 600, "stuck_count": 0},
            "ready": {"size": 3, "oldest_age": 600, "avg_age": 300},
            "completed": {"size": 0},
        },
        OTHER_POOL: {
            "pending": {"size": 0, "oldest_age": 0, "avg_age": 0, "stuck_count": 0},
            "ready": {"size": 1, "oldest_age": 4000, "avg_age": 4000},
            "completed": {"size": 1},
        },
        "dlq": {"pending": {"size": 2}, "clone": {"size": 12}, "ready": {"size": 1}, "tasks": {"size": 1}},
    },
    "tasks": {"clone": {"active": 2}, "ondemand": {"active": 0, "pending": 0}},
    "errors": {"dlq_total_size": 16, "stuck_vm_count": 0, "orphaned_metadata_count": 1},
}


def backed_up(site: Site) -> None:
    """VMs that do not get ready: 120 pending, of which 12 are stuck. The check is the command line's."""
    for index in range(120):
        site.world.vm(Queue.PENDING, f"pooler-pending-{index}", backed_up_age(index))
    now = site.world.now
    for place in range(3):
        site.world.now = now - 3 + place
        site.fail(DeadLetterQueue.CLONE, f"pooler-clone-{place}", "failed to obtain IP")
    site.world.now = now
    let_run(site.world)
    assert site.installation.run("vmpooler-tasks", "health", status=1).startswith("DEGRADED  (checked ")


def backed_up_age(index: int) -> int:
    return 7300 + index if index < 12 else index


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

FOLLOWED = Command(CHANGED_LIMITS, 'tail -f vmpooler.log | grep "purge.*dry-run"')
"""It prints until it is ended, so that it has a test of its own."""


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


@pytest.fixture(scope="module", params=servers.KINDS)
def open_site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Site]]:
    """Each on a server of its own: a state is made once for all commands, while other tests empty the shared server."""
    required("jq")
    with ExitStack() as stack:

        def begin(**changed: Any) -> Site:
            folder = tmp_path_factory.mktemp("site")
            server = stack.enter_context(servers.running(request.param, folder / "server"))
            configuration = yaml.safe_dump(guides_configuration(**changed))
            installation = stack.enter_context(Installation(server.url, folder, configuration, start_in=folder))
            database = Database(server.url)
            stack.callback(database.close)
            return Site(installation, Shell(installation, server.port), World(database, float(int(time.time()))))

        yield begin


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


def vmpoolers_own(site: Site) -> dict[bytes, bytes]:
    """The database without what the worker keeps for itself."""
    return {key: value for key, value in site.world.snapshot().items() if key.startswith(b"vmpooler__")}


@pytest.mark.slow
def test_following_the_log_shows_what_a_dry_run_with_new_limits_would_purge(open_site: Callable[..., Site]) -> None:
    """Scenario 4, with a real worker that writes vmpooler.log."""
    _, block = next(found for found in guide.configurations(guide.TEXT) if found[0] == CHANGED_LIMITS)
    site = open_site(**guide.options(block))
    site.world.vm(Queue.PENDING, "pooler-sad-dog", 5 * HOUR)
    site.world.vm(Queue.PENDING, "pooler-lively-heron", 1.5 * HOUR)
    site.world.vm(Queue.PENDING, "pooler-happy-elephant", 0.5 * HOUR)
    site.installation.worker(name="vmpooler")
    before = vmpoolers_own(site)

    with site.shell.watch(FOLLOWED.text) as screen:
        site.installation.run("vmpooler-tasks", "purge", "--enqueue")
        seen = [line[line.index("[*]") :] for line in screen.until("Completed purge cycle")]

    assert sorted(re.sub(r"age: \d+s", "age: …s", line) for line in seen[:-1]) == [
        "[*] [purge][dry-run] Would purge stale pending VM 'pooler-lively-heron' (age: …s, max: 3600s)",
        "[*] [purge][dry-run] Would purge stale pending VM 'pooler-sad-dog' (age: …s, max: 3600s)",
    ]
    assert re.fullmatch(
        r"\[\*] \[purge]\[dry-run] Completed purge cycle in \d+\.\d\ds: 2 entries found, nothing changed", seen[-1]
    )
    assert vmpoolers_own(site) == before
    # The worker has published what it runs with.
    assert site.shell.type("redis-cli HGET vmpooler__config dlq_enabled") == "true\n"
    assert site.shell.type("redis-cli HGET vmpooler__config purge_dry_run") == "true\n"
