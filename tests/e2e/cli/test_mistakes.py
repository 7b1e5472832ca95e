"""The command line's help, and how it answers mistakes: the exit status, and one line on stderr."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.support import servers
from tests.support.commands import PROGRAM, CommandLine, commands, dead_letter
from tests.support.processes import PATIENCE, configuration
from tests.support.world import POOL, World
from vmpooler_tasks import __version__
from vmpooler_tasks.cli import cli
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys

NOWHERE = "redis://:s3cr3t@127.0.0.1:1/0"

COMMANDS = {
    "audit",
    "completion",
    "config check",
    "config hash",
    "config show",
    "dlq delete",
    "dlq export",
    "dlq list",
    "dlq show",
    "dlq stats",
    "doctor",
    "dlq redrive",
    "health",
    "pools",
    "pools drain",
    "pools pause",
    "pools adopt",
    "pools confirm",
    "pools keep",
    "pools resume",
    "pools retry",
    "purge",
    "request",
    "request list",
    "request show",
    "run",
    "web",
}


# --- help --------------------------------------------------------------------------------------------------------


def test_there_are_these_commands_and_no_others() -> None:
    assert {" ".join(words) for words, _ in commands()} == COMMANDS


@pytest.mark.parametrize("words", sorted(COMMANDS | {"", "dlq", "config"}))
def test_every_command_has_help_with_an_example(words: str) -> None:
    result = CliRunner().invoke(cli, [*words.split(), "--help"], prog_name="vmpooler-tasks")
    assert result.exit_code == 0
    assert re.search(rf"^  Example: .*vmpooler-tasks {words}", result.output, re.MULTILINE)
    assert "..." not in result.output.partition("Commands:")[2], "a summary is cut off"


@pytest.mark.parametrize("words", ["", "dlq", "config", "request"])
def test_a_group_without_a_command_shows_its_help(run: CommandLine, words: str) -> None:
    bare = run(*words.split(), REDIS_URL=NOWHERE)
    assert (bare.status, bare.err) == (0, "")
    assert bare.out == run(*words.split(), "--help").out


def test_status_is_another_name_of_health(run: CommandLine) -> None:
    assert json.loads(run("status", "--json").out).keys() == json.loads(run("health", "--json").out).keys()
    assert run("status", "--help").out.startswith("Usage: vmpooler-tasks status [OPTIONS]\n")
    assert "Did you mean 'status'?" in run("statsu").err


def test_help_needs_neither_redis_nor_a_valid_configuration(run: CommandLine) -> None:
    result = run("dlq", "list", "--help", REDIS_URL=NOWHERE, VMPOOLER_CONFIG="not: [valid")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("Usage: vmpooler-tasks dlq list [OPTIONS]\n")


@pytest.mark.parametrize(
    ("words", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else "-"
)
def test_the_example_in_a_commands_help_is_itself_valid(words: tuple[str, ...], command: click.Command) -> None:
    example = str(command.epilog).removeprefix("Example: ").partition(" > ")[0]
    arguments = [word for word in shlex.split(example) if not re.match("[A-Z_]+=", word)]
    assert tuple(arguments[1 : 1 + len(words)]) == words
    assert CliRunner().invoke(cli, [*arguments[1:], "--help"]).exit_code == 0


def test_every_command_that_ends_by_itself_prints_json_for_machines() -> None:
    without = {" ".join(words) for words, command in commands() if not any("--json" in p.opts for p in command.params)}
    assert without == {"completion", "run", "web"}


def test_the_version_is_the_packages(run: CommandLine) -> None:
    assert run("--version").out == f"vmpooler-tasks, version {__version__}\n"


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "command", "complaint"),
    [
        ("helth", "", "No such command 'helth'. Did you mean 'health'?"),
        ("dlq lst", "dlq", "No such command 'lst'. Did you mean 'list'?"),
        ("purge --dryrun", "purge", "No such option '--dryrun'. Did you mean '--dry-run'?"),
        ("dlq list --queue x", "dlq list", "Invalid value for '--queue': 'x' is not one of {queues}."),
        ("purge --pool centos-7", "purge", "Invalid value for --pool: no pool 'centos-7'; did you mean {pool}?"),
        ("purge --pool zzz", "purge", "Invalid value for --pool: no pool 'zzz'; there are {pool}"),
        ("health --history 5", "health", "Invalid value for '--history': '5' is not a duration; write {durations}"),
        ("dlq list --match [", "dlq list", "Invalid value for '--match': '[' is not a regular expression: {regex}"),
        ("dlq list --since soon", "dlq list", "Invalid value for '--since': 'soon' is not a time; write {times}"),
        ("dlq list --after nonsense", "dlq list", "Invalid value for --after: 'nonsense' is not a cursor"),
        ("dlq list --after nan:x", "dlq list", "Invalid value for --after: 'nan:x' is not a cursor"),
        ("health --history 2h --watch", "health", "--history shows past checks and cannot be combined with {neither}"),
        (
            "health --history 2h --no-check",
            "health",
            "--history shows past checks and cannot be combined with {neither}",
        ),
        ("dlq show", "dlq show", "Missing argument 'ID…'."),
        ("dlq delete", "dlq delete", "name ids or filters, or say --all"),
        ("dlq delete --queue tasks", "dlq delete", "queues alone are not enough: {more}"),
        ("dlq redrive --queue tasks", "dlq redrive", "queues alone are not enough: {more}"),
        ("dlq list --pool zzz", "dlq list", "Invalid value for --pool: no pool 'zzz'; there are {pool}"),
        (
            "dlq stats --pool centos-7",
            "dlq stats",
            "Invalid value for --pool: no pool 'centos-7'; did you mean {pool}?",
        ),
        ("request centos-7", "request", "there is no pool 'centos-7'; did you mean {pool}?"),
    ],
)
def test_a_mistake_is_answered_by_one_line_that_helps(
    run: CommandLine, typed: str, command: str, complaint: str
) -> None:
    program = f"vmpooler-tasks {command}".strip()
    allowed = {
        "queues": "'pending', 'clone', 'ready', 'tasks'",
        "pool": POOL,
        "more": "name ids or filters as well, or say --all",
        "neither": "--watch or --no-check",
        "durations": "90s, 15m, 24h or 7d",
        "regex": "unterminated character set at position 0",
        "times": "2024-01-15T10:30:00Z, or how long ago: 2h",
    }
    result = run(*typed.split())
    assert (result.status, result.out) == (os.EX_USAGE, "")
    assert result.err == f"{program}: {complaint.format(**allowed)} (see {program} --help)\n"


@pytest.mark.parametrize(
    "typed",
    [
        "health",
        "health --no-check",
        "health --history 2h",
        "purge",
        "purge --enqueue",
        "purge --pool x",
        "dlq list",
        "dlq stats",
        "dlq delete --all --yes",
        "dlq export",
        "audit",
        "request centos-7-x86_64",
        "request list",
        "request show x",
        "pools",
        "status",
        "config check --online",
        "run",
    ],
)
def test_without_redis_every_command_names_its_address_in_one_line(run: CommandLine, typed: str) -> None:
    result = run(*typed.split(), REDIS_URL=NOWHERE)
    assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
    assert re.fullmatch(r"vmpooler-tasks: Redis does not reply: redis://127\.0\.0\.1:1/0: [^\n]+\n", result.err)
    assert "s3cr3t" not in result.err


def test_doctor_without_redis_says_so_and_looks_no_further(run: CommandLine) -> None:
    result = run("doctor", REDIS_URL=NOWHERE)
    assert (result.status, result.err) == (os.EX_UNAVAILABLE, "")
    first, second, third = result.out.splitlines()
    assert first == "ok    configuration:   VMPOOLER_CONFIG is valid"
    assert second.startswith("fail  Redis:           Redis does not reply: redis://127.0.0.1:1/0: ")
    assert third.strip() == "→ check that it is running there; the address is from REDIS_URL or the :redis: section"


def test_a_wrong_password_is_said_and_not_shown(run: CommandLine, tmp_path: Path) -> None:
    with servers.running("valkey", tmp_path / "locked", password="right") as locked:
        for password in ("wr0ng", ""):
            url = locked.url.replace(":right@", f":{password}@" if password else "")
            result = run("dlq", "list", REDIS_URL=url)
            assert (result.status, result.out) == (os.EX_UNAVAILABLE, "")
            assert result.err.count("\n") == 1
            assert f"redis://127.0.0.1:{locked.port}/0: " in result.err
            assert re.search("invalid username-password" if password else ": it wants a password\n", result.err)
            assert "wr0ng" not in result.err


FIVE_MISTAKES = """\
:config:
  dlq_enabeld: true
  dlq_ttl: 0
  purge_interval: soon
  health_thresholds:
    stuck_vm_max_critcal: 5
