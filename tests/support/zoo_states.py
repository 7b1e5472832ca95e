"""The sick states, in one table: how each is made and repaired, and what readers show of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tests.support import zoo_provider
from tests.support.processes import until
from tests.support.zoo import POOLS, Seen, Zoo
from vmpooler_tasks.store import keys

CLOCKS = Path(__file__).parent / "zoo_clock"
HOUR = 3600


@dataclass(frozen=True)
class SickState:
    """`codes` are the reasons that must be shown; `may_follow` are effects that may be shown as well.

    `needs` are the parts that must work for the state to show, and `breaks` those that do not work in it: two states
    coexist if neither breaks what the other needs, nor both the same part.
    """

    name: str
    make: Callable[[Zoo], None]
    repair: Callable[[Zoo], None]
    status: str
    codes: frozenset[str]
    may_follow: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    breaks: frozenset[str] = frozenset()

    def is_shown(self, seen: Seen) -> bool:
        return readers_expect(seen, [self])

    def coexists(self, other: "SickState") -> bool:
        return not (self.breaks & (other.needs | other.breaks) or other.breaks & self.needs)


def readers_expect(seen: Seen, states: Collection[SickState]) -> bool:
    """Return whether this is what readers show while exactly these states exist."""
    codes = frozenset[str]().union(*(state.codes for state in states))
    may_follow = frozenset[str]().union(*(state.may_follow for state in states))
    statuses = {state.status for state in states}
    worst = next((status for status in ("unhealthy", "degraded") if status in statuses), "healthy")
    followed = seen.codes - codes
    is_status = seen.status == worst or (bool(followed) and seen.status == "unhealthy")
    return is_status and codes <= seen.codes and followed <= may_follow


FOLLOWING = frozenset({"empty_pool", "all_pools_empty", "inspection_stalled", "clones_stalled", "requests_stalled"})
"""What may be shown after a while, as the work stands still."""


INSPECTIONS = frozenset({"beat", "worker", "checks"})
"""Without these nobody calls the provider: beat sends the tick, `worker` spreads it over the pools."""


def _process(name: str, *codes: str, frozen: bool) -> SickState:
    return SickState(
        name=f"{name} {'frozen' if frozen else 'killed'}",
        make=lambda zoo: zoo.freeze(name) if frozen else zoo.kill(name),
        repair=lambda zoo: zoo.thaw(name) if frozen else zoo.start(name),
        status="unhealthy",
        codes=frozenset(codes),
        may_follow=FOLLOWING,
        breaks=frozenset({name}),
    )


def _restarted(name: str, state: str, code: str, **environment: str) -> SickState:
    """A process that runs with another environment."""

    def restart(zoo: Zoo, **values: str) -> None:
        zoo.kill(name)
        zoo.start(name, **values)

    return SickState(
        name=state,
        make=lambda zoo: restart(zoo, **environment),
        repair=restart,
        status="degraded",
        codes=frozenset({code}),
        breaks=frozenset({name}),
    )


def _break_template(zoo: Zoo) -> None:
    """The template of one pool is gone, and users take its VMs."""
    pool = POOLS[1]
    zoo.switch(zoo_provider.NO_TEMPLATE, pool)
    for vm in zoo.db.call("SMEMBERS", f"vmpooler__ready__{pool}"):
        zoo.db.call("SMOVE", f"vmpooler__ready__{pool}", f"vmpooler__completed__{pool}", vm)
    breaker = keys.pool_breaker(pool)
    until(lambda: zoo.db.call("HEXISTS", breaker, "open_until"), "the pool is suspended: this is what readers show")


_WORKERS = {
    "worker": ("vmpooler.maintenance",),
    "checks": ("vmpooler.check",),
    "clones": ("vmpooler.clone", "vmpooler.destroy"),
}
"""Name in Procfile → the queues that only this worker takes."""

STATES = {
    state.name: state
    for state in (
        *(
            _process(name, *(f"no_worker {queue}" for queue in queues), frozen=frozen)
            for name, queues in _WORKERS.items()
            for frozen in (True, False)
        ),
        *(_process("beat", "no_beat", frozen=frozen) for frozen in (True, False)),
        SickState(
            name="provider down",
            make=lambda zoo: zoo.switch(zoo_provider.DOWN),
            repair=lambda zoo: zoo.switch_off(zoo_provider.DOWN),
            status="unhealthy",
            codes=frozenset({"breaker_open"}),
            # Clones of a pool may fail before the provider is suspended: then the pool is suspended as well.
            may_follow=FOLLOWING | {"pool_broken"},
            needs=INSPECTIONS,
            breaks=frozenset({"provider"}),
        ),
        SickState(
            name="template gone",
            make=_break_template,
            repair=lambda zoo: zoo.switch_off(zoo_provider.NO_TEMPLATE),
            status="degraded",
            codes=frozenset({"pool_broken", "empty_pool"}),
            needs=INSPECTIONS | {"clones", "provider"},
        ),
        SickState(
            name="key of a wrong type",
            make=lambda zoo: zoo.db.call("SET", "vmpooler__running__a", "a text"),
            repair=lambda zoo: zoo.db.call("DEL", "vmpooler__running__a"),
            status="degraded",
            codes=frozenset({"unreadable_keys"}),
            may_follow=FOLLOWING,
        ),
        SickState(
            name="own key of a wrong type",
            make=lambda zoo: zoo.db.call("SET", "vmpooler_tasks__clone_targets", "a text"),
            repair=lambda zoo: zoo.db.call("DEL", "vmpooler_tasks__set_aside"),
            status="degraded",
            codes=frozenset({"key_set_aside"}),
            may_follow=FOLLOWING,
        ),
        _restarted("checks", "wrong clock", "clock", ZOO_CLOCK=str(HOUR), PYTHONPATH=str(CLOCKS)),
        _restarted("worker", "another configuration", "configurations_differ", DLQ_TTL="24"),
    )
}

TWINS = ("clones killed", "checks frozen", "worker killed", "beat frozen")
"""In a pair they show what the same process shows that is killed instead of frozen, or the other way round."""

MAIN = ("clones frozen", "beat frozen", "worker killed", "provider down", "own key of a wrong type")
"""What `make test` tries; `make zoo` tries all of them."""
