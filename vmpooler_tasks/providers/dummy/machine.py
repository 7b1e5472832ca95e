"""A VM of the dummy. Everything about it is decided when it is made, and stored as its record in Redis."""

import json
from hashlib import blake2b
from typing import NamedTuple, Self

from vmpooler_tasks.providers.dummy.draws import Draws
from vmpooler_tasks.providers.dummy.options import DummyOptions
from vmpooler_tasks.providers.protocol import Readiness, VirtualMachine

HOSTS = 16

WRONG_HOSTNAME = "localhost"
"""The hostname of a VM that reports a wrong one."""


class Machine(NamedTuple):
    """A machine. Times are epochs in seconds. At `lost_at` it disappears; its record stays until its name is needed."""

    hostname: str
    ip: str | None
    host: str
    boots_at: float
    lost_at: float | None
    unreachable: bool

    @classmethod
    def create(cls, vm: str, options: DummyOptions, draws: Draws, now: float) -> Self:
        # Address and host depend on the name alone. Two VMs may share them; one VM must not change them.
        one, two, three, host = blake2b(vm.encode(), digest_size=4).digest()
        return cls(
            hostname=WRONG_HOSTNAME if draws.hits("wrong_hostname", options.wrong_hostname) else vm,
            ip=None if draws.hits("no_ip", options.no_ip) else f"10.{one}.{two}.{1 + three % 254}",
            host=f"dummy-host-{host % HOSTS}",
            boots_at=now + draws.seconds("boot", options.boot_seconds),
            lost_at=now + options.lost_after_seconds if draws.hits("lost", options.lost) else None,
            unreachable=draws.hits("unreachable", options.unreachable),
        )

    @classmethod
    def from_json(cls, record: str) -> Self:
        return cls(**json.loads(record))

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    def is_lost(self, now: float) -> bool:
        return self.lost_at is not None and self.lost_at <= now

    def as_virtual_machine(self, vm: str, *, existed: bool = False) -> VirtualMachine:
        return VirtualMachine(name=vm, hostname=self.hostname, ip=self.ip, host=self.host, existed=existed)

    def readiness(self, now: float) -> Readiness:
        """Return the readiness. Its errors do not contain the VM's name, so that equal failures are equal."""
        if now < self.boots_at:
            return Readiness(False, "the VM is still booting")
        if self.unreachable:
            return Readiness(False, "the VM does not answer", "ConnectionError")
        return Readiness(True)
