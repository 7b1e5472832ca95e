"""`make bench`: cycles and dead letters against a minimal client, clones against bare Celery.

docs/performance.md says what is measured, and how to read it.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks import report
from tests.benchmarks.clones import Sizes, measure_clones
from tests.benchmarks.hypervisor import Scale, measure_hypervisor
from tests.benchmarks.measure import measure_dead_letters, measure_state
from tests.benchmarks.redaction import measure_redaction
from tests.benchmarks.scrapes import measure_scrapes
from tests.benchmarks.target import Target, UnusableServerError, open_target
from tests.support.servers import KINDS
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.store.redis import server

STATES = ((1_000, 10), (10_000, 10), (100_000, 10), (100_000, 1))
"""(VMs, pools)"""

RUNS = 5

PARTS = ("cycles", "clones", "scrape", "redaction", "providers")


class Parts(NamedTuple):
    """The selected measurements."""

    states: Sequence[tuple[int, int]]
    clones: Sizes | None
    scrapes: bool
    redaction: bool
    hypervisor: Scale | None


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if args.server == "redis" and not args.url and not shutil.which("redis-server"):
        parser.error("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="vmpooler-bench-") as folder:
        try:
            with open_target(args.server, args.url, Path(folder)) as target:
                result = _measure(target, _parts(args), args.runs, Path(folder))
        except (UnusableServerError, VmpoolerTasksError) as error:
            sys.exit(f"benchmarks: {error}")
    report.show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _measure(target: Target, parts: Parts, runs: int, folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": _machine(target), "runs": runs}
    if parts.states:
        result["states"] = [
            measure_state(target, vms, pools, runs, folder / f"{vms}-in-{pools}", _print_line)
            for vms, pools in parts.states
        ]
        result["dead_letters"] = measure_dead_letters(target, runs, folder / "dead_letters", _print_line)
    if parts.scrapes:
        result["scrapes"] = measure_scrapes(target, runs, folder / "scrapes", _print_line)
    if parts.redaction:
        result["redaction"] = measure_redaction(runs, _print_line)
    if parts.clones:
        result["clones"] = measure_clones(target, parts.clones, runs, folder / "clones", _print_line)
    if parts.hypervisor:
        result["hypervisor"] = measure_hypervisor(target, parts.hypervisor, folder / "hypervisor", _print_line)
    return result


def _parts(args: argparse.Namespace) -> Parts:
    sizes = Sizes(
        messages=args.clones,
        in_flight=min(500, args.clones),
        in_flight_seconds=args.clone_seconds,
        scaled=min(200, args.clones),
        scaled_seconds=min(1.0, args.clone_seconds),
    )
    return Parts(
        states=_states(args.vms, args.pools) if args.only in (None, "cycles") else (),
        clones=sizes if args.only in (None, "clones") else None,
        scrapes=args.only in (None, "scrape"),
        redaction=args.only in (None, "redaction"),
        hypervisor=_scale(args) if args.only == "providers" else None,  # it needs Go and govmomi's library
    )


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


def _scale(args: argparse.Namespace) -> Scale:
    return Scale(
        inventory=(args.vms or [2500])[0], in_flight=min(100, args.clones), seconds=min(5.0, args.clone_seconds)
    )


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
    parser.add_argument("--only", choices=PARTS, help="measure a part alone; providers only if it is named")
    parser.add_argument("--clones", type=int, default=3000, metavar="N", help="so many messages (default: 3000)")
    parser.add_argument(
        "--clone-seconds", type=float, default=30.0, metavar="N", help="of 500 clones in flight at once (default: 30)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file as well")
    return parser


def _print_line(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
