"""A DNS plugin comes from an installed package. A problem with it is one line that an operator can use."""

import json
import sys

import pytest

from vmpooler_tasks import plugins
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.dns import DnsContext, registry
from vmpooler_tasks.dns.ownership import MAX_STRING_BYTES, Ownership
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.tasks.pool_context import try_providers


def problems(dns_class: str, domain: str = "example.com", installation: str = "prod") -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        registry.load(DnsContext(name="x", domain=domain, options={}, installation=installation), dns_class)
    return raised.value.problems


def test_the_classes_of_this_project() -> None:
    assert registry.installed() == ["rfc2136", "route53"]


def test_an_unknown_class_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins.PluginKind, "installed", lambda _: ["rfc2136", "route53"])
    assert problems("gcp") == [
        (
            "dns_configs.x: no dns_class 'gcp' is installed (installed: rfc2136, route53); "
            "install its package, e.g. pip install vmpooler-tasks-dns-gcp"
        )
    ]


@pytest.mark.parametrize(("dns_class", "package"), [("rfc2136", "dns"), ("route53", "boto3")])
def test_a_missing_extra_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, dns_class: str, package: str
) -> None:
    for module in [name for name in sys.modules if name.startswith(f"vmpooler_tasks.dns.{dns_class}")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    [line] = problems(dns_class)
    assert line.endswith(f"which is not installed: pip install 'vmpooler-tasks[{dns_class}]'")
    assert "\n" not in line


def test_a_domain_and_an_installation_are_needed() -> None:
    assert problems("rfc2136", domain="", installation="") == [
        "dns_configs.x.domain: must be set: it is the second part of the name of each record",
        (
            "dns_configs.x: needs config.installation: each DNS record carries this name, so that only records of this "
            "installation are replaced and deleted"
        ),
    ]


def test_worker_and_config_check_try_the_plugins_that_pools_name() -> None:
    entries = {"used": {"dns_class": "rfc2136"}, "unused": {"dns_class": "gcp"}, "own": {"dns_class": "dynamic-dns"}}
    pools = [{"name": "a", "dns_plugin": "used"}, {"name": "b", "dns_plugin": "own"}, {"name": "c"}]
    config = {"manage_pools": True, "installation": "prod", "domain": "example.com"}
    text = {"config": config, "providers": {"dummy": None}, "dns_configs": entries, "pools": pools}
    with pytest.raises(ConfigurationError) as raised:
        try_providers(load_settings({"VMPOOLER_CONFIG": json.dumps(text)}))
    assert raised.value.problems == ["dns_configs.used.server: Field required"]


@pytest.mark.parametrize("pool", ["p", "a,b=c", 'ü "x"\\', "p" * 300, ""])
def test_ownership_is_read_as_it_was_written(pool: str) -> None:
    owner = Ownership(installation="prod, 2", pool=pool, address="2001:db8::7")
    assert all(len(string) <= MAX_STRING_BYTES and string.isascii() for string in owner.strings())
    assert not set('" \\').intersection("".join(owner.strings()))
    assert Ownership.parse("".join(owner.strings())) == owner


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=spf1 -all",
        "heritage=external-dns,external-dns/owner=prod",
        "heritage=vmpooler-tasks",
        "heritage=vmpooler-tasks,vmpooler-tasks/installation=prod",
        "heritage=vmpooler-tasks,vmpooler-tasks/address=192.0.2.7",
        "heritage=vmpooler-tasks-2,vmpooler-tasks/installation=prod,vmpooler-tasks/address=192.0.2.7",
    ],
)
def test_other_texts_say_nothing(text: str) -> None:
    assert Ownership.parse(text) is None
