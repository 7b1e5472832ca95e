"""The example files that VMPooler ships, and forms of public configurations: all load, also to manage the pools."""

import json
from pathlib import Path

import pytest

from tests.support.config_problems import problems_of
from tests.support.processes import ROOT
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.providers import ProviderContext, registry
from vmpooler_tasks.tasks.observe.startup import feature_lines, warning_lines
from vmpooler_tasks.tasks.pool_context import find_ignored_options, try_providers

DATA = ROOT / "tests" / "data" / "vmpooler"
FILES = sorted([*(DATA / "examples").iterdir(), *(DATA / "public").iterdir()])


@pytest.mark.parametrize("manages", ["true", "false"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_file_loads(file: Path, manages: str) -> None:
    settings = load_settings({"MANAGE_POOLS": manages}, file=file)
    assert settings.pools
    assert "None" not in [*settings.published().values()]
    assert not any("None" in line for line in [*feature_lines(settings), *warning_lines(settings)])


def test_the_dummy_of_vmpooler_is_accepted_and_its_file_named() -> None:
    settings = load_settings({"MANAGE_POOLS": "true"}, file=DATA / "examples" / "vmpooler.yaml.dummy-example")
    try_providers(settings)
    assert list(map(str, settings.unused)) == [
        "config.logfile: has no effect here, because the workers log to their output; celery's --logfile names a file",
        "providers.dummy.filename: has no effect here, because this dummy keeps its VMs in Redis",
    ]
    assert find_ignored_options(settings) == [
        "pools[0].datastore (and of 1 more pool): has no effect: provider dummy ignores it",
        "pools[0].folder (and of 1 more pool): has no effect: provider dummy ignores it",
    ]
    [line] = warning_lines(settings)
    assert line == (
        "[!] [config] options of VMPooler without effect here: config.logfile, providers.dummy.filename "
        "(`vmpooler-tasks config check` says why)"
    )


def test_first_log_lines_are_not_flooded() -> None:
    pools = [{"name": f"p{number}", "template": "${T}"} for number in range(300)]
    *lines, last = warning_lines(load_settings({"VMPOOLER_CONFIG": json.dumps({"pools": pools})}))
    assert len(lines) == 20
    assert last == "[!] [config] 280 more warnings: `vmpooler-tasks config check` shows them"


def test_vmpoolers_manager_has_its_own_options() -> None:
    settings = load_settings({"MANAGE_POOLS": "false"}, file=DATA / "examples" / "vmpooler.yaml.dummy-example")
    assert warning_lines(settings) == []


def test_every_option_of_vmpoolers_dummy_is_accepted() -> None:
    recorded = json.loads((DATA / "options.json").read_text())["providers.dummy"]
    options = {**dict.fromkeys(recorded, 5), "circuit_breaker": {"enabled": True}, "seed": 7}
    registry.load(ProviderContext(name="dummy", options=options, redis_url="redis://localhost")).close()
    text = json.dumps({"providers": {"east": {"provider_class": "Dummy", **options}}})
    unused = {option.path for option in load_settings({"VMPOOLER_CONFIG": text}).unused}
    assert unused == {f"providers.east.{name}" for name in {*recorded, "circuit_breaker"}}


def test_misplaced_option_is_a_warning_if_it_is_in_its_right_place_too() -> None:
    settings = load_settings({}, file=DATA / "examples" / "vmpooler.yml.example")
    assert settings.warnings == (
        "redis.dlq_enabled: has no effect here; under :config: it is false",
        "redis.dlq_ttl: has no effect here; under :config: it is 168",
        "redis.dlq_max_entries: has no effect here; under :config: it is 10000",
    )
    assert not settings.config.dlq_enabled


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (":dlq_ttl: 1\n:config: {dlq_ttl: 2}\n", "dlq_ttl: has no effect here; under :config: it is 2"),
        (
            ":config: {data_ttl: 1}\n:redis: {data_ttl: 2}\n",
            "config.data_ttl: has no effect here; under :redis: it is 2",
        ),
        (
            ":config: {dlq_max_warning: 1, health_thresholds: {dlq_max_warning: 2}}\n",
            "config.dlq_max_warning: has no effect here; under health_thresholds: in :config: it is 2",
        ),
        (
            ":config: {purge_enabled: true}\n:pools: [{name: a, purge_enabled: false}]\n",
            "pools[0].purge_enabled: has no effect here; under :config: it is true",
        ),
    ],
)
def test_that_is_so_for_every_misplaced_option(text: str, warning: str) -> None:
    assert load_settings({"VMPOOLER_CONFIG": text}).warnings == (warning,)


def test_misplaced_option_alone_is_an_error() -> None:
    assert problems_of(":redis: {dlq_enabled: true}\n:config: {dlq_ttl: 5}\n") == [
        "redis.dlq_enabled: is not an option here; dlq_enabled belongs under :config:"
    ]


def test_old_vsphere_section_is_that_of_the_provider() -> None:
    text = (
        ":config: {manage_pools: true}\n:vsphere: {server: vc, password: x}\n:pools: [{name: a, provider: vsphere}]\n"
    )
    settings = load_settings({"VMPOOLER_CONFIG": text})
    assert settings.providers == {"vsphere": {"server": "vc", "password": "x"}}
    assert settings.warnings == ("vsphere: is the old place of this section, and is used; move it under :providers:",)


def test_old_vsphere_section_beside_the_new_one_is_a_warning() -> None:
    settings = load_settings({"VMPOOLER_CONFIG": ":vsphere: {server: old}\n:providers: {vsphere: {server: new}}\n"})
    assert settings.providers == {"vsphere": {"server": "new"}}
    assert settings.warnings == ("vsphere: has no effect: the section vsphere under :providers: is used",)
