"""`vmpooler-tasks pools`, and what is told where pools cannot be managed or another manager is at work."""

import json
import os
import re
import signal
from typing import Any

import pytest

from tests.support.commands import CommandLine, dead_letter
from tests.support.manager_watch import COUNTER, see_other_manager
from tests.support.processes import PATIENCE, ROOT, Installation, configuration
from tests.support.world import POOL, World
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.keys import POOL_SLOTS

OTHER = "debian-12"
HEADINGS = ["POOL", "SIZE", "READY", "PENDING", "RUNNING", "FAILED/1H", "STATE", "DETAIL"]
NOBODY = "no beat is alive; no worker takes vmpooler.check and vmpooler.clone"
NOWHERE = "redis://127.0.0.1:1/0"


def managed(provider: str = "dummy", **options: Any) -> str:
    whole = json.loads(configuration(**{"manage_pools": True, **options}))
    whole[":providers"] = {provider: {}}
    whole[":pools"] = [{"name": POOL, "size": 5}, {"name": OTHER, "size": 2}]
    return json.dumps(whole)


@pytest.fixture
def pools(run: CommandLine, world: World) -> CommandLine:
    """The command on a database with something in every column."""
    run.environment["VMPOOLER_CONFIG"] = managed()
    for count, queue in enumerate((Queue.READY, Queue.PENDING, Queue.RUNNING, Queue.COMPLETED), start=1):
        for number in range(count):
            world.vm(queue, f"{queue}-{number}", 60)
    world.client.zadd(POOL_SLOTS.key, {"pending-0": world.now + 600})
    world.client.hset(keys.POOL_SIZES, OTHER, "7")
    for age, message in ((4000, "long ago"), (600, "template not found"), (60, "no space on the datastore")):
        dead_letter(world, "clone", age, vm=f"v-{age}", pool=POOL, error_class="E", error_message=message)
    return run


def test_a_table_shows_how_each_pool_stands(pools: CommandLine) -> None:
    result = pools("pools")
    assert (result.status, result.err) == (0, "")
    heading, _, first, second = result.out.splitlines()
    assert re.split(r"  +", heading) == HEADINGS
    assert re.split(r"  +", first) == [POOL, "5", "1", "2", "3", "2", "short by 4, not moving", NOBODY]
    assert re.split(r"  +", second) == [OTHER, "7", "0", "0", "0", "0", "short by 7, not moving", NOBODY]


def test_machines_get_the_same(pools: CommandLine) -> None:
    first, second = pools.json("pools")
    assert first == {
        "pool": POOL,
        "brake": "",
        "state": "stalled",
        "since": None,
        "until": None,
        "why": NOBODY,
        "size": 5,
        "ready": 1,
        "pending": 2,
        "cloning": 1,
        "running": 3,
        "completed": 4,
        "failures": 2,
        "failures_seconds": 3600.0,
        "last_error": "",
        "last_error_at": None,
        "last_failure": "no space on the datastore",
        "provider": "dummy",
        "provider_closed_until": None,
        "pool_closed_until": None,
    }
    assert (second["pool"], second["size"], second["last_failure"]) == (OTHER, 7, "")


def row_of(pools: CommandLine, pool: str = POOL) -> list[str]:
    """Return the cells of a pool's row."""
    [row] = [line for line in pools("pools").out.splitlines() if line.startswith(pool)]
    return re.split(r"  +", row)


def test_a_suspended_provider_is_shown_with_how_long_and_its_last_error(pools: CommandLine, world: World) -> None:
    error = {"failures": 5, "open_until": world.now + 3600, "error": "no route to host", "error_at": world.now - 120}
    world.client.hset(keys.breaker("dummy"), mapping=error)
    *_, state, detail = row_of(pools, OTHER)
    assert re.fullmatch(r"suspended for (59m \d+s|1h) more", state)
    assert re.fullmatch(
        r"provider dummy failed repeatedly, or hung\. Last error: no route to host \(2m( \d+s)? ago\)", detail
    )
    world.client.hset(keys.breaker("dummy"), mapping={"open_until": world.now - 1})
    assert row_of(pools)[-2] == "suspended until a clone succeeds"


def test_after_a_fix_an_error_is_shown_as_the_last_one(pools: CommandLine, world: World) -> None:
    world.client.hset(keys.POOL_SIZES, POOL, "1")
    error = {"error": "template not found", "error_at": world.now - 120}
    world.client.hset(keys.pool_breaker(POOL), mapping=error)
    *_, state, detail = row_of(pools)
    assert state == "full"
    assert re.fullmatch(r"last error, 2m( \d+s)? ago: template not found", detail)


def test_a_paused_pool_is_shown_with_who_and_why(pools: CommandLine) -> None:
    pools("pools", "drain", POOL, "--why", "new disks")
    *_, state, detail = row_of(pools)
    assert re.fullmatch(r"draining for \d+s", state)
    assert re.fullmatch(r"by \S+: new disks", detail)


