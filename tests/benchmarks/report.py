"""Print the figures beside their targets. A missed target is not an error: machines differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.cli.shared.output import print_line, print_table

LARGE = 100_000
"""The targets hold for states with at least so many VMs."""

CYCLES = {"purge": "purge", "dry_run": "purge, dry run", "health": "health check"}


@dataclass(frozen=True, slots=True)
class Limit:
    maximum: float
    unit: str
    form: str = ".2f"

    def beside(self, measured: float) -> str:
        judgement = "ok" if measured <= self.maximum else "MISSED"
        return f"{self.plain(measured)} (≤ {self.maximum:g}{self.unit}: {judgement})"

    def plain(self, measured: float) -> str:
        return f"{measured:{self.form}}{self.unit}"


FLOOR_RATIO = {"purge": Limit(1.5, "x"), "health": Limit(1.2, "x")}
MEMORY = Limit(30, " MiB", ".1f")
PING_P99 = Limit(5, " ms")
PING_MAX = Limit(25, " ms")
REQUESTS = Limit(1, "", "g")
MIN_SHARE = 0.6
"""The target for clones, as a share of bare Celery's no-op tasks."""

LISTING = Limit(1, " s")


def show(result: Mapping[str, Any]) -> None:
    machine = result["machine"]
    print_line(
        f"{machine['server']}, Python {machine['python']}, {machine['cores']} cores ({machine['processor']}), "
        f"load average at the start {machine['load_average']:.2f}; {result['runs']} rounds each"
    )
    if "states" in result:
        _show_cycles(result)
    if "scrapes" in result:
        _show_scrapes(result["scrapes"])
    if "redaction" in result:
        _show_redaction(result["redaction"])
    if "clones" in result:
        _show_clones(result["clones"])
    if "hypervisor" in result:
        _show_hypervisor(result["hypervisor"])


def _show_scrapes(scrapes: Sequence[Mapping[str, Any]]) -> None:
    print_line("")
    print_line("Scrapes of the metrics; x BARE, against a bare pipeline of the same commands.")
    print_table(
        ("STATE", "COMMANDS", "KIB", "MS", "BARE MS", "x BARE"),
        [
            (
                _name(one),
                one["commands"],
                f"{one['bytes'] / 1024:.0f}",
                f"{one['seconds'] * 1000:.2f}",
                f"{one['bare_seconds'] * 1000:.2f}",
                f"{one['ratio']:.1f}x",
            )
            for one in scrapes
        ],
        numbers=("COMMANDS", "KIB", "MS", "BARE MS", "x BARE"),
    )


def _show_hypervisor(found: Mapping[str, Any]) -> None:
    print_line("")
    print_line("Calls of the vCenter API for one VM.")
    rows = [
        (step, f"{sum(calls.values()):g}", ", ".join(f"{count:g} {method}" for method, count in calls.items()))
        for step, calls in found["calls"].items()
    ]
    print_table(("METHOD", "CALLS", "WHICH"), rows)
    inventory, in_flight = found["inventory"], found["in_flight"]
    print_line(
        f"Inventory of {inventory['vms']} VMs: {sum(inventory['calls'].values())} calls, {inventory['seconds']:.2f} s, "
        f"{inventory['memory_growth_mib']:.1f} MiB."
    )
    print_line(
        f"{in_flight['clones']} clones of {in_flight['each_seconds']:g} s on one worker: {in_flight['seconds']:.1f} s, "
        f"{in_flight['max_at_once']} in flight at once, {in_flight['calls_per_clone']:.1f} calls each."
    )


def _show_redaction(sizes: Sequence[Mapping[str, Any]]) -> None:
    print_line("")
    print_line(f"Redaction of {sizes[0]['texts']} kinds of text; x HALF, against the same with half the size.")
    print_table(
        ("SIZE", "ALL, MS", "x HALF", "SLOWEST, MS", "x HALF", "SLOWEST TEXT"),
        [
            (
                f"{one['characters'] // 1024} KiB",
                f"{one['seconds'] * 1000:.0f}",
                f"{one['seconds'] / half['seconds']:.1f}x" if half else "",
                f"{one['slowest_seconds'] * 1000:.1f}",
                f"{one['slowest_seconds'] / half['slowest_seconds']:.1f}x" if half else "",
                repr(one["slowest"]),
            )
            for half, one in zip((None, *sizes), sizes, strict=False)
        ],
        numbers=("SIZE", "ALL, MS", "x HALF", "SLOWEST, MS"),
    )


