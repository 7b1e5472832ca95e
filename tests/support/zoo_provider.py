"""The dummy provider with switches from outside: files in the folder that ZOO_SWITCHES names."""

import os
from pathlib import Path

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.providers import PoolSpec, VirtualMachine
from vmpooler_tasks.providers.dummy.draws import Draws
from vmpooler_tasks.providers.dummy.options import Operation
from vmpooler_tasks.providers.dummy.provider import Dummy

NAME = "zoo"
VARIABLE = "ZOO_SWITCHES"
DOWN, NO_TEMPLATE = "provider-down", "template-gone"
"""The names of the files. NO_TEMPLATE contains the names of the pools whose template is gone."""


class ZooProvider(Dummy):
    """Fail while a switch is there."""

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        gone = _switch(NO_TEMPLATE)
        if gone.exists() and pool.name in gone.read_text(encoding="utf-8").split():
            raise PermanentProviderError(f"template {pool.template} does not exist")
        return super().create_vm(pool, vm)

    def _draw(self, operation: Operation, pool: str, name: str) -> Draws:
        if _switch(DOWN).exists():
            raise TransientProviderError("the connection to the hypervisor was refused")
        return super()._draw(operation, pool, name)


def _switch(name: str) -> Path:
    return Path(os.environ[VARIABLE]) / name


def installed(folder: Path) -> str:
    """Return a folder for PYTHONPATH in which this provider is an installed distribution."""
    info = folder / "zoo_provider-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-provider\nVersion: 1\n", encoding="utf-8")
    entry = f"[vmpooler_tasks.providers]\n{NAME} = tests.support.zoo_provider:ZooProvider\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    return str(folder)
