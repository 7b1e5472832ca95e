"""What a purge is to do, whoever starts it: the command line, a task's arguments, the API, beat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import InvalidInputError
from vmpooler_tasks.jobs.deadletters.names import registered_pools, suggestion
from vmpooler_tasks.model.purge import PurgeTarget
from vmpooler_tasks.store import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeOptions:
    """The options of one purge. No `pools` means all pools; no `queues` means every PurgeTarget.

    `force` runs a purge that is switched off, and overrides purge_max_percent. `who` and `why` go into the audit.
    """

    dry_run: bool = False
    force: bool = False
    pools: Sequence[str] = ()
    queues: Sequence[str] = ()
    keep_entries: bool = False
    who: str
    why: str | None = None

    @property
    def is_whole_cycle(self) -> bool:
        """Whether all pools and targets are covered. Only a whole cycle counts as the last run of the purge."""
        return not self.pools and not self.queues

    def covers(self, target: PurgeTarget) -> bool:
        """Return whether the purge covers this target.

        Orphans and requests belong to no pool: a purge of named pools covers them only if they are named as well.
        """
        if self.queues:
            return target in self.queues
        return target.belongs_to_pool or not self.pools


def validate(db: Database, settings: Settings, options: PurgeOptions) -> None:
    """Raise InvalidInputError with everything that is wrong: a task's arguments are JSON from anybody.

    Nothing may be purged, or reported as purged, for options that mean something else.
    """
    problems = [*_wrong_types(options)] or [*_unknown_queues(options), *_unknown_pools(db, settings, options)]
    if problems:
        raise InvalidInputError("; ".join(problems))


def _wrong_types(options: PurgeOptions) -> Iterator[str]:
    for name in ("dry_run", "force", "keep_entries"):
        if not isinstance(value := getattr(options, name), bool):
            yield f"{name} must be true or false, not {value!r:.60}"
    for name in ("pools", "queues"):
        value = getattr(options, name)
        # In Python a text is a sequence of texts: "p1" would be the pools `p` and `1`.
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            yield f"{name} must be a list of names, not {value!r:.60}"
    for name, kinds in (("who", str), ("why", str | None)):
        if not isinstance(value := getattr(options, name), kinds):
            yield f"{name} must be text, not {value!r:.60}"


def _unknown_queues(options: PurgeOptions) -> Iterator[str]:
    known = [str(target) for target in PurgeTarget]
    for queue in options.queues:
        if queue not in known:
            yield f"no queue {queue!r}{suggestion(queue, known)}"


def _unknown_pools(db: Database, settings: Settings, options: PurgeOptions) -> Iterator[str]:
    if not options.pools:
        return
    known = purgeable_pools(db, settings)
    for pool in options.pools:
        if pool not in known:
            yield f"no pool {pool!r}{suggestion(pool, sorted(known))}"


def purgeable_pools(db: Database, settings: Settings) -> set[str]:
    """Return the pools that are configured here, or registered by a VMPooler. A purge takes no alias."""
    return {pool.name for pool in settings.pools} | registered_pools(db)