def _show_cycles(result: Mapping[str, Any]) -> None:
    states = result["states"]
    print_line("")
    print_line("Cycles: medians; x FLOOR, against the floor of the same round; memory is the maximum of any run.")
    print_table(
        ("STATE", "CYCLE", "SECONDS", "x FLOOR", "COMMANDS", "SCRIPTS", "REDIS CPU s", "MEMORY GROWTH"),
        [row for state in states for row in _cycle_rows(state)],
        numbers=("SECONDS", "COMMANDS", "SCRIPTS", "REDIS CPU s"),
    )
    print_line("Another client's PING, one each millisecond, meanwhile.")
    print_table(
        ("STATE", "MEANWHILE", "PINGS", "50 %", "99 %", "MAXIMUM", "99 %, UNSENT TOO"),
        [row for state in states for row in _ping_rows(state)],
        numbers=("PINGS", "50 %", "99 %, UNSENT TOO"),
    )
    print_line("Dead letters.")
    print_table(("WHAT", "MEASURED"), _dead_letter_rows(result["dead_letters"]))


def _show_clones(clones: Mapping[str, Any]) -> None:
    print_line("")
    print_line(
        f"Clones: {clones['messages']:,} messages through the whole path, beside as many no-op tasks of bare Celery."
    )
    print_table(
        ("WORKER", "CLONES/s", "NO-OPS/s", "SHARE"),
        [
            (
                f"{one['slots']} {kind}",
                f"{one['clones_per_second']:,.0f}",
                f"{one['nothing_per_second']:,.0f}",
                _share(one["share"], judged=kind == "prefork"),
            )
            for kind, one in clones["throughput"].items()
        ],
        numbers=("CLONES/s", "NO-OPS/s"),
    )
    flight = clones["in_flight"]
    print_line(
        f"{flight['clones']} clones of {flight['each_seconds']:g} s on one worker of as many threads: "
        f"{flight['max_at_once']} in flight at once, all made after {flight['seconds']:.1f} s."
    )
    print_line(f"{clones['scaled']} clones of {clones['scaled_seconds']:g} s, ten at once in each worker process.")
    print_table(
        ("PROCESSES", "SECONDS", "SPEED-UP"),
        [(one["processes"], f"{one['seconds']:.1f}", f"{one['speedup']:.2f}x") for one in clones["scaling"]],
        numbers=("PROCESSES", "SECONDS", "SPEED-UP"),
    )


def _share(share: float, *, judged: bool) -> str:
    judgement = f" (≥ {MIN_SHARE:.0%}: {'ok' if share >= MIN_SHARE else 'MISSED'})" if judged else ""
    return f"{share:.0%}{judgement}"


def _name(state: Mapping[str, Any]) -> str:
    pools = state["pools"]
    return f"{state['vms']:,} VMs in {pools} {'pool' if pools == 1 else 'pools'}"


def _cycle_rows(state: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    floor, large = state["floor"], state["vms"] >= LARGE
    yield (
        _name(state),
        "floor",
        f"{floor['seconds']:.3f}",
        "1.00x",
        f"{floor['commands']:,.0f}",
        "",
        f"{floor['redis_cpu_seconds']:.3f}",
        "",
    )
    for cycle, name in CYCLES.items():
        figures = state["cycles"][cycle]
        ratio = FLOOR_RATIO.get(cycle) if large else None
        memory = figures["memory_growth_mib"]
        yield (
            "",
            name,
            f"{figures['seconds']:.3f}",
            ratio.beside(figures["floor_ratio"]) if ratio else f"{figures['floor_ratio']:.2f}x",
            f"{figures['commands']:,.0f}",
            f"{figures['scripts']:,.0f}",
            f"{figures['redis_cpu_seconds']:.3f}",
            MEMORY.beside(memory) if large else MEMORY.plain(memory),
        )


def _ping_rows(state: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    idle = state["idle"]["ping_ms"]
    yield (_name(state), "nothing (the machine's own noise)", *_pings(idle, targets=False))
    for cycle, name in CYCLES.items():
        yield ("", name, *_pings(state["cycles"][cycle]["ping_ms"], targets=state["vms"] >= LARGE))


def _pings(pings: Mapping[str, Any], *, targets: bool) -> Sequence[str]:
    p99, longest = (
        limit.beside(pings[name]) if targets else limit.plain(pings[name])
        for limit, name in ((PING_P99, "p99"), (PING_MAX, "max"))
    )
    return (f"{pings['count']:,}", f"{pings['p50']:.2f} ms", p99, longest, f"{pings['p99_unsent']:.2f} ms")


def _dead_letter_rows(dead_letters: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    requests, listed = dead_letters["requests_per_push"], dead_letters["list"]
    names = ", ".join(f"{count:g} {name}" for name, count in requests.items())
    return (
        (f"requests for one push from the failure path ({names})", REQUESTS.beside(sum(requests.values()))),
        ("pushes from the failure path", f"{dead_letters['pushes_per_second']:,.0f} a second"),
        ("plain ZADD, one by one", f"{dead_letters['zadds_per_second']:,.0f} a second"),
        ("a push takes the time of", f"{dead_letters['push_ratio']:.1f} plain ZADDs"),
        (f"list of {listed['entries']:,}, in a process that runs", LISTING.beside(listed["page_seconds"])),
        ("the same as a command, the program's start included", LISTING.beside(listed["command_seconds"])),
    )
