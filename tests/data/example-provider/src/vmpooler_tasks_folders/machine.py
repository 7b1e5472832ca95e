"""What a VM's folder says about the VM, in its file machine.json."""

import json
import time
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, Self

from vmpooler_tasks.providers import VirtualMachine

FILE = "machine.json"


class Machine(NamedTuple):
    """A VM. `installation` is the mark of who made it: None if nobody did, '' if that installation has no mark."""

    installation: str | None = None
    ip: str | None = None
    boots_at: float = 0

    @classmethod
    def new(cls, vm: str, installation: str, boot_seconds: float) -> Self:
        one, two, three = blake2b(vm.encode(), digest_size=3).digest()
        return cls(installation, f"127.{one}.{two}.{three}", time.time() + boot_seconds)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the VM of this folder. A folder without the file was not made by this provider."""
        try:
            return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        except (ValueError, TypeError, FileNotFoundError):
            return cls()

    def write(self, folder: Path) -> None:
        """Write the file. Readers see the old one or the new one, never a part."""
        new = folder / f".{FILE}.new"
        new.write_text(json.dumps(self._asdict()), encoding="utf-8")
        new.replace(folder / FILE)

    def as_virtual_machine(self, vm: str, *, existed: bool = False) -> VirtualMachine:
        return VirtualMachine(name=vm, hostname=vm if self.ip else None, ip=self.ip, existed=existed)
