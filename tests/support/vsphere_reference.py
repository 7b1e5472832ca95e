"""The tables of docs/providers/vsphere.md: `python -m tests.support.vsphere_reference` prints them."""

from collections.abc import Iterator

from pydantic import BaseModel

from vmpooler_tasks.config.pools import ManagerOptions
from vmpooler_tasks.config.schema import as_yaml
from vmpooler_tasks.providers.vsphere import checks
from vmpooler_tasks.providers.vsphere.options import CloneDefaults, VsphereOptions, VspherePool

PRIVILEGES = {
    "the pool's folder": (*checks.FOLDER_PRIVILEGES, checks.CONNECT_CARD),
    "the datacenter's folder of VMs": (checks.MAKE_FOLDER,),
    "the template, if it is marked as one": (checks.CLONE_FROM_TEMPLATE,),
    "the template, if it is a VM": (checks.CLONE_FROM_VM,),
    "the root resource pool of the cluster or host": (checks.USE_POOL,),
    "the datastore": (checks.USE_DATASTORE,),
    "the network": (checks.USE_NETWORK,),
}


def tables() -> list[str]:
    """Return the tables in the order of the page, each a text of lines."""
    rows = [_options(model) for model in (VsphereOptions, VspherePool, CloneDefaults)]
    return ["\n".join(each) for each in [*rows, _privileges()]]


def _options(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if field.is_required():
            default = "must be given"
        else:
            default = "" if field.default is None else f"`{as_yaml(field.default)}`"
        yield f"| `{name}` | {default} | {field.description} |"


def _privileges() -> Iterator[str]:
    for where, names in PRIVILEGES.items():
        yield f"| {where} | {', '.join(f'`{name}`' for name in names)} |"


def defaults_of_config() -> dict[str, object]:
    """Return the defaults that `:config:` has for the options that the provider reads."""
    return {name: ManagerOptions.model_fields[name].default for name in CloneDefaults.model_fields}


if __name__ == "__main__":
    print("\n\n".join(tables()))
