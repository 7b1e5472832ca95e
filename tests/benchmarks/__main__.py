"""`make bench`: cycles against a minimal client, clones against bare Celery, and what else docs/performance.md has.

It says what is measured, and how to read it.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import clones, document, hypervisor, measure, recorded, redaction, report, scrapes
from tests.benchmarks.rows import Figures, Row
from tests.benchmarks.target import Target, UnusableServerError, open_target
from tests.simulation import measure as scale
from tests.simulation import messages
from tests.support.servers import KINDS
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.store.redis import server

STATES = ((1_000, 10), (10_000, 10), (100_000, 10), (100_000, 1))
"""(VMs, pools)"""

RUNS = 5

SMALL = {"vms": [200], "pools": [2], "runs": 1, "clones": 40, "clone_seconds": 0.5, "workers": [1, 2]}
"""The sizes of CI, which compares counts and no times."""


class Bench(NamedTuple):
    """What a measurement needs."""

    target: Target
    args: argparse.Namespace
    folder: Path

    @property
    def runs(self) -> int:
        return int(self.args.runs)


class Measurement(NamedTuple):
    """One part: `key` is the name of its figures in the JSON, from which `rows` makes rows."""

    key: str
    measure: Callable[[Bench], Any]
    rows: Callable[[Any], Iterable[Row]]


def _cycles(bench: Bench) -> list[Figures]:
    return [
        measure.measure_state(bench.target, vms, pools, bench.runs, bench.folder / f"{vms}-in-{pools}", _print_line)
        for vms, pools in _states(bench.args.vms, bench.args.pools)
    ]


def _clones(bench: Bench) -> Figures:
    count, seconds = bench.args.clones, bench.args.clone_seconds
    sizes = clones.Sizes(
        messages=count,
        in_flight=min(500, count),
        in_flight_seconds=seconds,
        scaled=min(200, count),
        scaled_seconds=min(1.0, seconds),
    )
    return clones.measure_clones(bench.target, sizes, bench.runs, bench.folder, _print_line)


def _providers(bench: Bench) -> list[Figures]:
    args = bench.args
    scale = hypervisor.Scale(
        inventory=(args.vms or [2500])[0], in_flight=min(100, args.clones), seconds=min(5.0, args.clone_seconds)
    )
    return hypervisor.measure_hypervisors(bench.target, scale, bench.folder, _print_line)


def _scale(bench: Bench) -> list[Figures]:
    return scale.measure_scale(bench.target, bench.args.pools or scale.POOLS, bench.folder, _print_line)


def _messages(bench: Bench) -> list[Figures]:
    sizes = messages.Sizes(min(messages.MESSAGES, bench.args.clones), bench.args.workers)
    return messages.measure_messages(bench.target, sizes, bench.folder, _print_line)


def _simply(function: Callable[[Target, int, Path, Callable[[str], None]], Any]) -> Callable[[Bench], Any]:
    """Return a measurement that has no sizes."""
    return lambda bench: function(bench.target, bench.runs, bench.folder, _print_line)


MEASUREMENTS = {
    "cycles": Measurement("states", _cycles, measure.cycle_rows),
    "dead letters": Measurement("dead_letters", _simply(measure.measure_dead_letters), measure.dead_letter_rows),
    "scrape": Measurement("scrapes", _simply(scrapes.measure_scrapes), scrapes.rows),
    "redaction": Measurement(
        "redaction", lambda bench: redaction.measure_redaction(bench.runs, _print_line), redaction.rows
    ),
    "clones": Measurement("clones", _clones, clones.rows),
    "scale": Measurement("scale", _scale, scale.rows),
    "messages": Measurement("messages", _messages, messages.rows),
    "providers": Measurement("hypervisors", _providers, hypervisor.rows),
}
"""The parts of tests/benchmarks/parts.py, in the order in which they are measured."""

ONLY_IF_NAMED = ("providers", "scale", "messages")
"""The first needs Go and govmomi's library, the others take many minutes."""


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if args.small:
        parser.set_defaults(**SMALL)
        args = parser.parse_args()
    if args.server == "redis" and not args.url and not shutil.which("redis-server"):
        parser.error("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="vmpooler-bench-") as folder:
        try:
            with open_target(args.server, args.url, Path(folder)) as target:
                result = _measure(target, args, Path(folder))
        except (UnusableServerError, VmpoolerTasksError) as error:
            sys.exit(f"benchmarks: {error}")
    report.show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if args.document:
        document.keep(result)
    _compare([Row.from_json(fields) for fields in result["rows"]], args)


def _measure(target: Target, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return {machine, runs, the figures of each part by its key, rows}."""
    result: dict[str, Any] = {"machine": _machine(target), "runs": args.runs}
    rows = list[Row]()
    for part, measurement in MEASUREMENTS.items():
        if _name(part) in args.only if args.only else part not in ONLY_IF_NAMED:
            figures = measurement.measure(Bench(target, args, folder / measurement.key))
            result[measurement.key] = figures
            rows += measurement.rows(figures)
    return {**result, "rows": [row.as_json() for row in rows]}


def _compare(rows: Sequence[Row], args: argparse.Namespace) -> None:
    """Compare with the recorded counts or record them, as ordered. The exit status is 1 if a count has grown."""
    if args.record:
        recorded.write(rows)
    if args.compare:
        before = recorded.read()
        for name in recorded.unrecorded(rows, before):
            _print_line(f"benchmarks: {name} has no record; --record writes it")
        if differences := recorded.compare(rows, before):
            sys.exit("\n".join(f"benchmarks: {difference}" for difference in differences))


def _machine(target: Target) -> dict[str, Any]:
    facts = server.facts(target.db)
    return {
        "server": f"{facts.product} {'.'.join(map(str, facts.version))}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("redis", "hiredis", "celery")},
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.platform(),
        "load_average": os.getloadavg()[0],
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _states(vms: Sequence[int] | None, pools: Sequence[int] | None) -> Sequence[tuple[int, int]]:
    if not vms and not pools:
        return STATES
    return [(size, count) for size in vms or (100_000,) for count in pools or (10,)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--server", choices=KINDS, default="valkey", help="which server to start (default: valkey)")
    parser.add_argument("--url", help="measure on this server instead; it must be empty, and is emptied at the end")
    parser.add_argument("--vms", type=int, nargs="+", metavar="N", help="so many VMs instead of the usual sizes")
    parser.add_argument("--pools", type=int, nargs="+", metavar="N", help="in so many pools (default: 10)")
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"rounds at each size (default: {RUNS})")
    parser.add_argument(
        "--only",
        choices=[_name(part) for part in MEASUREMENTS],
        nargs="+",
        help="parts; providers, scale and messages only if they are named",
    )
    parser.add_argument("--clones", type=int, default=3000, metavar="N", help="so many messages (default: 3000)")
    parser.add_argument(
        "--clone-seconds", type=float, default=30.0, metavar="N", help="of 500 clones in flight at once (default: 30)"
    )
    parser.add_argument(
        "--workers", type=int, nargs="+", default=messages.WORKERS, metavar="N", help="so many workers for messages"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file as well")
    parser.add_argument("--document", action="store_true", help="write tables and plots into docs/performance.md")
    parser.add_argument("--small", action="store_true", help="the sizes of CI; options beside it change them")
    parser.add_argument("--compare", action="store_true", help="with --small: fail if a recorded count has grown")
    parser.add_argument("--record", action="store_true", help="with --small: record the counts")
    return parser


def _name(part: str) -> str:
    """Return how a part is named on the command line."""
    return part.replace(" ", "-")


def _print_line(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
