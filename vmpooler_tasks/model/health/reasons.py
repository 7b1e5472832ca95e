"""Every reason why health is not perfect, in one table: code, severity, texts, alert.

The command, the pages, the API, the log and the metrics show these texts. Tests compare the table with the runbooks and
with the alerts. A new reason is a row here, a section in docs/runbooks.md and the place that detects it. `explanation`
returns the texts of one that was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vmpooler_tasks.model.health.status import Status


class ReasonCode(StrEnum):
    """The codes in `vmpooler__health`. Each is also the anchor of its section in the runbooks."""

    DLQ_SIZE = "dlq_size"
    DLQ_NEAR_CAP = "dlq_near_cap"
    STUCK_VMS = "stuck_vms"
    PENDING_QUEUE = "pending_queue"
    READY_QUEUE = "ready_queue"
    ALL_POOLS_EMPTY = "all_pools_empty"
    EMPTY_POOL = "empty_pool"
    PURGE_OVERDUE = "purge_overdue"
    PURGE_UNFINISHED = "purge_unfinished"
    PURGE_FAILED = "purge_failed"
    PURGE_ABORTED = "purge_aborted"
    INSPECTION_STALLED = "inspection_stalled"
    CLONES_STALLED = "clones_stalled"
    REQUESTS_STALLED = "requests_stalled"
    ORDERS_WAITING = "orders_waiting"
    BREAKER_OPEN = "breaker_open"
    POOL_BROKEN = "pool_broken"
    RECYCLED_REPEATEDLY = "recycled_repeatedly"
    BRAKE = "brake"
    FOREIGN_VM = "foreign_vm"
    DNS_FAILING = "dns_failing"
    OTHER_MANAGER = "other_manager"
    REMOVED_POOL = "removed_pool"
    HEALTH_OVERDUE = "health_overdue"
    VM_IN_TWO_QUEUES = "vm_in_two_queues"
    UNREADABLE_KEYS = "unreadable_keys"
    WRONG_TYPE_KEY = "wrong_type_key"
    KEY_SET_ASIDE = "key_set_aside"
    NOT_RECORDED = "not_recorded"
    NO_WORKER = "no_worker"
    NO_BEAT = "no_beat"
    NOTHING_CHECKED = "nothing_checked"
    CLOCK = "clock"
    CONFIGURATIONS_DIFFER = "configurations_differ"
    WORKER_CHANGED = "worker_changed"
    STALE = "stale"
    UNREADABLE = "unreadable"
    NO_REDIS = "no_redis"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonText:
    """What was found and what to do, with the fields of a reason in braces."""

    found: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonKind(ReasonText):
    """What all reasons of one code have in common.

    `severity` is the default; a measure with two thresholds sets its own. `alert`: the rule in deploy/prometheus that
    fires for this reason, None where only VMPoolerUnhealthy does. `thread`: the name in the operator guide's log line
    `worker thread died`, which reports this reason. `if_negative` replaces the texts if the measure is below zero,
    `if_key` those of a reason that names a key or an option.
    """

    severity: Status = Status.DEGRADED
    alert: str | None = None
    thread: str | None = None
    if_negative: ReasonText | None = None
    if_key: ReasonText | None = None


_CHECK_PROCESSES = "check with `vmpooler-tasks doctor` that a worker and beat are running"

REASONS: Mapping[ReasonCode, ReasonKind] = {
    ReasonCode.DLQ_SIZE: ReasonKind(
        found="{measured} dead letters, more than {threshold}",
        remedy="find the most frequent errors with `vmpooler-tasks dlq stats`",
        alert="VMPoolerHighDLQ",
    ),
    ReasonCode.DLQ_NEAR_CAP: ReasonKind(
        found="{measured} dead letters in {queue}, near the cap: soon the oldest are dropped",
        remedy="fix the cause, then export or delete them, or raise dlq_max_entries",
        alert="VMPoolerDLQNearCap",
        if_key=ReasonText(
            found="{measured} bytes of dead letters in {queue}, near {key}: soon the oldest are dropped",
            remedy="fix the cause, then export or delete them, or raise {key}",
        ),
    ),
    ReasonCode.STUCK_VMS: ReasonKind(
        found="{measured} VMs stuck in pending, more than {threshold}",
        remedy="check the provider and `vmpooler-tasks dlq list --queue clone`",
        alert="VMPoolerStuckVMs",
    ),
    ReasonCode.PENDING_QUEUE: ReasonKind(
        found="{measured} VMs pending in {pool}, more than {threshold}",
        remedy="check the provider of this pool",
    ),
    ReasonCode.READY_QUEUE: ReasonKind(
        found="{measured} VMs ready in {pool}, more than {threshold}",
        remedy="reduce the size of the pool if its VMs are not used",
    ),
    ReasonCode.ALL_POOLS_EMPTY: ReasonKind(
        found="no pool has had a ready VM for {measured} seconds: users get no VM",
        remedy="find the cause with `vmpooler-tasks pools` and `vmpooler-tasks doctor`",
        severity=Status.UNHEALTHY,
        alert="VMPoolerAllPoolsEmpty",
    ),
    ReasonCode.EMPTY_POOL: ReasonKind(
        found="{pool} has had no ready VM for {measured} seconds",
        remedy="check the provider and `vmpooler-tasks dlq list --pool {pool}`",
        alert="VMPoolerPoolEmpty",
    ),
    ReasonCode.PURGE_OVERDUE: ReasonKind(
        found="the purge is {measured} seconds overdue",
        remedy="it needs a beat and a worker for vmpooler.maintenance: `vmpooler-tasks doctor` shows which is missing",
        alert="VMPoolerPurgeOverdue",
        thread="queue_purge",
    ),
    ReasonCode.PURGE_UNFINISHED: ReasonKind(
        found="a purge started {measured} seconds ago and did not finish",
        remedy="its worker was probably killed; nothing to do: the next purge takes over",
        alert="VMPoolerPurgeFailed",
    ),
    ReasonCode.PURGE_FAILED: ReasonKind(
        found="the last purge failed",
        remedy="read the cause in the worker's log, under [purge]",
        alert="VMPoolerPurgeFailed",
    ),
    ReasonCode.PURGE_ABORTED: ReasonKind(
        found="the purge stopped: it would have removed {measured} % of {queue} in {pool}, more than {threshold} %",
        remedy="check with `vmpooler-tasks purge --dry-run --pool {pool}`, then run it with --force",
        alert="VMPoolerPurgeFailed",
    ),
    ReasonCode.INSPECTION_STALLED: ReasonKind(
        found="no inspection of {pool} has ended well for {measured} seconds. {last_error}",
        remedy="check with `vmpooler-tasks doctor` that workers take vmpooler.check; read their log, under [{pool}]",
        alert="VMPoolerInspectionStalled",
    ),
    ReasonCode.CLONES_STALLED: ReasonKind(
        found="no clone has ended for {measured} seconds, and one of {pool} is overdue",
        remedy="check with `vmpooler-tasks doctor` that workers take vmpooler.clone; restart a worker that hangs",
        severity=Status.UNHEALTHY,
        alert="VMPoolerClonesStalled",
    ),
    ReasonCode.REQUESTS_STALLED: ReasonKind(
        found="on-demand requests have not moved for {measured} seconds: {key} waits. {last_error}",
        remedy="check with `vmpooler-tasks doctor` that workers take vmpooler.maintenance; read the worker's log",
        severity=Status.UNHEALTHY,
        alert="VMPoolerRequestsStalled",
    ),
    ReasonCode.ORDERS_WAITING: ReasonKind(
        found="orders of users in {key} have waited for {measured} seconds: nobody carries them out ({error})",
        remedy="check with `vmpooler-tasks doctor` that workers take vmpooler.clone and vmpooler.maintenance,"
        " or, with manage_pools: false, that VMPooler's manager runs",
        alert="VMPoolerOrdersWaiting",
    ),
    ReasonCode.BREAKER_OPEN: ReasonKind(
        found="provider {provider} is suspended after {measured} failures in a row. {last_error}. {next_attempt}",
        remedy="fix the provider; `vmpooler-tasks pools retry --provider {provider}` tries it at once",
        severity=Status.UNHEALTHY,
        alert="VMPoolerProviderBreakerOpen",
    ),
    ReasonCode.POOL_BROKEN: ReasonKind(
        found="{pool} is suspended: {measured} clones or checks in a row failed. {last_error}. {next_attempt}",
        remedy="fix its template, permissions or configuration; `vmpooler-tasks pools retry {pool}` tries it at once",
        alert="VMPoolerPoolBreakerOpen",
    ),
    ReasonCode.RECYCLED_REPEATEDLY: ReasonKind(
        found="{measured} ready VMs of {pool} were replaced in half an hour, more than {threshold}. {last_error}",
        remedy="fix its template or network; for hostnames or ready_ttl: check the options of the pool",
        alert="VMPoolerPoolRecycled",
    ),
    ReasonCode.BRAKE: ReasonKind(
        found="the brake of {pool} is engaged: {measured} VMs are unknown or missing, more than {threshold}. "
        "VMs: {error}",
        remedy="find the cause: was Redis emptied, is the folder or the database the right one, is the inventory "
        "complete? If the VMs shall be destroyed, run `vmpooler-tasks pools confirm {pool}`",
        alert="VMPoolerBrake",
    ),
    ReasonCode.FOREIGN_VM: ReasonKind(
        found="{measured} VMs of {pool} are in no queue, without the mark of this installation: {error}",
        remedy="find out whose they are: no worker touches them. `vmpooler-tasks pools adopt {pool}` lists them, and"
        " marks them if you confirm: then they are destroyed",
        alert="VMPoolerForeignVM",
    ),
    ReasonCode.DNS_FAILING: ReasonKind(
        found="{measured} calls in a row to the DNS server of {key} failed, more than {threshold}. {last_error}",
        remedy="check its entry in :dns_configs: with `vmpooler-tasks config check --online`, and the DNS server",
        alert="VMPoolerDNSFailing",
    ),
    ReasonCode.OTHER_MANAGER: ReasonKind(
        found="another pool manager uses this Redis: these workers do nothing{last_seen}",
        remedy="stop VMPooler's manager, or set manage_pools: false here",
    ),
    ReasonCode.REMOVED_POOL: ReasonKind(
        found="{pool} is in no configuration and has {measured} VMs ({error})",
        remedy="put it back, or let it drain; `vmpooler-tasks pools keep {pool}` keeps its VMs",
        alert="VMPoolerRemovedPool",
    ),
    ReasonCode.HEALTH_OVERDUE: ReasonKind(
        found="health checks are {measured} seconds late",
        remedy="nothing to do after a restart; if it happens again, start a separate worker for vmpooler.maintenance",
        thread="health_check",
    ),
    ReasonCode.VM_IN_TWO_QUEUES: ReasonKind(
        found="{measured} VMs are in more than one queue ({key}): {error}",
        remedy="with manage_pools the next inspection repairs it; otherwise the runbook says which queue is wrong",
        alert="VMPoolerVMInTwoQueues",
    ),
    ReasonCode.UNREADABLE_KEYS: ReasonKind(
        found="{measured} keys of VMPooler or Celery have the wrong type, or hold data that cannot be read: {key}",
        remedy="find out which program wrote them; then rename or delete them",
        alert="VMPoolerUnreadableKeys",
    ),
    ReasonCode.WRONG_TYPE_KEY: ReasonKind(
        found="the key {key} is {error}: all work that needs it stands still",
        remedy='find out which program wrote it; then rename it: `redis-cli -u "$REDIS_URL" RENAME {key} {key}.wrong`',
        severity=Status.UNHEALTHY,
        alert="VMPoolerWrongTypeKey",
    ),
    ReasonCode.KEY_SET_ASIDE: ReasonKind(
        found="the key {key} was {error}: it was renamed, and work goes on with a new one",
        remedy="find out which program wrote it; `vmpooler-tasks doctor` names the renamed key",
        alert="VMPoolerKeySetAside",
    ),
    ReasonCode.NOT_RECORDED: ReasonKind(
        found="the health status could not be written to Redis",
        remedy="free memory or end the read-only mode; `vmpooler-tasks doctor` shows which",
        severity=Status.UNHEALTHY,
    ),
    ReasonCode.NO_WORKER: ReasonKind(
        found="no live worker takes {queue} (waiting messages: {measured}){last_process}",
        remedy="start a worker: `celery -A vmpooler_tasks worker -Q {queue}`",
        severity=Status.UNHEALTHY,
        alert="VMPoolerNoWorker",
    ),
    ReasonCode.NO_BEAT: ReasonKind(
        found="no beat is alive, so nothing is scheduled{last_process}",
        remedy="start a beat: `celery -A vmpooler_tasks beat`",
        severity=Status.UNHEALTHY,
        alert="VMPoolerNoBeat",
    ),
    ReasonCode.NOTHING_CHECKED: ReasonKind(
        found="no pool is configured, and none is registered in this Redis: there is nothing to check",
        remedy="check the address and database number of Redis, and the configuration: `vmpooler-tasks config show`",
        severity=Status.UNHEALTHY,
    ),
    ReasonCode.CLOCK: ReasonKind(
        alert="VMPoolerClockWrong",
        found="the clock of {host} is {measured} seconds ahead of the clock of Redis",
        remedy="synchronize the clocks of all machines (NTP); `vmpooler-tasks doctor` shows the difference",
        if_negative=ReasonText(
            found="the clock of {host} is {measured} seconds behind the clock of Redis",
            remedy="synchronize the clocks of all machines (NTP); `vmpooler-tasks doctor` shows the difference",
        ),
    ),
    ReasonCode.CONFIGURATIONS_DIFFER: ReasonKind(
        alert="VMPoolerConfigurationsDiffer",
        found="{host} runs with another configuration than most workers and beats: {error}",
        remedy="give all of them the same configuration, and restart those with the old one",
    ),
    ReasonCode.WORKER_CHANGED: ReasonKind(
        alert="VMPoolerWorkerChanged",
        found="remote control has changed {host} since its start: {error}",
        remedy="restart it: it then works as configured. `remote_control` sets which commands are permitted",
    ),
    ReasonCode.STALE: ReasonKind(
        found="no scheduled health check in the last {threshold} seconds",
        remedy=_CHECK_PROCESSES,
        severity=Status.UNHEALTHY,
        alert="VMPoolerHealthStale",
        if_negative=ReasonText(
            found="the last check is dated {measured} seconds in the future",
            remedy="synchronize the clocks of all machines (NTP); `vmpooler-tasks doctor` shows the difference",
        ),
    ),
    ReasonCode.UNREADABLE: ReasonKind(
        found="the recorded health status cannot be read (invalid fields of vmpooler__health: {measured})",
        remedy="switch off VMPooler's own health check; the next check here writes all fields again",
        severity=Status.UNHEALTHY,
        alert="VMPoolerHealthStale",
    ),
    ReasonCode.NO_REDIS: ReasonKind(
        found="Redis has not replied for {measured} seconds: nothing works. {last_error}",
        remedy="start or repair Redis; `vmpooler-tasks doctor` shows what it says",
        severity=Status.UNHEALTHY,
        alert="VMPoolerRedisDown",
    ),
}

_UNKNOWN = ReasonKind(
    found="{code}: {measured}, threshold {threshold}",
    remedy="this version does not know this reason: check which other program writes vmpooler__health",
)


def kind_of_reason(code: str) -> ReasonKind:
    """Return the row of a code; a code that this version does not know has texts, too."""
    return REASONS[ReasonCode(code)] if code in set(ReasonCode) else _UNKNOWN