def test_without_any_pool_it_says_so(run: CommandLine) -> None:
    run.environment["VMPOOLER_CONFIG"] = json.dumps({":config": {"dlq_enabled": True}})
    assert run("pools").out == "No pools: none is configured, and no VMPooler has registered one.\n"
    assert run.json("pools") == []


def test_beside_a_vmpooler_its_registered_pools_are_shown(run: CommandLine, world: World) -> None:
    run.environment["VMPOOLER_CONFIG"] = json.dumps({":config": {"dlq_enabled": True}})
    world.client.sadd(keys.POOLS, "theirs")
    world.client.hset(keys.pool("theirs"), "size", "9")
    *_, row = run("pools").out.splitlines()
    assert re.split(r"  +", row)[:2] == ["theirs", "9"]
    assert re.split(r"  +", row)[-1] == "empty: short by 9"


def test_it_fits_a_terminal_of_eighty_columns(pools: CommandLine) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", pools.on_terminal("pools", columns=80).out).splitlines()
    assert max(map(len, shown)) <= 80
    assert "no beat is alive" in "".join(shown)


def test_text_from_redis_cannot_forge_a_line(run: CommandLine, world: World) -> None:
    dead_letter(world, "clone", 60, vm="v", pool=POOL, error_class="E", error_message="x\n! provider forged\x1b[2J")
    shown = run("pools").out
    assert "\x1b" not in shown
    assert not any(line.startswith("!") for line in shown.splitlines())


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_shows_it_again_until_ctrl_c(pools: CommandLine, as_json: bool) -> None:
    with pools.started("pools", "--watch", *(["--json"] if as_json else [])) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        for _ in range(0 if as_json else 3):
            process.stdout.readline()
        assert process.stdout.readline() == first, "again"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    if as_json:
        assert [row["pool"] for row in json.loads(first)] == [POOL, OTHER]


def test_without_redis_it_names_its_address_in_one_line(pools: CommandLine) -> None:
    for typed in ("pools", "pools --watch", "pools --json"):
        result = pools(*typed.split(), REDIS_URL=NOWHERE)
        assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
        assert re.fullmatch(r"vmpooler-tasks: Redis does not reply: redis://127\.0\.0\.1:1/0: [^\n]+\n", result.err)


# --- what is told before anything starts -----------------------------------------------------------------------------


def test_config_check_shows_the_pool_manager(run: CommandLine) -> None:
    shown = run("config", "check", VMPOOLER_CONFIG=managed(task_limit=25, check_loop_delay_min=2.5))
    assert shown.status == 0
    assert (
        "  pool manager: on, a check every 2.5 s, 25 clones at once for pools and 10 for requests"
        in shown.out.splitlines()
    )
    assert "  pool manager: off" in run("config", "check").out.splitlines()


def test_config_check_tries_the_providers_and_tells_all_that_is_wrong_with_them(run: CommandLine) -> None:
    whole = json.loads(managed())
    whole[":providers"] = {"dummy": {"no_such_option": 1, "no_ip": 2}, "gce": {}}
    whole[":pools"] = [{"name": POOL, "provider": "dummy"}, {"name": OTHER, "provider": "gce"}]
    (run.folder / "mine.yaml").write_text(json.dumps(whole))
    result = run("config", "check", "mine.yaml")
    assert (result.status, result.out) == (os.EX_CONFIG, "")
    first, *lines = result.err.splitlines()
    assert first == "vmpooler-tasks: 3 problems in mine.yaml"
    assert [line.split(": ")[0] for line in lines] == [
        "  providers.dummy.no_ip",
        "  providers.dummy.no_such_option",
        "  providers.gce",
    ]
    told = run.json("config", "check", "mine.yaml", status=os.EX_CONFIG)
    assert told == {"source": "mine.yaml", "valid": False, "problems": [line.strip() for line in lines]}
    whole[":config"]["manage_pools"] = False
    (run.folder / "mine.yaml").write_text(json.dumps(whole))
    assert run("config", "check", "mine.yaml").status == 0


def test_config_check_of_vmpoolers_own_example_names_what_has_no_effect(run: CommandLine) -> None:
    example = str(ROOT / "tests" / "data" / "vmpooler" / "examples" / "vmpooler.yaml.dummy-example")
    checked = run.json("config", "check", example, MANAGE_POOLS="true")
    assert [entry["option"] for entry in checked["without_effect"]] == ["config.logfile", "providers.dummy.filename"]
    assert checked["warnings"][:2] == [
        f"{entry['option']}: has no effect here, because {entry['because']}" for entry in checked["without_effect"]
    ]
    shown = run("config", "check", example)
    assert "  only VMPooler's own manager reads: config.logfile, providers.dummy.filename" in shown.out.splitlines()
    assert not any("config.logfile" in line for line in shown.out.splitlines() if line.startswith("!"))
    assert "None" not in run("--config", example, "config", "show").out


