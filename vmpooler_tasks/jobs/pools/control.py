"""What an operator orders for pools: pause, drain, resume, retry, keep, confirm. docs/pools.md.

Each order is one atomic step with its entry in the audit. The workers see it at their next step.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.errors import InvalidInputError, ManagerOffError
from vmpooler_tasks.jobs.deadletters.names import known_pools, pools_named, suggestion
from vmpooler_tasks.jobs.pools.overview import obstacles
from vmpooler_tasks.model.guards.brake import ConfirmResult
from vmpooler_tasks.model.guards.managed import KeptPool
from vmpooler_tasks.model.names import Queue, on_one_line, shell_word
from vmpooler_tasks.model.pools.pause import Pause, PauseState, PoolAction
from vmpooler_tasks.model.pools.results import TrialResult
from vmpooler_tasks.model.pools.sizes import size_in_effect
from vmpooler_tasks.model.timestamps import iso_utc
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import audit, heartbeats
from vmpooler_tasks.store.guards import brakes, removed_pools, unconfigured
from vmpooler_tasks.store.orders import overrides
from vmpooler_tasks.store.pools import breakers, clones, other_manager, pauses
from vmpooler_tasks.store.vmpooler import queues

_log = logging.getLogger("vmpooler_tasks.pools")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who gives an order, and why."""

    who: str
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """The effect of an order on one pool or provider.

    `changed` is False if it was in that state before. `hindered_by`: what keeps its clones from starting all the same.
    `moved` counts VMs that a drain moved to completed, `taken_back` clones that no worker had started.
    """

    action: PoolAction
    pool: str | None = None
    provider: str | None = None
    changed: bool
    text: str
    hindered_by: Sequence[str] = ()
    moved: int = 0
    taken_back: int = 0

    def as_json(self) -> dict[str, Any]:
        about = {"pool": self.pool} if self.pool is not None else {"provider": self.provider}
        return {
            **about,
            "action": str(self.action),
            "changed": self.changed,
            "text": self.text,
            "hindered_by": list(self.hindered_by),
            "moved": self.moved,
            "taken_back": self.taken_back,
        }


