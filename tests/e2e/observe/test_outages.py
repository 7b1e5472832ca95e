"""An outage of Redis is one line when it starts and one when it ends, in the log of every process."""

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import deployment
from tests.support.days_work import SIZE, managed, ready
from tests.support.ports import free_port
from tests.support.processes import Installation, Process, until
from tests.support.sentinels import watched
from tests.support.servers import running
from vmpooler_tasks.store import Database

pytestmark = [pytest.mark.stage(name="lifecycle"), pytest.mark.timeout(600)]

START = re.compile(r"(?:\[!\] \[redis\] .*|vmpooler-tasks: )Redis does not reply: ")
"""How a process logs that an outage starts. A task that failed meanwhile has the same words in a line of its own."""
END = re.compile(r"Redis replies again, after ")
OF_AN_OUTAGE = re.compile(
    r"Redis does not reply|Redis replies again|[Cc]onnection|Cannot connect|Connected to|[Rr]estoring|Error \d+|"
    r"StoreUnavailableError|prefetch|In Celery 5.1|Failed to capture|Couldn't|AttributeError|NoneType"
)
MORE = {
    "prefork": "celery -A vmpooler_tasks worker --loglevel INFO -n all@%h -c 2",
    "a child a task": "celery -A vmpooler_tasks worker --loglevel INFO -n single@%h -c 2 --max-tasks-per-child 1",
    "pools --watch": "vmpooler-tasks pools --watch",
    "health --watch": "vmpooler-tasks health --watch",
}


def started(installation: Installation) -> dict[str, Process]:
    """Start every process of Procfile, and others, and return them when they are connected."""
    installation.environment |= {
        "VMPOOLER_CONFIG": managed(health_check_interval=30, purge_interval=30),
        "FLOWER_BASIC_AUTH": "operator:a long password",
        "WEB_PORT": str(free_port()),
    }
    lines = {line.where: line.here() for line in deployment.procfile()}
    lines |= {name: command.split() for name, command in MORE.items()}
    found = {name: installation.start_literally(words, name.replace(" ", "-")) for name, words in lines.items()}
    for name, process in found.items():
        if "worker" in process.command:
            process.says(" ready.")
        elif "flower" in name:
            process.says("Connected to")
        elif "--watch" in name:
            process.says("centos-7")
    found["Procfile web"].says("Serving")
    found["Procfile beat"].says("Sent")
    return found


def is_balanced(process: Process) -> bool:
    """Whether each outage that the process has logged has ended."""
    log = process.log
    return len(START.findall(log)) == len(END.findall(log))


def check_an_outage(processes: dict[str, Process], start: Callable[[], object], end: Callable[[], object]) -> None:
    """Let Redis be gone until all processes have said so, and check that they said it once, and its end once."""
    begins = {name: len(process.log) for name, process in processes.items()}

    def all_say(line: re.Pattern[str]) -> None:
        for name, process in processes.items():
            until(
                lambda: line.search(process.log, begins[name]),  # noqa: B023 - called at once
                lambda: f"{name} says {line.pattern}: {process.log[-3000:]}",  # noqa: B023
            )

    start()
    all_say(START)
    end()
    all_say(END)
    for name, process in processes.items():
        lines = [line for line in process.log[begins[name] :].splitlines() if OF_AN_OUTAGE.search(line)]
        told = [line for line in lines if "could not be kept" not in line]  # the log is the last place that keeps it
        assert len(told) == 2, f"{name}: " + "\n".join(told)
        assert "Traceback" not in process.log, (name, process.log[-4000:])
        assert process.running, name


@pytest.mark.parametrize("kind", ["killed", "frozen"])
def test_a_redis_that_is_gone_is_two_lines(kind: str, tmp_path: Path) -> None:
    with running("valkey", tmp_path, ("--appendonly", "yes")) as server, Installation(server.url, tmp_path) as own:
        database = Database(server.url)
        processes = started(own)
        until(lambda: ready(database) == SIZE, "the pool is full")
        if kind == "killed":
            check_an_outage(processes, server.kill, server.start)
        else:
            check_an_outage(processes, server.freeze, server.thaw)
        until(lambda: ready(database) == SIZE, "the pool is full again")
        database.close()


def test_a_failover_is_two_lines_in_each_process_that_notices_it(tmp_path: Path) -> None:
    with watched(tmp_path) as site, Installation(site.url, tmp_path) as own:
        processes = started(own)
        site.master.kill()
        until(lambda: site.current == site.replica.port, "the replica is the master")
        for name, process in processes.items():
            if "worker" in process.command:
                until(lambda: END.search(process.log), f"{name} says that Redis replies again")  # noqa: B023 - called at once
            until(functools.partial(is_balanced, process), f"{name} says that it has ended: {process.log_file}")
            assert len(START.findall(process.log)) <= 1, (name, process.log[-4000:])
            assert "Traceback" not in process.log, (name, process.log[-4000:])
            assert "AttributeError" not in process.log, name
            assert process.running, name
