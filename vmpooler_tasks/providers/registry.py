"""Find the installed provider that a section of `:providers:` names.

A package provides one with an entry point of this group. Its name is the name in the configuration:

    [project.entry-points."vmpooler_tasks.providers"]
    vsphere = "vmpooler_tasks_vsphere:provider"
"""

from vmpooler_tasks.plugins import PluginKind
from vmpooler_tasks.providers.protocol import Provider, ProviderContext

GROUP = "vmpooler_tasks.providers"

_PROVIDERS: PluginKind[Provider] = PluginKind(
    group=GROUP,
    section="providers",
    noun="provider",
    package="vmpooler-tasks-",
    protocol=Provider,  # type: ignore[type-abstract]  # only isinstance uses it
)


def installed() -> list[str]:
    """Return the names of all installed providers, sorted."""
    return _PROVIDERS.installed()


def load(context: ProviderContext) -> Provider:
    """Import the provider that `provider_class` of the section names, else the section's name, and call its factory.

    Case does not matter, as in VMPooler. Raise ConfigurationError if that fails. A second call creates a second
    provider.
    """
    return _PROVIDERS.load(context.name, str(context.options.get("provider_class") or context.name), context)