class PoolControl:
    """Carries out the orders of one operator. Raise ManagerOffError where VMPooler's own manager has the pools."""

    def __init__(self, db: Database, settings: Settings, clock: Clock, operator: Operator) -> None:
        if not settings.config.manage_pools:
            raise ManagerOffError("VMPooler's own manager makes the clones. These workers cannot stop it or start it")
        self._db, self._settings, self._clock, self._operator = db, settings, clock, operator

    def find(self, names: Iterable[str]) -> list[str]:
        """Return the pools of these names and aliases. Raise InvalidInputError for a name that nobody has.

        A pool that is no longer configured is found as well if it is paused, kept, has VMs or a brake.
        """
        braked = brakes.read_brakes(self._db)
        others = {*pauses.read_paused(self._db), *removed_pools.read_names(self._db), *braked}
        found: list[str] = []
        for name in names:
            if self._settings.pool(name) or name in others:
                found.append(name)
            elif of_alias := pools_named(self._settings, name):
                found += of_alias
            else:
                known = sorted({*known_pools(self._settings, None), *others})
                raise InvalidInputError(f"no pool {name!r}{suggestion(name, known)}")
        return list(dict.fromkeys(found))

    def find_provider(self, name: str) -> str:
        """Return the name of a provider. Raise InvalidInputError if no pool uses it."""
        known = sorted({self._settings.provider_of(pool) for pool in self._settings.pools})
        if name not in known:
            raise InvalidInputError(f"no provider {name!r}{suggestion(name, known)}")
        return name

    def pause(self, pool: str) -> OrderReport:
        """Give the pool no new clones. Checks, lifetimes and destructions go on."""
        before = self._set(pool, PoolAction.PAUSE, PauseState.PAUSED)
        if before is None:
            text = "paused: it gets no new clones. Checks, lifetimes and destructions go on"
        elif before.state is PauseState.DRAINING:
            text = "paused: it is no longer drained, and still gets no new clones"
        else:
            text = f"paused already, {_by(before)}"
        changed = before is None or before.state is not PauseState.PAUSED
        taken = self._take_back(pool)
        report = OrderReport(
            action=PoolAction.PAUSE, pool=pool, changed=changed, text=f"{text}{_taken_text(taken)}", taken_back=taken
        )
        return self._report(report)

    def drain(self, pool: str) -> OrderReport:
        """Pause the pool, and move its pending and ready VMs to completed. Running VMs stay."""
        before = self._set(pool, PoolAction.DRAIN, PauseState.DRAINING)
        taken = self._take_back(pool)
        moved = sum(len(pauses.drain(self._db, pool, queue)) for queue in (Queue.PENDING, Queue.READY))
        running = queues.size(self._db, Queue.RUNNING, pool)
        already = f" already, {_by(before)}" if before and before.state is PauseState.DRAINING else ""
        text = f"draining{already}: {moved} pending and ready VMs moved to completed. Still running: {running}"
        report = OrderReport(
            action=PoolAction.DRAIN,
            pool=pool,
            changed=not already,
            text=f"{text}{_taken_text(taken)}",
            moved=moved,
            taken_back=taken,
        )
        return self._report(report)

    def resume(self, pool: str) -> OrderReport:
        """End the pause of the pool, and an order to keep its VMs."""
        before = pauses.resume(self._db, pool, self._trail(PoolAction.RESUME, pool=pool))
        kept = removed_pools.end_keeping(self._db, pool, self._trail(PoolAction.RESUME, pool=pool))
        texts = [f"resumed: it gets new clones again. It was paused {_by(before)}"] if before else []
        texts += [f"no longer kept: its VMs are drained again. It was kept by {kept.who}"] if kept else []
        hindered = tuple(self._hindrances_of_pool(pool)) if before else ()
        report = OrderReport(
            action=PoolAction.RESUME,
            pool=pool,
            changed=bool(texts),
            text=". ".join(texts) or "not paused",
            hindered_by=hindered,
        )
        return self._report(report)

    def keep(self, pool: str) -> OrderReport:
        """Keep the VMs of the pool if it is in no configuration. Its checks and destructions rest as well."""
        order = KeptPool(since=self._clock(), who=self._operator.who, why=self._operator.why or "")
        before = removed_pools.keep(self._db, pool, order, self._trail(PoolAction.KEEP, pool=pool))
        [state] = removed_pools.read_states(self._db, [pool])
        is_here = self._settings.pool(pool) is not None
        text = "its VMs stay if it leaves the configuration" if is_here else f"its VMs stay ({state.counts_text})"
        already = f" already, by {before.who} since {iso_utc(before.since)}" if before else ""
        return self._report(
            OrderReport(action=PoolAction.KEEP, pool=pool, changed=before is None, text=f"kept{already}: {text}")
        )

    def retry_pool(self, pool: str) -> OrderReport:
        """Let one clone try a suspended pool now. Neither a pause nor another manager is overruled."""
        trail = self._trail(PoolAction.RETRY, pool=pool)
        result = breakers.allow_trial(self._db, now=self._clock(), trail=trail, pool=pool)
        hindered = tuple(self._hindrances_of_pool(pool))
        return self._report(
            OrderReport(
                action=PoolAction.RETRY,
                pool=pool,
                changed=result is TrialResult.TRIAL,
                text=_TRIAL_TEXTS[result],
                hindered_by=hindered,
            )
        )

    def retry_provider(self, provider: str) -> OrderReport:
        """Let one clone try a suspended provider now. Neither a pause nor another manager is overruled."""
        trail = self._trail(PoolAction.RETRY, provider=provider)
        result = breakers.allow_trial(self._db, now=self._clock(), trail=trail, provider=provider)
        return self._report(
            OrderReport(
                action=PoolAction.RETRY,
                provider=provider,
                changed=result is TrialResult.TRIAL,
                text=_TRIAL_TEXTS[result],
                hindered_by=tuple(self._hindrances_of_provider(provider)),
            )
        )

    def confirm(self, pool: str) -> OrderReport:
        """Release the pool's brake once: the VMs that it holds are completed and destroyed."""
        result, before = brakes.confirm(self._db, pool, self._trail(PoolAction.CONFIRM, pool=pool))
        count, counts = (before.count, before.counts_text) if before else (0, "")
        texts = {
            ConfirmResult.CONFIRMED: f"brake released for {count} VMs ({counts}): the next inspections complete them. "
            "More than that engage it again",
            ConfirmResult.CONFIRMED_ALREADY: f"brake released already for {before.confirmed if before else 0} VMs",
            ConfirmResult.NOT_ENGAGED: "brake not engaged: there is nothing to release",
        }
        changed = result is ConfirmResult.CONFIRMED
        return self._report(OrderReport(action=PoolAction.CONFIRM, pool=pool, changed=changed, text=texts[result]))

    def require_provider(self, provider: str) -> None:
        """Raise InvalidInputError if the configuration has no such provider."""
        if provider not in self._settings.providers:
            raise InvalidInputError(f"no provider {provider!r}{suggestion(provider, sorted(self._settings.providers))}")

    def confirm_provider(self, provider: str) -> OrderReport:
        """Let the unconfigured VMs of the provider be destroyed: as many as its last round found."""
        self.require_provider(provider)
        if provider not in self._settings.purging_providers:
            text = "nothing to confirm: purge_unconfigured_resources is not set, or installation has no name"
            return OrderReport(action=PoolAction.CONFIRM, provider=provider, changed=False, text=text)
        found = unconfigured.read_unconfigured(self._db, [provider]).get(provider)
        if found is None or not found.is_held:
            text = "no VM waits for a confirmation" if found is None else f"confirmed already: {found.text}"
            return OrderReport(action=PoolAction.CONFIRM, provider=provider, changed=False, text=text)
        audit.record(self._db, {**self._trail(PoolAction.CONFIRM, provider=provider), "count": found.count})
        unconfigured.confirm(self._db, provider, found.count)
        text = f"the next rounds destroy {found.text}. More than that need another confirmation"
        return self._report(OrderReport(action=PoolAction.CONFIRM, provider=provider, changed=True, text=text))

    def _set(self, pool: str, action: PoolAction, state: PauseState) -> Pause | None:
        given = Pause(state=state, since=self._clock(), who=self._operator.who, why=self._operator.why or "")
        return pauses.pause(self._db, pool, given, self._trail(action, pool=pool))

    def _take_back(self, pool: str) -> int:
        """Take back the pool's clones that no worker has started. Return how many."""
        pages = queues.read_names(self._db, keys.queue(Queue.PENDING, pool))
        return sum(len(clones.take_back(self._db, pool, page, now=self._clock())) for page in pages)

    def _trail(self, action: PoolAction, **about: str) -> dict[str, Any]:
        return {"action": f"{action}", "who": self._operator.who, "why": self._operator.why, **about}

    def _report(self, report: OrderReport) -> OrderReport:
        """Log the order if it changed something. Return it."""
        if report.changed:
            name, who = report.pool or report.provider or "", on_one_line(self._operator.who)
            about = {"pool": report.pool} if report.pool else {}
            _log.info("[*] [%s] %s by %s: %s", name, report.action, who, on_one_line(report.text), extra=about)
        return report

    def _hindrances_of_pool(self, name: str) -> Iterator[str]:
        """Yield what keeps the pool's clones from starting, each with what to do."""
        pool = self._settings.pool(name)
        if pool is None:
            yield f"pool {name!r} is not configured: no worker inspects it"
            return
        if pause := pauses.read_paused(self._db).get(name):
            yield f"{pause.text(name)} (`vmpooler-tasks pools resume {shell_word(name)}` ends that)"
        yield from self._obstacles()
        provider = self._settings.provider_of(pool)
        for one in breakers.suspended_providers(self._db, [provider]):
            if one.suspended_until > self._clock():
                retry = f"`vmpooler-tasks pools retry --provider {shell_word(provider)}` lets one clone try it"
                yield f"its provider {provider!r} is suspended until {iso_utc(one.suspended_until)} ({retry})"
        if not self._size_of(pool):
            yield "its size is 0"

    def _hindrances_of_provider(self, name: str) -> Iterator[str]:
        yield from self._obstacles()
        paused = pauses.read_paused(self._db)
        users = [pool.name for pool in self._settings.pools if self._settings.provider_of(pool) == name]
        if users and all(pool in paused for pool in users):
            yield f"all its pools are paused: {', '.join(users)}"

    def _obstacles(self) -> Iterator[str]:
        yield from obstacles(heartbeats.read_fleet(self._db), other_manager.read_watch(self._db))

    def _size_of(self, pool: Pool) -> int:
        return size_in_effect(pool.size, overrides.read_orders(self._db, pool.name).size)


_TRIAL_TEXTS = {
    TrialResult.TRIAL: "one clone tries it now. If it succeeds, the suspension ends",
    TrialResult.TRIAL_DUE: "one clone tries it already: its next attempt is due",
    TrialResult.TRIAL_RUNNING: "a clone that tries it is running already",
    TrialResult.NOT_SUSPENDED: "not suspended: there is nothing to try",
}


def _taken_text(count: int) -> str:
    return f". Clones taken back before they started: {count}" if count else ""


def _by(pause: Pause | None) -> str:
    if pause is None:
        return ""
    return f"by {pause.who} since {iso_utc(pause.since)}{f': {pause.why}' if pause.why else ''}"
