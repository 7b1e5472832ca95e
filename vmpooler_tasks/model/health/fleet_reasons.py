"""What the heartbeats say about health: missing processes, wrong clocks, workers that differ."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vmpooler_tasks.model.fleet import Fleet, Heartbeat, SeenProcess
from vmpooler_tasks.model.health.explanation import HealthReason, default_reason, error_line
from vmpooler_tasks.model.health.reasons import ReasonCode
from vmpooler_tasks.model.names import listed

MAX_CLOCK_OFFSET_SECONDS = 1.0
"""A clock that is further from the server's counts as wrong."""

JUDGED_HEARTBEATS = 2
"""A clock counts as wrong if this many heartbeats in a row say so."""

MAX_NAMES = 5
"""Names that one reason lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFacts:
    """The processes, and what an installation needs of them.

    `needed_queues`: those that some worker must take. `waiting`: messages by queue. `is_scheduled`: beat has something
    to send. `knows_pools`: at least one pool is configured or registered.
    """

    fleet: Fleet
    needed_queues: Sequence[str]
    waiting: Mapping[str, int]
    is_scheduled: bool
    knows_pools: bool


def fleet_reasons(facts: FleetFacts) -> Iterator[HealthReason]:
    """Return the reasons that follow from these facts."""
    fleet = facts.fleet
    for queue in {*facts.needed_queues, *(queue for queue, count in facts.waiting.items() if count)}:
        if fleet.is_queue_missing(queue):
            last = fleet.last_worker_of(queue)
            count = facts.waiting.get(queue, 0)
            yield replace(default_reason(ReasonCode.NO_WORKER, count, queue=queue), host=_name(last))
    if facts.is_scheduled and fleet.is_beat_missing():
        last = fleet.last_beat()
        yield replace(default_reason(ReasonCode.NO_BEAT, 0), host=_name(last))
    if not facts.knows_pools:
        yield default_reason(ReasonCode.NOTHING_CHECKED, 0)
    yield from clock_reasons(fleet)
    yield from _configuration_reasons(fleet)
    yield from _change_reasons(fleet)


def _name(process: SeenProcess | None) -> str | None:
    return process.last.name if process else None


def clock_reasons(fleet: Fleet) -> Iterator[HealthReason]:
    """One reason for each machine: its processes have one clock."""
    wrong: dict[str, float] = {}
    for process in fleet.live:
        offsets = process.clock_offsets[:JUDGED_HEARTBEATS]
        if len(offsets) == JUDGED_HEARTBEATS and all(abs(one) > MAX_CLOCK_OFFSET_SECONDS for one in offsets):
            wrong[process.host] = offsets[0]
    for host, offset in sorted(wrong.items()):
        yield default_reason(ReasonCode.CLOCK, round(offset, 1), MAX_CLOCK_OFFSET_SECONDS, host=host)


def _configuration_reasons(fleet: Fleet) -> Iterator[HealthReason]:
    """One reason for each configuration that is not the most frequent one."""
    groups: dict[str, list[Heartbeat]] = defaultdict(list)
    for process in fleet.live:
        groups[process.configuration].append(process)
    common, *others = sorted(groups.values(), key=lambda group: (-len(group), group[0].configuration)) or [[]]
    for group in others:
        names = sorted({process.name for process in group})
        yield default_reason(
            ReasonCode.CONFIGURATIONS_DIFFER,
            len(names),
            host=listed(names, MAX_NAMES),
            error=_difference(fleet, group[0].configuration, common[0].configuration),
        )


def _change_reasons(fleet: Fleet) -> Iterator[HealthReason]:
    """One reason for each worker that remote control has changed."""
    for worker in fleet.workers:
        if worker.changes:
            texts = error_line(", ".join(worker.changes))
            yield default_reason(ReasonCode.WORKER_CHANGED, len(worker.changes), host=worker.name, error=texts)


def _difference(fleet: Fleet, one: str, common: str) -> str:
    """Return in words how one configuration differs from the most frequent one."""
    own, usual = fleet.pool_lists.get(one), fleet.pool_lists.get(common)
    if own is None or usual is None:
        return "its list of pools is not known yet"
    lacking, extra = sorted(usual - own), sorted(own - usual)
    texts = [f"without the pools {listed(lacking, MAX_NAMES)}"] if lacking else []
    texts += [f"with the additional pools {listed(extra, MAX_NAMES)}"] if extra else []
    return ", ".join(texts) or "with other options, providers or settings of pools"
