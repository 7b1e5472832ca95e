"""The texts of health reasons: what was found, and what to do."""

from vmpooler_tasks.model.health.status import Reason

_AHEAD = "stale, of the future"

_ADVICE: dict[str, tuple[str, str]] = {
    "dlq_size": (
        "{measured} dead letters, more than {threshold}",
        "find the most frequent errors with `vmpooler-tasks dlq stats`",
    ),
    "dlq_near_cap": (
        "{measured} dead letters in {queue}, near the cap: soon the oldest are dropped",
        "fix the cause, then export or delete them, or raise dlq_max_entries",
    ),
    "stuck_vms": (
        "{measured} VMs stuck in pending, more than {threshold}",
        "check the provider and `vmpooler-tasks dlq list --queue clone`",
    ),
    "pending_queue": (
        "{measured} VMs pending in {pool}, more than {threshold}",
        "check the provider of this pool",
    ),
    "ready_queue": (
        "{measured} VMs ready in {pool}, more than {threshold}",
        "reduce the size of the pool if its VMs are not used",
    ),
    "empty_pool": (
        "{pool} has had no ready VM for {measured} seconds",
        "check `vmpooler-tasks dlq list --pool {pool}` and the provider",
    ),
    "purge_overdue": (
        "the purge is {measured} seconds overdue",
        "check with `vmpooler-tasks doctor` that a worker and beat are running",
    ),
    "purge_unfinished": (
        "a purge started {measured} seconds ago and did not finish",
        "its worker was probably killed; nothing to do: the next purge takes over",
    ),
    "purge_failed": ("the last purge failed", "read the cause in the worker's log, under [purge]"),
    "purge_aborted": (
        "the purge stopped: it would have removed {measured} % of {queue} in {pool}, more than {threshold} %",
        "check with `vmpooler-tasks purge --dry-run --pool {pool}`, then run it with --force",
    ),
    "breaker_open": (
        "provider {provider} failed several times in a row, or does not respond, and is suspended",
        "check the provider and `vmpooler-tasks dlq list --queue clone`; the next attempt is automatic",
    ),
    "pool_broken": (
        "{measured} clones of {pool} in a row failed permanently: the pool is suspended",
        "fix its template, permissions or configuration: `vmpooler-tasks dlq list --queue clone --pool {pool}`",
    ),
    "other_manager": (
        "another pool manager is at work on this Redis",
        "stop VMPooler's manager, or set manage_pools: false here",
    ),
    "health_overdue": (
        "health checks are {measured} seconds late",
        "check with `vmpooler-tasks doctor` that a worker and beat are running",
    ),
    "unreadable_keys": (
        "{measured} keys hold data of the wrong type",
        "find their names in the worker's log, under [health]",
    ),
    "not_recorded": (
        "the health status could not be written to Redis",
        "free memory or end the read-only mode; `vmpooler-tasks doctor` shows which",
    ),
    "stale": (
        "the last check is {measured} seconds old, more than {threshold}, or there was none",
        "check with `vmpooler-tasks doctor` that a worker and beat are running",
    ),
    _AHEAD: (
        "the last check is dated {measured} seconds in the future",
        "synchronize the clocks of this machine and of the workers (NTP); `vmpooler-tasks doctor` shows the difference",
    ),
    "unreadable": (
        "the recorded health status cannot be read (invalid fields of vmpooler__health: {measured})",
        "switch off VMPooler's own health check; the next check here writes all fields again",
    ),
}
_UNKNOWN = (
    "{code}: {measured}, threshold {threshold}",
    "this version does not know this reason: check which other program writes vmpooler__health",
)


def explain(reason: Reason) -> tuple[str, str]:
    """Return what was found and what to do, as two texts."""
    ahead = reason.code == "stale" and reason.measured < 0
    found, remedy = _ADVICE.get(_AHEAD if ahead else reason.code, _UNKNOWN)
    values = {"queue": reason.queue, "provider": reason.provider, **reason.as_json()}
    if ahead:
        values["measured"] = -values["measured"]
    return found.format(**values), remedy.format(**values)
