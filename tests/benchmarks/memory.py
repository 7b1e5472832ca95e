"""The server's memory for dead letters, VMs and the history of health: `python -m tests.benchmarks.memory`.

The figures stand in the operator guide, under "Capacity".
"""

import argparse
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks import states
from tests.benchmarks.target import Target, open_target
from tests.support.servers import KINDS
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.model.deadletters.bounds import MAX_TEXT_BYTES
from vmpooler_tasks.model.deadletters.entry import DeadLetter, RequestOrigin, dead_letter_id, failed_vm
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store.deadletters.push import push
from vmpooler_tasks.store.deadletters.trim import DeadLetterLimits
from vmpooler_tasks.store.redis import server

DEAD_LETTERS = 10_000
VMS = 10_000
POOLS = 10
CHECKS = 1_000
INTERVAL_SECONDS = 300
LIMITS = DeadLetterLimits(ttl_seconds=168 * 3600, max_entries=DEAD_LETTERS)
DEPTH = 6
"""Frames of a traceback: as many as a task has in Celery, this project and a provider."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.memory", description=__doc__)
    parser.add_argument("--server", choices=KINDS, default="valkey", help="which server to start (default: valkey)")
    kind = parser.parse_args().server
    with tempfile.TemporaryDirectory(prefix="vmpooler-bench-") as folder, open_target(kind, None, Path(folder)) as own:
        facts = server.facts(own.db)
        print(f"{facts.product} {'.'.join(map(str, facts.version))}, MiB of used_memory")
        for what, make in (("VMs", _of_vm), ("tasks", _of_task), ("VMs, longest message", _of_long_message)):
            size = len(make(0, time.time()).member().encode())
            print(f"{DEAD_LETTERS} dead letters of {what}, {size} bytes each: {_of_dead_letters(own, make):.1f}")
        state = states.make(VMS, POOLS, Path(folder) / "state")
        own.empty()
        empty = _used(own)
        state.load(own)
        print(f"{VMS} VMs in {POOLS} pools: {_used(own) - empty:.1f}")
        print(f"{CHECKS} health checks of {POOLS} pools: {_of_checks(own, state):.2f}")


def _used(target: Target) -> float:
    return target.used_memory() / 2**20


def _of_dead_letters(target: Target, make: Callable[[int, float], DeadLetter]) -> float:
    """Push dead letters one by one, as failures do; the first one loads the script."""
    now = time.time()
    target.empty()
    push(target.db, DeadLetterQueue.READY, make(0, now), now=now, limits=LIMITS)
    begin = _used(target)
    for number in range(DEAD_LETTERS):
        push(target.db, DeadLetterQueue.CLONE, make(number, now), now=now, limits=LIMITS)
    return _used(target) - begin


def _of_checks(target: Target, state: states.State) -> float:
    """Measure all checks but the first, which also creates single keys."""
    settings = load_settings(file=state.config)
    health_check.run(target.db, settings, lambda: state.now, forced=True)
    begin = _used(target)
    for number in range(1, CHECKS):
        health_check.run(target.db, settings, partial(float, state.now + number * INTERVAL_SECONDS), forced=True)
    return (_used(target) - begin) * CHECKS / (CHECKS - 1)


def _of_vm(number: int, now: float, message: str = "template centos-7-template does not exist") -> DeadLetter:
    return failed_vm(
        queue=DeadLetterQueue.CLONE,
        vm=f"pooler-happy-elephant-{number}".encode(),
        pool="centos-7-x86_64",
        error_class="StandardError",
        error_message=message,
        now=now - number,
        identity=str(number).encode(),
        origin=RequestOrigin(request_id=f"req-abc{number}".encode(), pool_alias=b"centos-7", retry_count=3),
    )


def _of_long_message(number: int, now: float) -> DeadLetter:
    return _of_vm(
        number, now, "".join(f"what the provider said about {number}, line {line}; " for line in range(MAX_TEXT_BYTES))
    )


def _of_task(number: int, now: float) -> DeadLetter:
    vm = f"pooler-happy-elephant-{number}"
    return DeadLetter(
        vm=vm,
        pool="centos-7-x86_64",
        queue_from=DeadLetterQueue.TASKS,
        error_class="RuntimeError",
        error_message="failed to read the provider's answer",
        failed_at=iso_utc(now - number),
        retry_count=3,
        id=dead_letter_id(DeadLetterQueue.TASKS, number),
        task="vmpooler_tasks.check_ready_vm",
        task_id=f"4f1c9a52-6f57-4c1e-9b2c-{number:012d}",
        args=[],
        kwargs={"vm": vm, "pool": "centos-7-x86_64"},
        traceback=TRACEBACK,
    )


def _traceback(depth: int) -> str:
    try:
        _fail(depth)
    except RuntimeError:
        return traceback.format_exc()
    raise AssertionError("it did not fail")


def _fail(depth: int) -> None:
    if depth:
        return _fail(depth - 1) if depth % 2 else _further(depth)
    raise RuntimeError("failed to read the provider's answer")


def _further(depth: int) -> None:
    """Add another frame: Python omits repeated ones."""
    _fail(depth - 1)


TRACEBACK = _traceback(DEPTH)


if __name__ == "__main__":
    main()
