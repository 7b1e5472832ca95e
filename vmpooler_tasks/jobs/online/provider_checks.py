"""Tries the providers of the pools, for `config check --online` and `doctor`."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import ConfigurationError, ProviderError, RetryableError
from vmpooler_tasks.jobs.pools.context import pool_spec, provider_context
from vmpooler_tasks.jobs.pools.provider_calls import call_within
from vmpooler_tasks.model.names import listed, on_one_line
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import CheckedProvider, PoolSpec, ProviderContext, ProviderProblem, registry
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.orders.overrides import Orders, read_orders

TRY_SECONDS = 60.0
"""Time limit for all pools of one provider. The providers are tried at the same time."""

MAX_POOLS_SHOWN = 5
"""Pools with the same problem that its line names."""


class CheckState(StrEnum):
    """How the check of a provider ended."""

    OK = "ok"
    FAILED = "failed"
    """It has problems, or refused the check."""
    NO_REPLY = "no_reply"
    """It could not be reached, or did not reply in time: a later check may succeed."""
    NOT_LOADED = "not_loaded"
    NOT_TRIED = "not_tried"
    """It has no `find_problems`, so that nothing can be tried."""


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """What was found of one provider with its pools: a line for each problem, without secrets."""

    provider: str
    pools: int
    state: CheckState
    problems: tuple[str, ...] = ()

    @property
    def success(self) -> str:
        """Return the result in words, of a check without problems."""
        counted = f"{self.pools} pool{'' if self.pools == 1 else 's'}"
        if self.state is CheckState.NOT_TRIED:
            return f"not tried with {counted}: the provider has no find_problems"
        return f"tried with {counted}: no problem"


def read_all_orders(settings: Settings, db: Database) -> dict[str, Orders]:
    """Return pool → its orders of VMPooler's API, which may override its template and clone target."""
    return {pool.name: read_orders(db, pool.name) for pool in settings.pools}


def check_providers(settings: Settings, orders: Mapping[str, Orders]) -> list[ProviderCheck]:
    """Try each provider that a pool names, with all its pools, and change nothing. Never raise.

    `orders` are those of `read_all_orders`. A check ends within TRY_SECONDS.
    """
    pools: dict[str, list[PoolSpec]] = {settings.provider_of(pool): [] for pool in settings.pools}
    for pool in settings.pools:
        own = orders.get(pool.name)
        template, target = (own.template, own.clone_target) if own else (None, None)
        spec = pool_spec(settings, pool, template=template, clone_target=target)
        pools[settings.provider_of(pool)].append(spec)
    names = sorted(pools)
    with ThreadPoolExecutor(max(len(names), 1), "provider-check") as threads:
        return list(threads.map(lambda name: _check(provider_context(settings, name), pools[name]), names))


def _check(context: ProviderContext, pools: Sequence[PoolSpec]) -> ProviderCheck:
    def result(state: CheckState, *problems: str) -> ProviderCheck:
        return ProviderCheck(context.name, len(pools), state, problems)

    try:
        found = call_within(TRY_SECONDS, _find_problems, context, pools)
    except ConfigurationError as error:
        return result(CheckState.NOT_LOADED, *error.problems)
    except Exception as error:  # noqa: BLE001 - the code of a provider may raise anything
        state = CheckState.NO_REPLY if isinstance(error, RetryableError) else CheckState.FAILED
        words = str(error) if isinstance(error, ProviderError) else f"{type(error).__name__}: {error}"
        return result(state, _line(context.name, "", f"cannot be tried: {words}"))
    if found is None:
        return result(CheckState.NOT_TRIED)
    problems = tuple(_lines(context.name, found))
    return result(CheckState.FAILED if problems else CheckState.OK, *problems)


def _find_problems(context: ProviderContext, pools: Sequence[PoolSpec]) -> list[ProviderProblem] | None:
    """Return the provider's problems; None if it cannot say any."""
    with closing(registry.load(context)) as provider:
        return list(provider.find_problems(pools)) if isinstance(provider, CheckedProvider) else None


def _lines(provider: str, problems: Sequence[ProviderProblem]) -> Iterator[str]:
    """Yield a line for each problem. A problem of several pools is one line, which names them."""
    pools_by_text: dict[str, list[str]] = {}
    for problem in problems:
        pools_by_text.setdefault(problem.text, []).append(problem.pool)
    for text, pools in pools_by_text.items():
        named = sorted({pool for pool in pools if pool})
        about = f"pool{'s' if len(named) > 1 else ''} {listed(named, MAX_POOLS_SHOWN)}: " if named else ""
        yield _line(provider, about, text)


def _line(provider: str, about: str, text: str) -> str:
    return on_one_line(f"providers.{provider}: {about}{redacted_text(text)}")
