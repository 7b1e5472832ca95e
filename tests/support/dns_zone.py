"""A DNS plugin whose every reply a test can set."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from vmpooler_tasks.dns import Deletion, DnsRecord


@dataclass
class Zone:
    """A DNS plugin that keeps its records in memory."""

    own: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
    error: Exception | None = None
    before: Callable[[str], object] = lambda _: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_taken(self, name: str) -> bool:
        self._call("is_taken", name)
        return name in self.foreign

    def create_record(self, record: DnsRecord) -> bool:
        self._call("create", record.name)
        if record.name not in self.foreign:
            self.own[record.name] = record.address
        return record.name not in self.foreign

    def delete_record(self, name: str) -> Deletion:
        self._call("delete", name)
        if name in self.foreign:
            return Deletion.NOT_OURS
        return Deletion.DELETED if self.own.pop(name, None) else Deletion.ABSENT

    def close(self) -> None:
        """Nothing is open."""

    def _call(self, what: str, name: str) -> None:
        with self.lock:
            self.calls.append(what)
        self.before(what)
        if self.error:
            raise self.error
