"""An operator adopts foreign VMs: they get the mark of this installation. docs/pools.md, Whose VM it is."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vmpooler_tasks.config import Pool
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.ownership.unqueued import find_unqueued
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.jobs.pools.control import Operator
from vmpooler_tasks.jobs.pools.guarded_calls import CHECK_SECONDS
from vmpooler_tasks.jobs.pools.provider_calls import LIST_SECONDS, call_within
from vmpooler_tasks.model.guards.foreign import MAX_FOREIGN_NAMES
from vmpooler_tasks.model.names import names_text, on_one_line
from vmpooler_tasks.model.pools.results import MarkResult
from vmpooler_tasks.model.timestamps import moment, ruby_utc
from vmpooler_tasks.providers import MarkingProvider, PoolSpec
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.pools import views, vms

_log = logging.getLogger("vmpooler_tasks.pools")

ADOPT = "adopt"
"""The action in the audit."""


@dataclass(frozen=True, slots=True)
class ForeignVm:
    """A VM in no queue of any pool. `mark`: the installation whose mark it has, None if it has no mark."""

    name: str
    mark: str | None

    def as_json(self) -> dict[str, Any]:
        return {"vm": self.name, "mark": self.mark}


@dataclass(frozen=True, slots=True)
class Adoption:
    """What became of one VM that an operator adopts. `error`: why it did not get the mark; '' if it did."""

    vm: str
    result: MarkResult
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"vm": self.vm, "result": str(self.result), "error": self.error}


def find_foreign(context: PoolContext, pool: Pool, names: Iterable[str] = ()) -> list[ForeignVm]:
    """Return the foreign VMs of the pool in the order of their names: those of `names`, or all.

    Raise InvalidInputError for a name that is no foreign VM. Raise ProviderError if the provider does not reply.
    """
    marks = call_within(LIST_SECONDS, context.provider_of(pool).list_vms, context.spec(pool))
    own = context.settings.config.installation
    view = views.read_view(context.db, pool.name, context.settings.provider_of(pool))
    unqueued = find_unqueued(context, pool, frozenset(vm.encode() for vm in marks), view)
    if unqueued is None:
        raise InvalidInputError("a queue of another pool cannot be read: nobody knows whose its VMs are")
    found = {vm: ForeignVm(vm, mark) for vm, mark in marks.items() if mark != own and vm.encode() in unqueued}
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in found]:
        raise InvalidInputError(f"no foreign VM of pool {pool.name!r}: {', '.join(unknown)}")
    return [found[name] for name in sorted(wanted or found)]


def marking_provider_of(context: PoolContext, pool: Pool) -> MarkingProvider:
    """Return the provider of the pool. Raise InvalidInputError if it cannot mark VMs, or has no mark to give."""
    if not context.settings.config.installation:
        raise InvalidInputError("this installation has no name: set `installation` in :config: and restart the workers")
    provider: object = context.provider_of(pool)
    if not isinstance(provider, MarkingProvider):
        name = context.settings.provider_of(pool)
        raise InvalidInputError(f"provider {name!r} cannot mark VMs, so it cannot adopt any")
    return provider


def adopt(context: PoolContext, pool: Pool, found: Sequence[ForeignVm], operator: Operator) -> list[Adoption]:
    """Give these VMs the mark of this installation, and record that in the audit. Return what became of each.

    An adopted VM is in no queue: the next inspections discover it, and it is destroyed under the brake of the pool. One
    with the mark of another installation is left as it is. Raise InvalidInputError as `marking_provider_of` does.
    """
    provider, spec = marking_provider_of(context, pool), context.spec(pool)
    shown = names_text([one.name for one in found[:MAX_FOREIGN_NAMES]], len(found))
    trail = {"action": ADOPT, "who": operator.who, "why": operator.why, "pool": pool.name, "count": len(found)}
    audit.record(context.db, {**trail, "vms": shown})  # first: no VM is adopted without its entry
    _log.info("[*] [%s] %s by %s: %s", pool.name, ADOPT, on_one_line(operator.who), on_one_line(shown))
    return [_adopt_one(context, provider, spec, one.name) for one in found]


def _adopt_one(context: PoolContext, provider: MarkingProvider, spec: PoolSpec, vm: str) -> Adoption:
    try:
        existed = call_within(CHECK_SECONDS, provider.mark_vm, spec, vm)
        if existed:
            vms.record_adoption(context.db, vm.encode(), ruby_utc(moment(context.clock())))
    except Exception as error:  # noqa: BLE001 - whatever a provider raises, the other VMs are adopted
        return Adoption(vm, MarkResult.FAILED, on_one_line(str(error)))
    if existed:
        return Adoption(vm, MarkResult.MARKED)
    return Adoption(vm, MarkResult.MISSING, "the provider does not have it")
