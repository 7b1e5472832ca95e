"""The DNS record of a VM: made when its clone has an address and before it is handed out, deleted at its destruction.

docs/dns.md has the order of the steps, and what a worker that dies between two of them leaves behind.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from vmpooler_tasks.clock import Clock
from vmpooler_tasks.config import Pool, Settings
from vmpooler_tasks.dns import Deletion, DnsPlugin, DnsRecord
from vmpooler_tasks.errors import ConfigurationError, RecordTakenError, WrongTypeError
from vmpooler_tasks.model.health.explanation import error_line
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.dns import failures, records
from vmpooler_tasks.store.dns.records import NotedRecord

T = TypeVar("T")

_log = logging.getLogger("vmpooler_tasks.pools")


@dataclass(frozen=True)
class DnsRecords:
    """The DNS records of all pools.

    `plugin` returns a DNS plugin by its entry in `:dns_configs:`; `retries` repeats failed calls. Failures in a row
    are counted for health. Nothing is done for a pool whose records nobody here writes.
    """

    db: Database
    settings: Settings
    plugin: Callable[[str], DnsPlugin]
    retries: Callable[..., Any]
    clock: Clock

    def require_free_name(self, pool: Pool, vm: str) -> None:
        """Raise RecordTakenError if somebody else has a DNS record of the new VM's name, and DnsError.

        Do nothing where the provider skips this check.
        """
        entry = self.settings.records_of(pool)
        if entry is None or self.settings.skips_name_check(pool):
            return
        name = self._full_name(pool, vm)
        if self._call(entry, lambda plugin: plugin.is_taken(name)):
            raise _taken()

    def create(self, pool: Pool, vm: str, address: str, *, fence: int) -> None:
        """Make the DNS record of a new VM, or renew it.

        It is noted in Redis first, so that it is found whatever happens next. If another worker took the lease over, no
        record is made: that worker makes it. Raise RecordTakenError if the name is somebody else's, and DnsError.
        """
        entry = self.settings.records_of(pool)
        if entry is None:
            return
        name = self._full_name(pool, vm)
        noted = NotedRecord(plugin=entry, name=name, address=address)
        if not records.note(self.db, vm, pool.name, noted, fence=fence):
            return
        record = DnsRecord(name=name, address=address, pool=pool.name)
        if not self._call(entry, lambda plugin: plugin.create_record(record)):
            raise _taken()
        about = {"vm": vm, "pool": pool.name}
        _log.info("[+] [%s] '%s' has the DNS record %s with %s", pool.name, vm, name, address, extra=about)

    def delete(self, pool: Pool, vm: str, *, fence: int) -> None:
        """Delete the DNS record of a VM that is destroyed, if it is ours. Raise DnsError.

        The entry that made it is the noted one, even if the pool has another one now.
        """
        if not self.settings.writes_records:
            return
        noted, entry = records.read(self.db, vm, pool.name), self.settings.records_of(pool)
        if noted:
            self._delete(pool.name, vm, noted.plugin, noted.name)
        elif entry:
            self._delete(pool.name, vm, entry, self._full_name(pool, vm))
        records.forget(self.db, vm, pool.name, fence=fence)

    def delete_unconfigured(self, pool: str, vm: str) -> NotedRecord | None:
        """Delete the DNS record of a VM whose pool is in no configuration, if it is ours. Raise DnsError.

        Return its note, which is still to be forgotten. Without a note, it is deleted by its name from each domain of
        `:dns_configs:`: the plugin knows whose it is.
        """
        if not self.settings.writes_records:
            return None
        if noted := records.read(self.db, vm, pool):
            self._delete(pool, vm, noted.plugin, noted.name)
            return noted
        for entry, found in sorted(self.settings.dns_configs.items()):
            domain = found.domain or self.settings.config.domain
            if found.writes_records and domain:
                self._delete_if_loaded(pool, vm, entry, f"{vm}.{domain}")
        return None

    def _delete_if_loaded(self, pool: str, vm: str, entry: str, name: str) -> None:
        try:
            self._delete(pool, vm, entry, name)
        except ConfigurationError as error:  # of an entry that no pool uses: nobody has tried it before
            text = "[!] [%s] '%s': entry %s of :dns_configs: cannot be loaded, so a DNS record %s may stay: %s"
            _log.warning(text, on_one_line(pool), on_one_line(vm), entry, on_one_line(name), on_one_line(str(error)))

    def read_recorded(self, pool: Pool) -> frozenset[bytes]:
        """Return the VMs of the pool for which a DNS record was made, and is not deleted."""
        return records.read_names(self.db, pool.name) if self.settings.writes_records else frozenset()

    def _delete(self, pool: str, vm: str, entry: str, name: str) -> None:
        made_by = self.settings.dns_configs.get(entry)
        shown = {"pool": on_one_line(pool), "vm": on_one_line(vm), "name": on_one_line(name)}
        about = {"vm": shown["vm"], "pool": shown["pool"]}
        if made_by is None or not made_by.writes_records:
            text = (
                "[!] [%s] '%s': the DNS record %s stays: entry %s of :dns_configs: is gone. Delete the record by hand"
            )
            _log.warning(text, *shown.values(), on_one_line(entry), extra=about)
            return
        match self._call(entry, lambda plugin: plugin.delete_record(name)):
            case Deletion.DELETED:
                _log.info("[-] [%s] '%s': its DNS record %s is deleted", *shown.values(), extra=about)
            case Deletion.NOT_OURS:
                text = "[!] [%s] '%s': the DNS record %s stays: somebody else made or changed it"
                _log.warning(text, *shown.values(), extra=about)

    def _call(self, entry: str, call: Callable[[DnsPlugin], T]) -> T:
        """Return what the call returns, or raise its last error. Count the failure, or forget the earlier ones."""
        try:
            result: T = self.retries(call, self.plugin(entry))
        except Exception as error:
            with suppress(WrongTypeError):  # health names the key
                text = error_line(str(error) or type(error).__name__)
                failures.count_failure(self.db, entry, text, now=self.clock())
            raise
        with suppress(WrongTypeError):
            failures.forget(self.db, entry)
        return result

    def _full_name(self, pool: Pool, vm: str) -> str:
        return f"{vm}.{self.settings.domain_of(pool) or ''}".rstrip(".")


def _taken() -> RecordTakenError:
    return RecordTakenError("somebody else has a DNS record of this name")
