"""Load the DNS plugins that the pools name."""

from vmpooler_tasks.config import Settings
from vmpooler_tasks.dns import DnsContext, DnsPlugin, registry


def entries_in_use(settings: Settings) -> list[str]:
    """Return the entries of `:dns_configs:` that write records of a pool, sorted."""
    return sorted({entry for pool in settings.pools if (entry := settings.records_of(pool))})


def load_plugin(settings: Settings, entry: str) -> DnsPlugin:
    """Return a new DNS plugin for this entry of `:dns_configs:`. Raise ConfigurationError."""
    found = settings.dns_configs[entry]
    context = DnsContext(
        name=entry,
        domain=found.domain or settings.config.domain or "",
        options=found.options,
        installation=settings.config.installation,
    )
    return registry.load(context, found.dns_class or "")
