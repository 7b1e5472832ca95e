"""The original guide on `make run`: its scenarios and troubleshooting, each command verbatim, with what it shows."""

import re

import pytest
import yaml

from tests.support import guide
from tests.support.first_minutes import FirstMinutes
from tests.support.processes import until
from tests.support.shell import watched
from vmpooler_tasks.local.sample import ERRORS, FAILED_REQUEST

pytestmark = [pytest.mark.timeout(600), pytest.mark.stage(name="documents")]

FOLLOWING = 'tail -f vmpooler.log | grep "purge.*dry-run"'
SECTIONS = [
    "Scenario 1: Investigating Failed VM Requests",
    "Scenario 2: Queue Backup",
    "Scenario 3: High DLQ Size",
    "DLQ Not Capturing Failures",
    "Health Check Not Updating",
    "Metrics Not Appearing",
]
SHOWN = {
    f'redis-cli ZRANGE vmpooler__dlq__pending 0 -1 | grep "{FAILED_REQUEST}"': rf'"request_id":"{FAILED_REQUEST}"',
    f'redis-cli ZRANGE vmpooler__dlq__clone 0 -1 | grep "{FAILED_REQUEST}"': rf'"request_id":"{FAILED_REQUEST}"',
    f'redis-cli ZRANGE vmpooler__dlq__clone 0 -1 | grep "{FAILED_REQUEST}" | jq .': re.escape(ERRORS[0][1]),
    "redis-cli HGET vmpooler__health status": r"\A(healthy|degraded|unhealthy)\n\Z",
    "redis-cli HGET vmpooler__health stuck_vm_count": r"\A\d+\n\Z",
    "redis-cli ZREVRANGE vmpooler__dlq__clone 0 9": r"\A(\{.*\}\n){9,10}\Z",
    "redis-cli ZCARD vmpooler__dlq__pending": r"\A[1-9]\d*\n\Z",
    "redis-cli ZCARD vmpooler__dlq__clone": r"\A[1-9]\d*\n\Z",
    "redis-cli ZRANGE vmpooler__dlq__clone 0 -1 | jq -r '.error_message' | sort | uniq -c | sort -rn": (
        rf" +\d+ {re.escape(ERRORS[1][1])}\n"
    ),
    "redis-cli HGET vmpooler__config dlq_enabled": r"\Atrue\n\Z",
    "redis-cli PING": r"\APONG\n\Z",
    "redis-cli HGET vmpooler__health last_check": r"\A20\d\d-\d\d-\d\dT.*Z\n\Z",
    # In any order: a hash has none.
    "redis-cli HGETALL vmpooler__health": r"(?s)\A(?=.*\bstatus\n)(?=.*\blast_check\n)(?=.*\bmetrics\n\{)",
}
"""What a command must show. The one that is not here shows something only while a VM is in pending."""


def commands_of(section: str) -> list[str]:
    return [command.text for command in guide.commands(guide.TEXT) if command.section == section]


def test_every_command_of_the_scenarios_is_run_here() -> None:
    named = {
        command.section
        for command in guide.commands(guide.TEXT)
        if command.section.startswith("Scenario") or "Not" in command.section
    }
    assert named == {*SECTIONS, "Scenario 4: Testing Configuration Changes"}
    typed = {text for section in SECTIONS for text in commands_of(section)}
    assert set(SHOWN) <= typed
    assert [text for text in typed - set(SHOWN) if "SMEMBERS vmpooler__pending" not in text] == []


@pytest.mark.parametrize("section", SECTIONS)
def test_section(first_minutes: FirstMinutes, section: str) -> None:
    first_minutes.shell.type(". .vmpooler-tasks/env")
    assert commands_of(section)
    for command in commands_of(section):
        status, printed = first_minutes.shell.type(command)
        assert status == 0, f"{command}: {printed}"
        assert re.search(SHOWN.get(command, ""), f"{printed.rstrip()}\n"), f"{command}: {printed}"


@pytest.mark.parametrize(
    "line", ["[*] [purge] Starting stale queue entry purge cycle", "[*] [health] Status: HEALTHY | Queues: P="]
)
def test_lines_of_the_troubleshooting_are_in_the_log(first_minutes: FirstMinutes, line: str) -> None:
    file = first_minutes.make.folder / "vmpooler.log"
    until(lambda: line in file.read_text(encoding="utf-8"), line)


def test_alerts_of_scenario_5_find_their_metrics(first_minutes: FirstMinutes) -> None:
    (rules,) = [
        yaml.safe_load(fence.text)
        for fence in guide.fences(guide.TEXT)
        if fence.section.startswith("Scenario 5") and fence.language == "yaml"
    ]
    assert len(rules) == 3
    first_minutes.shell.type(". .vmpooler-tasks/env")
    for rule in rules:
        metric = rule["expr"].split()[0]
        fetch = f'curl -s -u "$VMPOOLER_WEB_LOGIN" "$VMPOOLER_WEB/metrics" | grep "^{metric}[ {{]"'
        status, printed = first_minutes.shell.type(fetch)
        assert status == 0, f"{metric}: {printed}"


def test_a_redrive_runs_dead_letters_again_and_one_fails_again(first_minutes: FirstMinutes) -> None:
    shell = first_minutes.shell
    shell.type(". .vmpooler-tasks/env")
    status, printed = shell.type("vmpooler-tasks dlq redrive --queue tasks --until 1h --yes --json")
    assert status == 0, printed
    assert re.search(r'"redriven": 3\b', printed), printed

    def failed_again() -> bool:
        _, listed = shell.type("vmpooler-tasks dlq list --queue tasks --json")
        return listed.count('"redrive_of"') == 1 and "centos-6-x86_64" in listed

    until(failed_again, "one of the three tasks failed again")


def test_scenario_4_dry_run_of_other_thresholds(first_minutes: FirstMinutes) -> None:
    """It stops the run: a configuration is read at the start. The database is kept for the next one."""
    section = "Scenario 4: Testing Configuration Changes"
    assert commands_of(section) == [FOLLOWING]
    (block,) = [text for heading, text in guide.configurations(guide.TEXT) if heading == section and "max_" in text]
    make = first_minutes.make
    file = make.folder / "deploy" / "demo.yaml"
    configuration = yaml.safe_load(file.read_text(encoding="utf-8"))
    configuration[":config"] |= {**guide.options(block), "purge_interval": 2}
    make.stop()
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    first_minutes.start()
    with watched(FOLLOWING, make.folder, make.environment) as screen:
        screen.until("[*] [purge][dry-run] Completed purge cycle in ")
