"""`vmpooler-tasks request`: asking for VMs, waiting for them, and the story of a request."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import servers
from tests.support.commands import CommandLine, dead_letter
from tests.support.processes import PATIENCE, Installation, configuration
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys

HELP = "(see vmpooler-tasks request --help)"
NOWHERE = "redis://127.0.0.1:1/0"
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def managed(**options: Any) -> str:
    """Pools without a stock of their own: one whose VMs can be made, and one whose template is missing."""
    whole = json.loads(configuration(**{"manage_pools": True, "check_loop_delay_min": 0.5, **options}))
    whole[":providers"] = {"dummy": {"templates": ["good"], "clone_seconds": 0.1}}
    whole[":pools"] = [
        {"name": POOL, "alias": ["centos", "centos-7"], "template": "good"},
        {"name": "debian-12", "template": "good"},
        {"name": "broken", "template": "missing"},
    ]
    return json.dumps(whole)


@pytest.fixture
def ask(run: CommandLine) -> CommandLine:
    """The command with pools that can be asked for; nobody fills what is asked."""
    run.environment["VMPOOLER_CONFIG"] = managed()
    return run


def requested(world: World) -> list[str]:
    return [world.client.hget(key, "requested").decode() for key in world.client.keys("vmpooler__odrequest__*")]


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (f"{POOL}=2", f"{POOL}:{POOL}:2"),
        ("centos=2", f"centos:{POOL}:2"),
        ("centos", f"centos:{POOL}:1"),
        (f"centos=2 {POOL} debian-12=3", f"centos:{POOL}:2,{POOL}:{POOL}:1,debian-12:debian-12:3"),
        ("centos=10", f"centos:{POOL}:10"),
    ],
)
def test_a_request_names_pools_or_aliases_and_counts(ask: CommandLine, world: World, typed: str, wanted: str) -> None:
    result = ask("request", *typed.split())
    assert (result.status, result.err) == (0, "")
    assert re.fullmatch(rf"Request ({UUID}); follow it with `vmpooler-tasks request show \1`\n", result.out)
    assert requested(world) == [wanted]


@pytest.mark.parametrize("typed", ["--json centos=2", "centos=2 --json", "centos --json debian-12"])
def test_options_may_stand_before_and_after_the_pools(ask: CommandLine, world: World, typed: str) -> None:
    result = ask("request", *typed.split())
    assert (result.status, result.err) == (0, "")
    assert re.fullmatch(UUID, json.loads(result.out)["request"])
    assert len(requested(world)) == 1


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("centos=0", "'centos=0' is not POOL=COUNT"),
        ("centos=-1", "'centos=-1' is not POOL=COUNT"),
        ("centos=y", "'centos=y' is not POOL=COUNT"),
        ("centos=", "'centos=' is not POOL=COUNT"),
        ("=2", "'=2' is not POOL=COUNT"),
        ("windows=1", "there is no pool 'windows'; there are broken, centos, centos-7, {pool}, debian-12"),
        ("centos=11", "it asks for 11 VMs, more than max_ondemand_instances_per_request (10)"),
        ("centos=6 centos=5", "it asks for 11 VMs, more than max_ondemand_instances_per_request (10)"),
        ("centos --wiat", "No such option '--wiat'. Did you mean '--wait'?"),
        ("--wait", "Missing argument 'POOL=COUNT…'."),
        ("--json --wait", "Missing argument 'POOL=COUNT…'."),
        ("--quick centos", "No such option '--quick'."),
        ("show", "Missing argument 'ID'."),
    ],
)
def test_a_mistake_is_answered_by_one_line_that_names_no_command_that_nobody_typed(
    ask: CommandLine, world: World, typed: str, complaint: str
) -> None:
    result = ask("request", *typed.split())
    assert (result.status, result.out) == (os.EX_USAGE, "")
    assert result.err.count("\n") == 1
    assert complaint.format(pool=POOL) in result.err
    assert "make" not in result.err
    if typed != "show":
        assert result.err.startswith("vmpooler-tasks request: ")
        assert result.err.endswith(f"{HELP}\n")
    assert requested(world) == []


def test_help_says_how_it_is_used(ask: CommandLine) -> None:
    shown = ask("request", "--help")
    assert shown.status == 0
    for words in ("POOL=COUNT", "--wait", "show", "list", "Example: vmpooler-tasks request centos-7=2 --wait"):
        assert words in shown.out
    assert "make" not in shown.out


def test_where_pools_are_not_managed_here_it_says_who_has_to_fill_it(ask: CommandLine) -> None:
    ask.environment["VMPOOLER_CONFIG"] = managed(manage_pools=False)
    result = ask("request", "centos")
    assert (result.status, result.err) == (
        0,
        "vmpooler-tasks: manage_pools is off: VMPooler's own manager has to fill the request\n",
    )


@pytest.mark.parametrize("typed", ["centos=1", "centos=1 --wait", "show x", "list"])
def test_without_redis_each_form_names_its_address_in_one_line(ask: CommandLine, typed: str) -> None:
    result = ask("request", *typed.split(), REDIS_URL=NOWHERE)
    assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
    assert re.fullmatch(r"vmpooler-tasks: Redis does not reply: redis://127\.0\.0\.1:1/0: [^\n]+\n", result.err)


def a_story(world: World) -> str:
    """A request that got one VM of two; two clones failed before."""
    request_id, alias = "0b2f1c9e-0000-4000-8000-000000000001", "centos"
    key = f"vmpooler__odrequest__{request_id}"
    world.client.hset(key, mapping={"requested": f"{alias}:{POOL}:2", "retry_count": "2", "token:token": "s3cr3t"})
    world.client.zadd(keys.PROCESSING_REQUESTS, {request_id: world.now - 300})
    for age, vm in ((290, "pooler-first"), (200, "pooler-second")):
        dead_letter(
            world,
            "clone",
            age,
            vm=vm,
            pool=POOL,
            request_id=request_id,
            id=f"id-{vm}",
            error_class="E",
            error_message="no space",
            old_form=vm == "pooler-first",
        )
    stamps = {"clone": world.stamp(150), "ready": world.stamp(100), "clone_time": "42.5"}
    world.vm(Queue.RUNNING, "pooler-third", 100, request_id=request_id, **stamps)
    world.client.sadd(keys.delivered(request_id.encode(), alias, POOL), "pooler-third")
    world.vm(Queue.PENDING, "pooler-fourth", 50, request_id=request_id)
    return request_id


def test_a_story_is_told_in_order_of_time_with_its_dead_letters(ask: CommandLine, world: World) -> None:
    request_id = a_story(world)
    result = ask("request", "show", request_id)
    assert (result.status, result.err) == (0, "")
    head, part, heading, _, *rows = result.out.splitlines()
    assert head == f"FILLING  (centos:{POOL}:2, 2 retries)"
    assert part == f"  centos:{POOL}:2  pooler-third"
    assert heading.split() == ["TIME", "WHAT", "VM", "POOL", "DETAIL"]
    told = [re.split(r"  +", row)[1:3] for row in rows]
    assert told == [
        ["requested", "-"],
        ["failed (clone)", "pooler-first"],
        ["failed (clone)", "pooler-second"],
        ["clone started", "pooler-third"],
        ["delivered", "pooler-third"],
        ["clone started", "pooler-fourth"],
    ]
    assert rows[2].endswith("E: no space [id-pooler-second]")
    assert rows[4].endswith("cloned in 42.5 s")
    assert "s3cr3t" not in result.out
    shown = ask.json("request", "show", request_id)
    assert [[one["what"], one["vm"] or "-"] for one in shown["events"]] == told
    assert (shown["status"], shown["retry_count"]) == ("filling", 2)


def test_a_request_that_nobody_knows_is_one_line(ask: CommandLine) -> None:
    result = ask("request", "show", "nowhere")
    assert (result.status, result.out) == (1, "")
    assert result.err == "vmpooler-tasks: nothing is known of a request 'nowhere'\n"


def test_requests_that_wait_or_are_filled_are_listed(ask: CommandLine, world: World) -> None:
    assert ask("request", "list").out == "No request is waiting or being filled.\n"
    assert ask.json("request", "list") == []
    filling = a_story(world)
    waiting = ask.json("request", "debian-12")["request"]
    heading, _, *rows = ask("request", "list").out.splitlines()
    assert re.split(r"  +", heading) == ["ID", "STATUS", "REQUESTED", "DELIVERED", "RETRIES"]
    assert [row.split() for row in rows] == [
        [waiting, "waiting", "debian-12:debian-12:1", "0", "0"],
        [filling, "filling", f"centos:{POOL}:2", "1", "2"],
    ]
    assert [one["request"] for one in ask.json("request", "list")] == [waiting, filling]


@pytest.mark.parametrize("typed", ["request list", "request show"])
def test_its_tables_fit_a_terminal_of_eighty_columns(ask: CommandLine, world: World, typed: str) -> None:
    request_id = a_story(world)
    words = [*typed.split(), *([request_id] if typed.endswith("show") else [])]
    shown = re.sub(r"\x1b\[[0-9;]*m", "", ask.on_terminal(*words, columns=80).out).splitlines()
    assert max(map(len, shown)) <= 80
    assert request_id in "".join(shown) or typed.endswith("show")


@pytest.mark.slow
def test_ctrl_c_during_the_wait_names_the_command_that_follows_the_request(ask: CommandLine, world: World) -> None:
    with ask.started("request", "centos", "--wait") as process:
        assert process.stderr is not None
        waiting = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        assert process.wait(PATIENCE) == 130
    (request_id,) = re.findall(UUID, waiting)
    assert f"\nThe request goes on. Follow it with `vmpooler-tasks request show {request_id}`\n" in err
    assert requested(world) == [f"centos:{POOL}:1"]


def test_a_mistyped_command_is_suggested(ask: CommandLine) -> None:
    assert "or the command `vmpooler-tasks request list`" in ask("request", "lsit").err


# --- with those who fill it ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """The command where a worker and beat manage the pools."""
    folder: Path = tmp_path_factory.mktemp("request")
    with (
        servers.running("valkey", folder / "server") as server,
        Installation(server.url, folder, managed()) as installation,
    ):
        installation.worker("-P", "threads", worker_concurrency=8)
        installation.beat()
        yield CommandLine(folder, installation.environment)


@pytest.mark.slow
def test_a_request_that_is_waited_for_is_filled(served: CommandLine) -> None:
    result = served("request", "centos=2", "debian-12", "--wait", "--json")
    assert (result.status, result.err) == (0, "")
    shown = json.loads(result.out)
    assert (shown["status"], shown["failure_reason"], shown["retry_count"]) == ("ready", "", 0)
    assert [len(shown["delivered"][part]) for part in (f"centos:{POOL}:2", "debian-12:debian-12:1")] == [2, 1]
    assert sorted({one["what"] for one in shown["events"]} - {"requested"}) == ["clone started", "delivered"]
    assert served.json("request", "show", shown["request"])["delivered"] == shown["delivered"]
    assert served.json("request", "list") == []


@pytest.mark.slow
def test_people_are_told_that_it_waits_and_what_they_got(served: CommandLine) -> None:
    result = served("request", "--wait", "centos")
    assert result.status == 0
    assert re.fullmatch(rf"Waiting for request {UUID} …\n", result.err)
    head, part, *_ = result.out.splitlines()
    assert head == f"READY  (centos:{POOL}:1, 0 retries)"
    assert re.fullmatch(rf"  centos:{POOL}:1  [\w-]+", part)


@pytest.mark.slow
def test_a_request_that_fails_ends_with_its_reason(served: CommandLine) -> None:
    result = served("request", "broken=1", "--wait", "--json")
    assert result.status == 1
    shown = json.loads(result.out)
    assert shown["status"] == "failed"
    assert re.match(r"Configuration error: .*missing", shown["failure_reason"])
    [failed] = [one for one in shown["events"] if one["what"] == "failed (clone)"]
    assert failed["detail"].startswith("PermanentProviderError: ")
    text = served("request", "show", shown["request"])
    assert text.status == 0
    assert text.out.startswith(f"FAILED: {shown['failure_reason']}  (broken:broken:1, 0 retries)\n")
