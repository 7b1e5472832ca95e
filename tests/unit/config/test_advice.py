"""`config check` warns of what is valid and probably not meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.marking_provider import MarkingScripted
from tests.support.processes import ROOT
from vmpooler_tasks.config import Options, load_settings
from vmpooler_tasks.config.checks.advice import OPTIONS_OF_SWITCH, find_advice
from vmpooler_tasks.providers import registry
from vmpooler_tasks.tasks.pool_context import find_ignored_options, find_unmarked

ON = {"dlq_enabled": True, "purge_enabled": True, "health_check_enabled": True}


def advice(config: dict[str, Any] | None = None, **sections: Any) -> list[str]:
    text = json.dumps({":config": {**ON, **(config or {})}, **{f":{name}": part for name, part in sections.items()}})
    return find_advice(load_settings({"VMPOOLER_CONFIG": text}))


@pytest.mark.parametrize("file", ["vmpooler.yaml", "demo.yaml"])
def test_the_shipped_files_have_no_warning(file: str) -> None:
    settings = load_settings({}, file=ROOT / "deploy" / file)
    assert [*find_advice(settings), *settings.unused, *find_ignored_options(settings)] == []


def test_a_file_with_all_features_on_has_no_warning() -> None:
    assert advice() == []


@pytest.mark.parametrize("text", ["", "---\n", ":redis: {server: localhost}\n"])
def test_an_empty_file_says_that_nothing_will_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "vmpooler.yaml").write_text(text)
    (line,) = find_advice(load_settings({}, file=tmp_path / "vmpooler.yaml"))
    assert line.startswith("config: nothing will run: dlq_enabled, ")


@pytest.mark.parametrize(("what", "warning", "critical"), [("dlq_max", 1001, 1000), ("stuck_vm_max", 51, 50)])
def test_a_warning_threshold_above_the_critical_one(what: str, warning: int, critical: int) -> None:
    (line,) = advice({"health_thresholds": {f"{what}_warning": warning}})
    assert line == (
        f"config.health_thresholds.{what}_warning: {warning} is above {what}_critical ({critical}): "
        "health becomes unhealthy without being degraded first"
    )
    assert advice({"health_thresholds": {f"{what}_warning": critical}}) == []


def test_a_purge_of_pending_vms_before_their_timeout() -> None:
    pools = [{"name": "fast", "timeout": 5}, {"name": "slow"}]
    (line,) = advice({"max_pending_age": 899}, pools=pools)
    assert line.startswith(
        "config.max_pending_age: 899 seconds are less than the timeout of pools[1] (slow, 15 minutes)"
    )
    assert advice({"max_pending_age": 900}, pools=pools) == []


def test_options_of_a_feature_that_is_off() -> None:
    assert advice({"dlq_enabled": False, "dlq_ttl": 24}) == ["config.dlq_ttl: has no effect, as dlq_enabled is false"]
    assert advice({"purge_enabled": False, "max_ready_age": 60, "purge_dry_run": True}) == [
        "config.purge_dry_run: has no effect, as purge_enabled is false",
        "config.max_ready_age: has no effect, as purge_enabled is false",
    ]
    assert advice({"lease_seconds": 5}) == ["config.lease_seconds: has no effect, as manage_pools is false"]
    assert advice({"task_limit": 5, "timeout": 30}) == [], "VMPooler's own manager reads them"
    assert advice({"health_check_enabled": False}, statsd={"server": "s"}) == [
        "statsd: has no effect, as health_check_enabled is false"
    ]


def test_every_option_is_common_or_belongs_to_a_switch() -> None:
    named = {option for options in OPTIONS_OF_SWITCH.values() for option in options}
    ours = set(Options.model_fields) - set(OPTIONS_OF_SWITCH) - named
    assert named & set(Options.model_fields) == named
    assert {name for name in ours if name.startswith(("dlq_", "purge_", "health_", "breaker_"))} == set()


def test_options_of_sections_and_pools_without_effect() -> None:
    pool = {"name": "p", "dns_plugin": "x", "clone_target": "a"}
    assert advice({"backend_weight": {"a": 1, "b": 2}}, pools=[pool], graphite={"port": 2003}) == [
        "pools[0].dns_plugin: has no effect: 'x' is not in :dns_configs: (none)",
        "graphite: has no effect without a server",
        "config.backend_weight.b: has no effect: no pool has this clone target",
    ]


def test_a_ready_ttl_of_zero_recycles_at_once() -> None:
    pools = {"providers": {"dummy": {}}, "pools": [{"name": "a"}, {"name": "b", "ready_ttl": 0}]}
    assert advice({"ready_ttl": 0}, **pools) == []
    assert [line.split(":")[0] for line in advice({"ready_ttl": 0, "manage_pools": True}, **pools)] == [
        "config.ready_ttl",
        "pools[1].ready_ttl",
    ]


def test_an_option_that_the_provider_ignores() -> None:
    whole = {
        ":config": {**ON, "manage_pools": True},
        ":providers": {"dummy": {}},
        ":pools": [{"name": "p", "template": "t", "folder": "f", "timeout_notification": 15}],
    }
    settings = load_settings({"VMPOOLER_CONFIG": json.dumps(whole)})
    assert find_ignored_options(settings) == ["pools[0].folder: has no effect: provider dummy ignores it"]
    assert find_advice(settings) == [
        "pools[0].timeout_notification: has no effect: 15 minutes are not less than the timeout (15)"
    ]


def test_a_provider_that_could_mark_its_vms_needs_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the dummy: its VMs are its own in any case."""
    whole = {
        ":config": {**ON, "manage_pools": True},
        ":providers": {"vsphere": {}, "dummy": {}},
        ":pools": [{"name": "p", "provider": "vsphere"}, {"name": "q", "provider": "dummy"}],
    }
    load = registry.load
    monkeypatch.setattr(
        registry, "load", lambda context: MarkingScripted() if context.name == "vsphere" else load(context)
    )
    [line] = find_unmarked(load_settings({"VMPOOLER_CONFIG": json.dumps(whole)}))
    assert line.startswith("installation: is not set, so provider vsphere marks nothing that it makes")
    whole[":config"] = {**ON, "manage_pools": True, "installation": "prague"}
    assert find_unmarked(load_settings({"VMPOOLER_CONFIG": json.dumps(whole)})) == []
