"""Names in the configuration that only VMPooler reads. They are known, so that they do not count as misspelt.

Source: VMPooler 3's `vmpooler.yaml.example`, `docs/configuration.md` and `lib/vmpooler.rb`.
"""

SECTIONS = frozenset(
    {
        "alias",
        "auth",
        "config",
        "dns_configs",
        "graphite",
        "graphs",
        "pool_names",
        "pools",
        "prometheus",
        "providers",
        "redis",
        "statsd",
        "tagfilter",
        "tracing",
        "uptime",
        "vsphere",
    }
)

VMPOOLER_OPTIONS = frozenset(
    {
        "allowed_tags",
        "backend_weight",
        "check_loop_delay_decay",
        "check_loop_delay_max",
        "check_loop_delay_min",
        "clone_target",
        "create_folders",
        "create_linked_clones",
        "create_template_delta_disks",
        "domain",
        "experimental_features",
        "extra_config",
        "host_selection_max_age",
        "logfile",
        "manage_host_selection",
        "max_lifetime_upper_limit",
        "max_ondemand_instances_per_request",
        "max_tries",
        "max_vm_retries",
        "migration_limit",
        "ondemand_clone_limit",
        "ondemand_request_ttl",
        "prefix",
        "purge_unconfigured_folders",
        "purge_unconfigured_resources",
        "ready_ttl",
        "request_logger",
        "retry_factor",
        "site_name",
        "task_limit",
        "timeout",
        "timeout_notification",
        "usage_stats",
        "utilization_limit",
        "vm_checktime",
        "vm_lifetime",
        "vm_lifetime_auth",
        "vm_prefix",
    }
)

VMPOOLER_REDIS_OPTIONS = frozenset({"connection_pool_size", "connection_pool_timeout", "reconnect_attempts"})