MISSING = re.compile(
    r"vmpooler-tasks: 1 problem in VMPOOLER_CONFIG\n"
    r"  providers\.gce: no provider 'gce' is installed \(installed: [\w, ]+\); "
    r"install its package, e\.g\. pip install vmpooler-tasks-gce\n"
)


@pytest.mark.slow
def test_a_worker_without_its_provider_does_not_start_and_says_what_to_install(installation: Installation) -> None:
    installation.environment["VMPOOLER_CONFIG"] = managed("gce")
    worker = installation.celery("-A", "vmpooler_tasks", "worker", name="worker", app=()).start()
    assert worker.exit_status() == os.EX_CONFIG
    assert MISSING.search(worker.log)
    assert "Traceback" not in worker.log


@pytest.mark.slow
def test_a_worker_whose_provider_does_not_load_does_not_start(installation: Installation) -> None:
    whole = json.loads(managed())
    whole[":providers"]["dummy"] = {"no_such_option": 1}
    installation.environment["VMPOOLER_CONFIG"] = json.dumps(whole)
    worker = installation.celery("-A", "vmpooler_tasks", "worker", name="worker", app=()).start()
    assert worker.exit_status() == os.EX_CONFIG
    assert "  providers.dummy.no_such_option: unknown option\n" in worker.log


@pytest.mark.slow
def test_a_worker_whose_provider_cannot_be_imported_names_its_package(installation: Installation) -> None:
    info = installation.folder / "packages" / "vmpooler_tasks_broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vmpooler-tasks-broken\nVersion: 1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[vmpooler_tasks.providers]\nbroken = no_such_module:make\n", encoding="utf-8"
    )
    installation.environment |= {"PYTHONPATH": str(info.parent), "VMPOOLER_CONFIG": managed("broken")}
    worker = installation.celery("-A", "vmpooler_tasks", "worker", name="worker", app=()).start()
    assert worker.exit_status() == os.EX_CONFIG
    assert re.search(
        r"  providers\.broken: provider 'broken' of vmpooler-tasks-broken \(no_such_module:make\) cannot be imported: "
        r"ModuleNotFoundError: [^\n]+; install the package and its dependencies again, "
        r"e\.g\. pip install --upgrade vmpooler-tasks-broken\n",
        worker.log,
    )


@pytest.mark.slow
@pytest.mark.parametrize("given", [True, False])
def test_run_without_its_provider_starts_nothing(run: CommandLine, given: bool) -> None:
    if not given:
        del run.environment["REDIS_URL"]
    result = run("run", VMPOOLER_CONFIG=managed("gce"), OBSERVE_ONLY="false")
    assert (result.status, result.out) == (os.EX_CONFIG, "")
    assert MISSING.fullmatch(result.err)


@pytest.mark.slow
def test_where_pools_are_not_managed_a_provider_that_is_not_there_is_nobodys_business(
    installation: Installation,
) -> None:
    installation.environment["VMPOOLER_CONFIG"] = managed("gce", manage_pools=False)
    assert "[*] [config] pool manager: off" in installation.worker("-P", "threads").log


# --- health ----------------------------------------------------------------------------------------------------------


def test_health_explains_another_manager_and_a_suspended_provider(pools: CommandLine, world: World) -> None:
    world.client.hset(keys.breaker("dummy"), mapping={"failures": 5, "open_until": world.now + 3650})
    see_other_manager(world.client)
    result = pools("health")
    assert result.status == 2
    told, suspended = result.out.splitlines(), "provider dummy is suspended after 5 failures in a row"
    for found, remedy in (
        (
            f"  unhealthy: {suspended}. The last error is not known. Next attempt in 60 min",
            "    → fix the provider; `vmpooler-tasks pools retry --provider dummy` tries it at once",
        ),
        (
            f"  degraded: another pool manager uses this Redis: these workers do nothing. Last seen: {COUNTER}",
            "    → stop VMPooler's manager, or set manage_pools: false here",
        ),
    ):
        assert told[told.index(found) + 1] == remedy
    codes = {one["code"]: one for one in pools.json("health", status=2)["reasons"]}
    assert codes["breaker_open"]["provider"] == "dummy"
    assert "other_manager" in codes


@pytest.mark.slow
def test_a_worker_that_meets_another_manager_does_nothing_and_says_so(installation: Installation, world: World) -> None:
    installation.environment["VMPOOLER_CONFIG"] = managed()
    worker = installation.worker("-P", "threads")
    for line in ("Watching for another pool manager for 10 seconds", "Not made by these workers"):
        installation.call("vmpooler_tasks.check_pools")
        worker.says(f"[pools] {line}")
        world.client.incr("vmpooler__tasks__clone")
    installation.call("vmpooler_tasks.check_pools")
    worker.says("[!] [pools] Another pool manager is at work on this Redis: these workers do nothing until")
    published = {b"vmpooler__health", b"vmpooler__config"}  # the latter at the start, before there was any trace
    assert set(world.client.keys("vmpooler__*")) - published == {b"vmpooler__tasks__clone"}
    assert world.client.get("vmpooler__tasks__clone") == b"2"