:redis:
  port: 70000
"""
FIVE_LINES = [
    "config.dlq_enabeld: unknown option; did you mean dlq_enabled?",
    "config.dlq_ttl: 0 must be greater than 0",
    "config.purge_interval: 'soon' must be a number",
    "config.health_thresholds.stuck_vm_max_critcal: unknown option; did you mean stuck_vm_max_critical?",
    "redis.port: 70000 must be less than or equal to 65535",
]


@pytest.mark.parametrize("typed", ["health", "dlq list", "doctor", "run"])
def test_all_mistakes_of_a_configuration_are_told_before_anything_starts(run: CommandLine, typed: str) -> None:
    result = run(*typed.split(), VMPOOLER_CONFIG=FIVE_MISTAKES)
    expected = "\n  ".join(["vmpooler-tasks: 5 problems in VMPOOLER_CONFIG", *FIVE_LINES])
    assert (result.status, result.out, result.err) == (os.EX_CONFIG, "", expected + "\n")


def test_config_check_tells_all_mistakes_of_a_file_to_machines_as_well(run: CommandLine) -> None:
    (run.folder / "mine.yaml").write_text(FIVE_MISTAKES)
    told = run.json("config", "check", "mine.yaml", status=os.EX_CONFIG)
    assert told == {"source": "mine.yaml", "valid": False, "problems": FIVE_LINES}


def test_config_check_of_a_valid_file_says_what_is_on(run: CommandLine) -> None:
    (run.folder / "mine.yaml").write_text(configuration(purge_enabled=False))
    result = run("config", "check", "mine.yaml")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[0] == "mine.yaml is valid."
    assert "  purge: off" in result.out.splitlines()
    assert "  dead letters: on, kept 168 h, at most 10000 and 64 MiB per queue" in result.out.splitlines()


def test_config_check_warns_and_is_strict_if_asked(run: CommandLine) -> None:
    (run.folder / "mine.yaml").write_text(configuration(dlq_enabled=False, dlq_ttl=5))
    warning = "config.dlq_ttl: has no effect, as dlq_enabled is false"
    result = run("config", "check", "mine.yaml")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[:2] == ["mine.yaml is valid, with 1 warning.", f"! {warning}"]
    assert run("config", "check", "mine.yaml", "--strict").status == os.EX_CONFIG
    found = run.json("config", "check", "mine.yaml", "--strict", status=os.EX_CONFIG)
    assert (found["valid"], found["problems"], found["warnings"]) == (True, [], [warning])


def test_config_check_online_compares_with_redis(run: CommandLine, world: World) -> None:
    assert run.json("config", "check", "--online", "--strict")["warnings"] == []
    world.client.sadd(keys.POOLS, "strange")
    unknown, unregistered = run.json("config", "check", "--online")["warnings"]
    assert unknown == "pools: 'strange' is registered in Redis and not configured: purge and health leave it out"
    assert unregistered == f"pools: no VMPooler has registered '{POOL}' in Redis: is it spelt as there?"
    gone = run("config", "check", "--online", REDIS_URL=NOWHERE)
    assert (gone.status, gone.out) == (os.EX_UNAVAILABLE, "")
    assert gone.err.startswith("vmpooler-tasks: Redis does not reply: redis://127.0.0.1:1/0: ")


def test_a_file_that_is_not_there_is_a_configuration_error(run: CommandLine) -> None:
    result = run("--config", "nowhere.yaml", "health")
    assert (result.status, result.out) == (os.EX_CONFIG, "")
    assert result.err == "vmpooler-tasks: 1 problem in nowhere.yaml\n  cannot be read: No such file or directory\n"


def test_a_key_of_the_wrong_type_is_one_line(run: CommandLine, world: World) -> None:
    world.client.set(keys.dead_letters(DeadLetterQueue.CLONE), "no sorted set")
    begins = "vmpooler-tasks: A key in Redis has the wrong type: vmpooler__dlq__clone: "
    for typed in ("dlq list --queue clone", "dlq stats --queue clone", "dlq delete --all --yes"):
        result = run(*typed.split())
        assert (result.status, result.out) == (os.EX_DATAERR, "")
        assert result.err.startswith(begins)
        assert result.err.count("\n") == 1


@pytest.mark.parametrize("typed", ["dlq list", "dlq stats", "dlq export", "dlq show id-1"])
def test_one_queue_of_the_wrong_type_hides_no_other_and_is_a_data_error(
    run: CommandLine, world: World, typed: str
) -> None:
    world.client.set(keys.dead_letters(DeadLetterQueue.PENDING), "no sorted set")
    dead_letter(world, "clone", 60, vm="vm-1", id="id-1", error_class="E", error_message="told")
    result = run(*typed.split())
    assert result.status == os.EX_DATAERR, "what was printed is not complete"
    assert "told" in result.out
    assert result.err.splitlines()[0] == (
        "vmpooler-tasks: left out, since it is not a sorted set: vmpooler__dlq__pending"
    )
    assert len(result.err.splitlines()) == (2 if typed == "dlq export" else 1)


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(run: CommandLine, world: World) -> None:
    for number in range(3000):
        dead_letter(world, "tasks", number, vm=f"vm-{number}", error_class="E", error_message="x" * 100)
    with run.started("dlq", "export") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["vm"] == "vm-0"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_full_disk_is_one_line(run: CommandLine) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [str(PROGRAM), "config", "show"],
            env=run.environment,
            cwd=run.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (os.EX_IOERR, b"vmpooler-tasks: No space left on device\n")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_that_cannot_be_written_is_one_line_and_counts_nothing(
    run: CommandLine, world: World, form: str
) -> None:
    dead_letter(world, "clone", 60, vm="vm-1", error_class="E", error_message="told")
    places = {"nowhere/letters": "No such file or directory"}
    if Path("/dev/full").exists():
        places["/dev/full"] = "No space left on device"
    for place, complaint in places.items():
        result = run("dlq", "export", "--format", form, "--output", place)
        assert (result.status, result.out) == (os.EX_IOERR, "")
        assert re.fullmatch(rf"vmpooler-tasks: ({place}: )?{complaint}\n", result.err)


def test_an_export_replaces_the_file_unless_redis_fails(run: CommandLine, world: World) -> None:
    file = run.folder / "letters.jsonl"
    file.write_text("the last export")
    assert run("dlq", "export", "--output", str(file), REDIS_URL=NOWHERE).status == os.EX_UNAVAILABLE
    assert file.read_text() == "the last export"
    assert run("dlq", "export", "--output", str(file)).err == "0 dead letters exported\n"
    assert file.read_text() == "", "nothing matches"


def configure_alias(run: CommandLine) -> None:
    """Configure three pools, two of them with the alias `linux`."""
    whole = json.loads(configuration(POOL, "debian-12", "other"))
    for pool in whole[":pools"][:2]:
        pool["alias"] = ["linux"]
    run.environment["VMPOOLER_CONFIG"] = json.dumps(whole)


def test_an_alias_selects_the_dead_letters_of_its_pools(run: CommandLine, world: World) -> None:
    configure_alias(run)
    for number, pool in enumerate((POOL, "debian-12", "other", "linux")):
        dead_letter(world, "clone", number, vm=pool, pool=pool, id=f"id-{number}", error_class="E", error_message="m")
    found = run.json("dlq", "list", "--pool", "linux")["entries"]
    assert [entry["vm"] for entry in found] == [POOL, "debian-12", "linux"]
    assert run.json("dlq", "delete", "--pool", "linux", "--dry-run")["found"] == 3
    assert run.json("dlq", "redrive", "--pool", "linux", "--dry-run")["selected"] == 3
    assert run.json("dlq", "stats", "--pool", "linux")["selected"] == {"pending": 0, "clone": 3, "ready": 0, "tasks": 0}


def test_a_purge_of_an_alias_covers_its_pools(run: CommandLine, world: World) -> None:
    configure_alias(run)
    for pool in (POOL, "debian-12", "other"):
        world.vm(Queue.PENDING, f"stale-{pool}", 3 * 3600.0, pool=pool)
    entries = run.json("purge", "--dry-run", "--pool", "linux", "--pool", "debian-12")["entries"]
    assert sorted(entry["pool"] for entry in entries) == sorted([POOL, "debian-12"])
