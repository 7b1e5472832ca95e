"""One trial of a provider or DNS plugin: bounded in time, without secrets, and never an error."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.errors import ConfigurationError, ProviderError, RetryableError
from vmpooler_tasks.jobs.pools.provider_calls import call_within
from vmpooler_tasks.model.names import listed, on_one_line
from vmpooler_tasks.model.redaction import redacted_text
from vmpooler_tasks.providers import ProviderProblem

TRY_SECONDS = 60.0
"""Time limit of one trial. All trials run at the same time."""

MAX_POOLS_SHOWN = 5
"""Pools with the same problem that its line names."""


class TrialState(StrEnum):
    """How a trial ended."""

    OK = "ok"
    FAILED = "failed"
    """There are problems, or the trial was refused."""
    NO_REPLY = "no_reply"
    """Nobody could be reached, or did not reply in time: a later trial may succeed."""
    NOT_LOADED = "not_loaded"
    NOT_TRIED = "not_tried"
    """It has no `find_problems`, so that nothing can be tried."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found of an entry of `:providers:` or `:dns_configs:` (`section`): a line for each problem."""

    section: str
    name: str
    pools: int
    state: TrialState
    problems: tuple[str, ...] = ()

    @property
    def success(self) -> str:
        """Return the result in words, of a trial without problems."""
        counted = f"{self.pools} pool{'' if self.pools == 1 else 's'}"
        if self.state is TrialState.NOT_TRIED:
            return f"not tried with {counted}: it has no find_problems"
        return f"tried with {counted}: no problem"


def run_trial(section: str, name: str, pools: int, find: Callable[[], Sequence[ProviderProblem] | None]) -> Trial:
    """Return what `find` finds; None means that nothing can be tried."""

    def ended(state: TrialState, *problems: str) -> Trial:
        return Trial(section, name, pools, state, problems)

    path = f"{section}.{name}"
    try:
        found = call_within(TRY_SECONDS, find)
        problems = None if found is None else tuple(_lines(path, found))
    except ConfigurationError as error:
        return ended(TrialState.NOT_LOADED, *error.problems)
    except Exception as error:  # noqa: BLE001 - the code of a provider may raise anything
        state = TrialState.NO_REPLY if isinstance(error, RetryableError) else TrialState.FAILED
        words = str(error) if isinstance(error, ProviderError) else f"{type(error).__name__}: {error}"
        return ended(state, _line(path, f"cannot be tried: {words}"))
    if problems is None:
        return ended(TrialState.NOT_TRIED)
    return ended(TrialState.FAILED if problems else TrialState.OK, *problems)


def _lines(path: str, problems: Sequence[ProviderProblem]) -> Iterator[str]:
    """Yield a line for each problem. A problem of several pools is one line, which names them."""
    pools_by_text: dict[str, list[str]] = {}
    for problem in problems:
        pools_by_text.setdefault(problem.text, []).append(problem.pool)
    for text, pools in pools_by_text.items():
        named = sorted({pool for pool in pools if pool})
        about = f"pool{'s' if len(named) > 1 else ''} {listed(named, MAX_POOLS_SHOWN)}: " if named else ""
        yield _line(path, f"{about}{text}")


def _line(path: str, text: str) -> str:
    return on_one_line(f"{path}: {redacted_text(text)}")
