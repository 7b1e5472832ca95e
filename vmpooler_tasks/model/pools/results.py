"""What came of the work on one VM. Scripts, jobs and tasks use these words."""

from enum import StrEnum


class CloneClaim(StrEnum):
    """Result of an attempt to claim a clone."""

    CLAIMED = "claimed"
    LEFT_QUEUE = "left_queue"
    """The VM is no longer pending."""

    ALREADY_CLONED = "already_cloned"
    BUSY = "busy"
    """Another worker holds the lease."""

    PAUSED = "paused"
    """An operator paused the pool. The clone was taken back."""

    SUSPENDED = "suspended"
    """The circuit breaker suspends the provider."""

    POOL_SUSPENDED = "pool_suspended"
    """The circuit breaker suspends the pool. The clone was taken back."""

    EXHAUSTED = "exhausted"
    """Every allowed delivery started the clone, and none finished it."""


class TrialResult(StrEnum):
    """Result of an order to try a suspended provider or pool now."""

    TRIAL = "trial"
    """One clone may start now."""

    TRIAL_DUE = "trial_due"
    """One clone may start already: the time of the suspension is over."""

    TRIAL_RUNNING = "trial_running"
    """A clone that tries it is running already."""

    NOT_SUSPENDED = "not_suspended"


class Completion(StrEnum):
    """Result of an order to move a VM to completed."""

    COMPLETED = "completed"
    REPLACED = "replaced"
    """It was moved, and the open request that it had been delivered to gets another VM."""

    LEFT_QUEUE = "left_queue"
    """It was no longer in its queue. Nothing was done."""


class DestroyClaim(StrEnum):
    """Result of an attempt to claim a destruction."""

    CLAIMED = "claimed"
    LEFT_QUEUE = "left_queue"
    """The VM is no longer in completed."""

    BUSY = "busy"
    """Another worker holds the lease."""

    IN_TWO_QUEUES = "in_two_queues"
    """The VM is running, too. An inspection decides where it belongs."""


class HandoverResult(StrEnum):
    """Where a pending VM that is ready went."""

    READY = "ready"
    """To its pool's ready queue."""

    DELIVERED = "delivered"
    """To running, for its on-demand request."""

    REQUEST_CLOSED = "request_closed"
    """To completed: its request failed, was deleted or is gone."""

    LEFT_QUEUE = "left_queue"
    """Nowhere: it is no longer pending."""


class CloneResult(StrEnum):
    """Result of one run of a clone task that raised no error."""

    READY = "ready"
    DELIVERED = "delivered"
    REQUEST_CLOSED = "request_closed"
    PENDING = "pending"
    """The VM exists and is not ready yet. It stays pending."""

    LEFT_QUEUE = "left_queue"
    """The VM is no longer pending."""

    ALREADY_CLONED = "already_cloned"
    BUSY = "busy"
    PAUSED = "paused"
    """An operator paused the pool. The clone was taken back."""

    POOL_SUSPENDED = "pool_suspended"
    SUSPENDED = "suspended"
    LOST = "lost"
    """Another worker took the lease over."""


class CheckResult(StrEnum):
    """Result of a check of one pending, ready or running VM."""

    PENDING = "pending"
    READY = "ready"
    RUNNING = "running"
    DELIVERED = "delivered"
    REQUEST_CLOSED = "request_closed"
    COMPLETED = "completed"
    """It was moved to completed without a dead letter."""

    FAILED = "failed"
    """It was moved to completed, with a dead letter if these are on."""

    REMOVED = "removed"
    """It was removed from its queue: the provider does not have it."""

    HELD = "held"
    """The provider does not have it. The brake of its pool holds it in its queue."""

    LEFT_QUEUE = "left_queue"
    """It was no longer in the queue. Nothing was done."""


class MarkResult(StrEnum):
    """Result of an attempt to give a VM the mark of this installation."""

    MARKED = "marked"
    FAILED = "failed"
    """The provider refused it or did not reply. A later inspection hands it out again."""

    MISSING = "missing"
    """The provider does not have the VM."""

    LEFT_QUEUE = "left_queue"
    """The VM is in no queue that shows whose it is. Nothing was done."""


class DestroyResult(StrEnum):
    """Result of one run of a destruction that raised no error."""

    DESTROYED = "destroyed"
    HELD = "held"
    """The provider does not have it. The brake of its pool holds it in completed."""

    IN_TWO_QUEUES = "in_two_queues"
    """It is running, too. An inspection decides where it belongs."""

    LEFT_QUEUE = "left_queue"
    BUSY = "busy"
    LOST = "lost"
    """Another worker took the lease over."""
