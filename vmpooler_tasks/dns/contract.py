"""The tests that every DNS plugin must pass. Derive from `DnsContract` in your own tests, and run pytest.

    import pytest
    from vmpooler_tasks.dns import DnsContext
    from vmpooler_tasks.dns.contract import DnsContract
    from vmpooler_tasks_dns_gcp import plugin

    class TestGcp(DnsContract):
        domain = "example.com"

        def plugin(self, installation):
            options = {"project": "contract"}
            return plugin(DnsContext(name="gcp", domain=self.domain, options=options, installation=installation))

        def make_foreign(self, name, kind, value): ...
        def delete_foreign(self, name, kind, value): ...
        def values(self, name, kind): ...

Define these methods: the last three talk to the server by other means than the plugin. Each test uses new names.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from vmpooler_tasks.dns.ownership import Ownership
from vmpooler_tasks.dns.protocol import CheckedDnsPlugin, Deletion, DnsPlugin, DnsRecord

INSTALLATION, OTHER = "contract", 'another, with odd signs: ü=,"'

THREADS = 16


class DnsContract:
    """The tests. `domain` is that of all records."""

    domain = "example.com"

    def plugin(self, installation: str) -> DnsPlugin:
        """Return a plugin of this installation."""
        raise NotImplementedError

    def make_foreign(self, name: str, kind: str, value: str) -> None:
        """Add a record of this type (`A`, `AAAA`, `CNAME`, `TXT`) as a person does."""
        raise NotImplementedError

    def delete_foreign(self, name: str, kind: str, value: str) -> None:
        """Delete one record as a person does."""
        raise NotImplementedError

    def values(self, name: str, kind: str) -> Sequence[str]:
        """Return the values of the server, a TXT record as one text without quotes."""
        raise NotImplementedError

    def new_record(self, address: str = "192.0.2.7") -> DnsRecord:
        return DnsRecord(name=f"vm-{uuid4().hex[:12]}.{self.domain}", address=address, pool="debian-12 é")

    def test_a_record_has_the_address_and_says_whose_it_is(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        assert not plugin.is_taken(record.name)
        assert plugin.create_record(record) is True
        assert self.values(record.name, "A") == [record.address]
        [text] = self.values(record.name, "TXT")
        assert Ownership.parse(text) == Ownership.of(record, INSTALLATION)
        assert not plugin.is_taken(record.name), "its own record does not take a name"

    def test_ipv6(self) -> None:
        record, plugin = self.new_record("2001:db8::7"), self.plugin(INSTALLATION)
        assert plugin.create_record(record) is True
        assert self.values(record.name, "AAAA") == [record.address]
        assert plugin.delete_record(record.name) is Deletion.DELETED
        assert self.values(record.name, "AAAA") == []

    def test_a_repeated_creation_is_harmless(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        assert [plugin.create_record(record) for _ in range(3)] == [True] * 3
        assert self.values(record.name, "A") == [record.address]
        assert len(self.values(record.name, "TXT")) == 1

    def test_a_new_address_replaces_the_old_one(self) -> None:
        plugin = self.plugin(INSTALLATION)
        for address, kind, other in (("192.0.2.8", "A", "AAAA"), ("2001:db8::8", "AAAA", "A")):
            record = self.new_record()
            plugin.create_record(record)
            moved = DnsRecord(name=record.name, address=address, pool=record.pool)
            assert plugin.create_record(moved) is True
            assert (self.values(record.name, kind), self.values(record.name, other)) == ([address], [])
            assert len(self.values(record.name, "TXT")) == 1

    def test_deletion_takes_both_records_and_may_be_repeated(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        plugin.create_record(record)
        assert plugin.delete_record(record.name) is Deletion.DELETED
        assert [self.values(record.name, kind) for kind in ("A", "TXT")] == [[], []]
        assert plugin.delete_record(record.name) is Deletion.ABSENT

    def test_a_name_that_exists_is_not_taken(self) -> None:
        plugin = self.plugin(INSTALLATION)
        for kind, value in (("A", "192.0.2.99"), ("AAAA", "2001:db8::99"), ("CNAME", "other.example."), ("TXT", "x")):
            record = self.new_record()
            self.make_foreign(record.name, kind, value)
            assert plugin.is_taken(record.name), kind
            assert plugin.create_record(record) is False, kind
            assert plugin.delete_record(record.name) is Deletion.NOT_OURS, kind
            assert self.values(record.name, kind) == [value], kind
            if kind != "A":
                assert self.values(record.name, "A") == [], kind

    def test_a_record_of_another_installation_is_not_ours(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        assert self.plugin(OTHER).create_record(record) is True
        assert plugin.is_taken(record.name)
        assert plugin.create_record(record) is False
        assert plugin.delete_record(record.name) is Deletion.NOT_OURS
        assert self.values(record.name, "A") == [record.address]
        assert self.plugin(OTHER).delete_record(record.name) is Deletion.DELETED

    def test_whoever_changes_the_address_takes_the_record_over(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        plugin.create_record(record)
        self.delete_foreign(record.name, "A", record.address)
        self.make_foreign(record.name, "A", "192.0.2.99")
        assert plugin.is_taken(record.name)
        assert plugin.create_record(record) is False
        assert plugin.delete_record(record.name) is Deletion.NOT_OURS
        assert self.values(record.name, "A") == ["192.0.2.99"]

    def test_a_second_address_of_somebody_else_takes_the_record_over(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        plugin.create_record(record)
        self.make_foreign(record.name, "A", "192.0.2.99")
        assert plugin.delete_record(record.name) is Deletion.NOT_OURS
        assert sorted(self.values(record.name, "A")) == ["192.0.2.7", "192.0.2.99"]

    def test_what_a_person_added_beside_our_record_stays(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        plugin.create_record(record)
        self.make_foreign(record.name, "TXT", "v=spf1")
        moved = DnsRecord(name=record.name, address="192.0.2.8", pool=record.pool)
        assert plugin.create_record(moved) is True
        assert len(self.values(record.name, "TXT")) == len(("ours", "v=spf1"))
        assert plugin.delete_record(record.name) is Deletion.DELETED
        assert (self.values(record.name, "A"), self.values(record.name, "TXT")) == ([], ["v=spf1"])

    def test_our_text_without_an_address_is_ours(self) -> None:
        record, plugin = self.new_record(), self.plugin(INSTALLATION)
        moved = DnsRecord(name=record.name, address="192.0.2.8", pool=record.pool)
        plugin.create_record(record)
        self.delete_foreign(record.name, "A", record.address)
        assert not plugin.is_taken(record.name)
        assert plugin.create_record(moved) is True
        assert self.values(record.name, "A") == [moved.address]
        self.delete_foreign(record.name, "A", moved.address)
        assert plugin.delete_record(record.name) is Deletion.DELETED
        assert self.values(record.name, "TXT") == []

    def test_a_long_pool_and_installation(self) -> None:
        record = DnsRecord(name=self.new_record().name, address="192.0.2.7", pool="p" * 300)
        plugin = self.plugin(INSTALLATION)
        assert plugin.create_record(record) is True
        assert plugin.delete_record(record.name) is Deletion.DELETED

    def test_of_two_installations_at_once_one_gets_the_name(self) -> None:
        record = self.new_record()
        plugins = [self.plugin(INSTALLATION), self.plugin(OTHER)]
        with ThreadPoolExecutor(2) as threads:
            made = list(threads.map(lambda plugin: _created(plugin, record), plugins))
        assert made.count(True) == 1
        assert self.values(record.name, "A") == [record.address]
        assert len(self.values(record.name, "TXT")) == 1

    def test_many_threads_share_a_plugin(self) -> None:
        plugin, records = self.plugin(INSTALLATION), [self.new_record() for _ in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as threads:
            assert all(threads.map(plugin.create_record, records))
            deleted = list(threads.map(plugin.delete_record, [record.name for record in records]))
        assert deleted == [Deletion.DELETED] * THREADS

    def test_find_problems_finds_none_and_changes_nothing(self) -> None:
        plugin = self.plugin(INSTALLATION)
        if isinstance(plugin, CheckedDnsPlugin):
            assert list(plugin.find_problems()) == []


def _created(plugin: DnsPlugin, record: DnsRecord) -> bool:
    try:
        return plugin.create_record(record)
    except Exception:  # noqa: BLE001 - the one that loses may raise an error, too
        return False
