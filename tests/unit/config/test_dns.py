"""A `dns_plugin` that names nothing useful is reported with the nearest name; a class says who writes records."""

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
    ("written", "writes"), [(None, False), ("", False), ("dynamic-dns", False), ("Dynamic-DNS", False), ("gcp", True)]
)
def test_class_says_whether_records_are_written(written: str | None, writes: bool) -> None:
    settings = load({"cloud": {"dns_class": written, "domain": "example.com", "project": "x"}}, "cloud", None)
    assert (settings.warnings, settings.unused) == ((), ())
    assert [settings.records_of(pool) for pool in settings.pools] == ["cloud" if writes else None, None]
    assert settings.writes_records is writes
    assert settings.domain_of(settings.pools[0]) == "example.com"
    assert settings.dns_configs["cloud"].options == {"project": "x"}


@pytest.mark.parametrize(
    ("given", "skips"), [(None, False), (False, False), ("false", False), (True, True), ("x", True)]
)
def test_provider_may_skip_the_check_of_names(given: Any, skips: bool) -> None:
    text = {":providers": {"dummy": {"skip_dns_check_before_creating_vm": given}}, ":pools": [{"name": "p"}]}
    settings = load_settings({"VMPOOLER_CONFIG": json.dumps(text)})
    assert settings.skips_name_check(settings.pools[0]) is skips


def test_unused_entry_that_is_no_section_is_a_warning() -> None:
    settings = load({"ddns_domain": "dynamic.example.com", **ENTRIES}, "example")
    assert settings.warnings == (
        "dns_configs.ddns_domain: has no effect: it must be a section of options, such as domain",
    )
    assert settings.domain_of(settings.pools[0]) == "example.com"


@pytest.mark.parametrize("section", [["example"], "example", 5])
def test_section_of_the_wrong_kind_is_a_warning(section: Any) -> None:
    assert load(section, None).warnings == ("dns_configs: has no effect: it must be a section of named sections",)
