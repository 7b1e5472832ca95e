"""Names in the configuration that only VMPooler reads. They are known, so that they do not count as misspelt."""

from vmpooler_tasks.config.vmpooler.options import API_OPTIONS, HONOURED_BY_THE_LOADER, WITHOUT_EFFECT

SECTIONS = (
    frozenset(API_OPTIONS["sections"])
    | frozenset(WITHOUT_EFFECT["sections"])
    | {"config", "dns_configs", "graphite", "pools", "providers", "redis", "statsd", "vsphere"}
    | {"alias", "pool_names", "uptime"}  # VMPooler keeps these in memory under such names
)

HONOURED_MANAGER_OPTIONS = frozenset(
    {
        "backend_weight",
        "check_loop_delay_min",
        "check_ready_vm_hostname_for_mismatch",
        "clone_target",
        "create_folders",
        "create_linked_clones",
        "create_template_delta_disks",
        "domain",
        "host_selection_max_age",
        "manage_host_selection",
        "max_ondemand_instances_per_request",
        "max_vm_retries",
        "ondemand_clone_limit",
        "ondemand_request_ttl",
        "prefix",
        "ready_ttl",
        "task_limit",
        "timeout",
        "timeout_notification",
        "utilization_limit",
        "vm_checktime",
        "vm_lifetime",
        "vm_lifetime_auth",
    }
)
"""Options of `:config:` that VMPooler's own manager reads, and these workers in its place."""

VMPOOLER_OPTIONS = (
    HONOURED_MANAGER_OPTIONS
    | HONOURED_BY_THE_LOADER["config"]
    | frozenset(API_OPTIONS["config"])
    | frozenset(WITHOUT_EFFECT["config"])
)

VMPOOLER_REDIS_OPTIONS = frozenset(WITHOUT_EFFECT["redis"])

VMPOOLER_POOL_OPTIONS = frozenset(WITHOUT_EFFECT["pools"])
