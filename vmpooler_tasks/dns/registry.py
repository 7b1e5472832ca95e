"""Find the installed DNS plugin that `dns_class` in an entry of `:dns_configs:` names.

A package provides one with an entry point of this group. Its name is the `dns_class`:

    [project.entry-points."vmpooler_tasks.dns"]
    gcp = "vmpooler_tasks_dns_gcp:plugin"
"""

from vmpooler_tasks.dns.protocol import DnsContext, DnsPlugin
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.plugins import SOURCE, PluginKind

DNS_GROUP = "vmpooler_tasks.dns"

_PLUGINS: PluginKind[DnsPlugin] = PluginKind(
    group=DNS_GROUP,
    section="dns_configs",
    noun="dns_class",
    package="vmpooler-tasks-dns-",
    protocol=DnsPlugin,  # type: ignore[type-abstract]  # only isinstance uses it
)


def installed() -> list[str]:
    """Return the classes of all installed DNS plugins, sorted."""
    return _PLUGINS.installed()


def load(context: DnsContext, dns_class: str) -> DnsPlugin:
    """Import the plugin of this class, and call its factory. Case does not matter, as in VMPooler.

    Raise ConfigurationError if that fails, or if records could have no name or no mark. A second call creates a second
    plugin.
    """
    problems = list[str]()
    path = f"dns_configs.{context.name}"
    if not context.domain:
        problems.append(f"{path}.domain: must be set: it is the second part of the name of each record")
    if not context.installation:
        problems.append(
            f"{path}: needs config.installation: each DNS record carries this name, so that only records of this "
            "installation are replaced and deleted"
        )
    if problems:
        raise ConfigurationError(SOURCE, problems)
    return _PLUGINS.load(context.name, dns_class, context)
