"""What a reason means and what to do about it, in words."""

from vmpooler_tasks.model.health.status import Reason

_AHEAD = "stale, of the future"

_ADVICE: dict[str, tuple[str, str]] = {
    "dlq_size": (
        "{measured} dead letters, more than {threshold}",
        "see what fails most with `vmpooler-tasks dlq stats`",
    ),
    "dlq_near_cap": (
        "{measured} dead letters in {queue}, near the cap: the oldest will be dropped",
        "mend the cause, then delete or export them, or raise dlq_max_entries",
    ),
    "stuck_vms": (
        "{measured} VMs stuck in pending, more than {threshold}",
        "look at the provider and at `vmpooler-tasks dlq list --queue clone`",
    ),
    "pending_queue": (
        "{measured} VMs pending in {pool}, more than {threshold}",
        "look at the provider of this pool",
    ),
    "ready_queue": (
        "{measured} VMs ready in {pool}, more than {threshold}",
        "the pool may be larger than its use",
    ),
    "empty_pool": (
        "{pool} has had no ready VM for {measured} seconds",
        "look at `vmpooler-tasks dlq list --pool {pool}` and at the provider",
    ),
    "purge_overdue": (
        "the purge is {measured} seconds overdue",
        "is a worker running, and beat? `vmpooler-tasks doctor` tells",
    ),
    "purge_unfinished": (
        "a purge began {measured} seconds ago and never ended",
        "its worker was killed; the next cycle takes over by itself",
    ),
    "purge_failed": ("the last purge failed", "the worker's log says why, under [purge]"),
    "purge_aborted": (
        "the purge would have taken {measured} % of {queue} in {pool}, more than {threshold} %",
        "check with `vmpooler-tasks purge --dry-run --pool {pool}`, then run it with --force",
    ),
    "breaker_open": (
        "provider {provider} fails again and again, or hangs, and is left alone for a while",
        "look at it and at `vmpooler-tasks dlq list --queue clone`; it is tried again by itself",
    ),
    "pool_broken": (
        "{measured} clones of {pool} failed for good in a row: the pool is left alone for a while",
        "mend its template, permissions or configuration: `vmpooler-tasks dlq list --queue clone --pool {pool}`",
    ),
    "other_manager": (
        "another pool manager is at work on this Redis",
        "stop VMPooler's manager, or set manage_pools: false here",
    ),
    "health_overdue": (
        "health checks came {measured} seconds late",
        "is a worker running, and beat? `vmpooler-tasks doctor` tells",
    ),
    "unreadable_keys": (
        "{measured} keys do not hold what they should",
        "the worker's log names each, under [health]",
    ),
    "not_recorded": (
        "the verdict could not be written to Redis",
        "free memory or end read-only mode; `vmpooler-tasks doctor` tells",
    ),
    "stale": (
        "the last check is {measured} seconds old, more than {threshold}, or there was none",
        "is a worker running, and beat? `vmpooler-tasks doctor` tells",
    ),
    _AHEAD: (
        "the last check is of the future, {measured} seconds from now",
        "set the clocks (NTP) of this machine and the workers'; `vmpooler-tasks doctor` tells",
    ),
    "unreadable": (
        "the recorded verdict cannot be read ({measured} of the fields of vmpooler__health)",
        "is VMPooler's own health check off? the next check here writes all of them anew",
    ),
}
_UNKNOWN = (
    "{code}: {measured}, threshold {threshold}",
    "this version does not know this reason: see what else writes vmpooler__health",
)


def explain(reason: Reason) -> tuple[str, str]:
    """(what was found, what to do)."""
    ahead = reason.code == "stale" and reason.measured < 0
    found, remedy = _ADVICE.get(_AHEAD if ahead else reason.code, _UNKNOWN)
    values = {"queue": reason.queue, "provider": reason.provider, **reason.as_json()}
    if ahead:
        values["measured"] = -values["measured"]
    return found.format(**values), remedy.format(**values)
