"""A `dns_plugin` that names nothing useful, and DNS records that nobody writes, are reported with the nearest name."""

import json
from typing import Any

import pytest

from tests.support.config_problems import problems_of
from vmpooler_tasks.config import Settings, load_settings

ENTRIES = {"example": {"dns_class": "dynamic-dns", "domain": "example.com"}, "other": None}


def whole(dns_configs: Any, *plugins: Any, manages: bool = True) -> str:
    return json.dumps(
        {
            ":config": {"manage_pools": manages},
            ":providers": {":dummy": None},
            ":dns_configs": dns_configs,
            ":pools": [{"name": f"p{number}", "dns_plugin": plugin} for number, plugin in enumerate(plugins)],
        }
    )


def load(dns_configs: Any, *plugins: Any, manages: bool = True) -> Settings:
    return load_settings({"VMPOOLER_CONFIG": whole(dns_configs, *plugins, manages=manages)})


@pytest.mark.parametrize("plugin", ["example", "other", "", None])
def test_plugin_of_a_section_and_no_plugin_are_fine(plugin: str | None) -> None:
    settings = load(ENTRIES, plugin)
    assert (settings.warnings, settings.unused) == ((), ())


@pytest.mark.parametrize(
    ("dns_configs", "plugin", "complaint"),
    [
        (ENTRIES, "exmaple", "'exmaple' is not in :dns_configs:; did you mean example?"),
        (ENTRIES, "Example", "'Example' is not in :dns_configs:; did you mean example?"),
        (ENTRIES, "xyz", "'xyz' is not in :dns_configs: (example, other)"),
        (None, "example", "'example' is not in :dns_configs: (none)"),
        ({}, "example", "'example' is not in :dns_configs: (none)"),
        (["example"], "example", "'example' is not in :dns_configs: (none)"),
        ({"text": "example.com"}, "text", "dns_configs.text must be a section of options, such as domain"),
        ({"list": []}, "list", "dns_configs.list must be a section of options, such as domain"),
    ],
)
def test_wrong_plugin_is_an_error_where_pools_are_managed(dns_configs: Any, plugin: str, complaint: str) -> None:
    assert problems_of(whole(dns_configs, plugin)) == [f"pools[0].dns_plugin: {complaint}"]
    warning = load(dns_configs, plugin, manages=False).warnings[0]
    assert warning == f"pools[0].dns_plugin: has no effect: {complaint}"


def test_plugin_of_many_pools_is_reported_once() -> None:
    found = problems_of(whole(ENTRIES, "example", "exmaple", "exmaple", "exmaple", 5))
    assert found == [
        "pools[1].dns_plugin (and of 2 more pools): 'exmaple' is not in :dns_configs:; did you mean example?",
        "pools[4].dns_plugin: '5' is not in :dns_configs: (example, other)",
    ]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("gcp", "; with dynamic-dns the VMs register themselves"),
        ("dynamic_dns", "; did you mean dynamic-dns?"),
        ("DynamicDNS", "; did you mean dynamic-dns?"),
    ],
)
def test_class_that_nobody_carries_out_is_named_without_effect(written: str, hint: str) -> None:
    settings = load({"cloud": {"dns_class": written, "domain": "example.com"}}, "cloud")
    [unused] = settings.unused
    assert str(unused) == (
        "dns_configs.cloud.dns_class: has no effect here, because these workers create and delete no DNS records of "
        f"class {written}{hint}"
    )
    assert settings.warnings == ()
    assert settings.domain_of(settings.pools[0]) == "example.com"


def test_unused_entry_that_is_no_section_is_a_warning() -> None:
    settings = load({"ddns_domain": "dynamic.example.com", **ENTRIES}, "example")
    assert settings.warnings == (
        "dns_configs.ddns_domain: has no effect: it must be a section of options, such as domain",
    )
    assert settings.domain_of(settings.pools[0]) == "example.com"


@pytest.mark.parametrize("section", [["example"], "example", 5])
def test_section_of_the_wrong_kind_is_a_warning(section: Any) -> None:
    assert load(section, None).warnings == ("dns_configs: has no effect: it must be a section of named sections",)
