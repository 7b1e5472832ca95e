"""The commands of Celery's remote control, and which of them a configuration permits."""

from collections.abc import Collection, Mapping

INSPECT, REVOKE, ALL = "inspect", "revoke", "all"

GROUPS: Mapping[str, frozenset[str]] = {
    INSPECT: frozenset(
        {
            *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered", "report", "reserved"),
            *("revoked", "scheduled", "stats"),
            *("enable_events", "heartbeat"),  # Flower and `celery events` send them
        }
    ),
    REVOKE: frozenset({"revoke", "terminate"}),
}
"""Group → its commands. `inspect` reads, and changes no work. `revoke` ends tasks, of which each is a dead letter."""

LASTING = frozenset(
    {
        *("add_consumer", "cancel_consumer", "autoscale", "pool_grow", "pool_shrink"),
        *("rate_limit", "time_limit", "disable_events"),
    }
)
"""Commands that change how a worker works until it is restarted."""

COMMANDS = frozenset().union(*GROUPS.values(), LASTING, {"shutdown", "pool_restart", "memsample", "memdump"})
"""All commands that may be permitted.

Celery has others. `hello` and `election` are for workers that talk to each other, which those of this project do not;
`hello` makes a worker revoke tasks. `revoke_by_stamped_headers` ends any number of tasks. `objgraph` writes files.
"""

ALIASES: Mapping[str, str] = {
    "dump_active": "active",
    "dump_conf": "conf",
    "dump_reserved": "reserved",
    "dump_revoked": "revoked",
    "dump_schedule": "scheduled",
    "dump_tasks": "registered",
}
"""Old names of commands, by which Celery knows them as well."""

CHOICES = frozenset({*GROUPS, *COMMANDS, ALL})
"""What the option `remote_control` may list."""


def permitted_commands(chosen: Collection[str]) -> frozenset[str]:
    """Return the commands that these groups and commands permit."""
    if ALL in chosen:
        return COMMANDS
    return frozenset().union(*(GROUPS.get(one, {one}) for one in chosen))
