"""A provider whose VMs are folders: an example to copy from."""

from vmpooler_tasks.providers import ProviderContext
from vmpooler_tasks_folders.provider import Folders


def folders(context: ProviderContext) -> Folders:
    """Return the provider. The entry point in pyproject.toml names this function."""
    return Folders(context)
