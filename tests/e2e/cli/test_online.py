"""`vmpooler-tasks config check --online` and `doctor` try the providers with all pools, and report all problems."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import checked_provider
from tests.support.commands import CommandLine
from tests.support.processes import configuration
from tests.support.world import World
from vmpooler_tasks.jobs.online import trial
from vmpooler_tasks.store import keys

NOWHERE = "redis://127.0.0.1:1/0"
CHECKED = {"provider_class": checked_provider.NAME}


def configured(providers: dict[str, Any], **pools: str) -> str:
    """Return a configuration with these providers, and a pool of each name on the provider beside it."""
    whole = json.loads(configuration(manage_pools=True))
    whole[":providers"] = providers
    whole[":pools"] = [
        {"name": name, "template": f"t/{name}", "size": 1, "provider": provider} for name, provider in pools.items()
    ]
    return json.dumps(whole)


@pytest.fixture
def online(run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line, with the providers installed."""
    monkeypatch.syspath_prepend(checked_provider.installed(tmp_path / "packages"))
    return run


def problems(online: CommandLine, providers: dict[str, Any], status: int = os.EX_CONFIG, **pools: str) -> list[str]:
    told = online.json("config", "check", "--online", status=status, VMPOOLER_CONFIG=configured(providers, **pools))
    assert told["valid"] is False
    found: list[str] = told["problems"]
    return found


def test_all_problems_of_all_providers_are_told_at_once(online: CommandLine) -> None:
    missing = "template {template} does not exist"
    providers = {
        "west": CHECKED | {"problems": {"all": ["user vmpooler lacks VirtualMachine.Provisioning.DeployTemplate"]}},
        "east": CHECKED | {"problems": {"a": [missing, "no folder x"], "b": ["no folder x"], "c": ["no folder x"]}},
        "none": CHECKED | {"no_such_option": 1},
        "fine": CHECKED,
    }
    assert problems(online, providers, a="east", b="east", c="east", d="west", e="none", f="fine") == [
        "providers.east: pool a: template t/a does not exist",
        "providers.east: pools a, b, c: no folder x",
        "providers.none.no_such_option: unknown option",
        "providers.west: user vmpooler lacks VirtualMachine.Provisioning.DeployTemplate",
    ]
    text = online("config", "check", "--online", VMPOOLER_CONFIG=configured(providers, e="none", d="west"))
    assert (text.status, text.out) == (os.EX_CONFIG, "")
    assert text.err.splitlines()[1:] == [
        "  providers.none.no_such_option: unknown option",
        "  providers.west: user vmpooler lacks VirtualMachine.Provisioning.DeployTemplate",
    ]


def test_the_template_in_effect_is_tried(online: CommandLine, world: World) -> None:
    world.client.hset(keys.POOL_TEMPLATES, "a", "t/other")
    east = CHECKED | {"problems": {"a": ["no {template}"]}}
    assert problems(online, {"east": east}, a="east") == ["providers.east: pool a: no t/other"]


def test_without_a_network_there_is_one_clear_line_and_its_own_status(online: CommandLine) -> None:
    line = "providers.east: cannot be tried: connect to vcenter:443: [Errno 113] No route to host"
    east = CHECKED | {"way": "no network"}
    assert problems(online, {"east": east}, os.EX_UNAVAILABLE, a="east", b="east") == [line]
    shown = online("config", "check", "--online", VMPOOLER_CONFIG=configured({"east": east}, a="east"))
    assert (shown.status, shown.out) == (os.EX_UNAVAILABLE, "")
    assert shown.err == f"vmpooler-tasks: 1 problem in VMPOOLER_CONFIG\n  {line}\n"
    west = CHECKED | {"problems": {"all": ["login failed"]}}
    both = problems(online, {"east": east, "west": west}, a="east", b="west")
    assert both == [line, "providers.west: login failed"]


def test_an_error_is_one_line_without_a_password(online: CommandLine) -> None:
    [line] = problems(online, {"east": CHECKED | {"way": "refused"}}, a="east")
    assert line.startswith("providers.east: cannot be tried: login failed for https://")
    assert "hunter2" not in line
    assert "\n" not in line
    [line] = problems(online, {"east": CHECKED | {"way": "bug"}}, a="east")
    assert line.startswith("providers.east: cannot be tried: AttributeError: ")


def test_a_provider_that_hangs_holds_up_no_other(online: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TRY_SECONDS", 0.5)
    west = CHECKED | {"problems": {"all": ["login failed"]}}
    assert problems(online, {"east": CHECKED | {"way": "hang"}, "west": west}, a="east", b="west") == [
        "providers.east: cannot be tried: no reply within 0.5 seconds",
        "providers.west: login failed",
    ]


def test_what_was_tried_is_told(online: CommandLine) -> None:
    providers = {"east": CHECKED, "other": {"provider_class": checked_provider.UNCHECKED_NAME}, "dummy": {}}
    given = configured(providers, a="east", b="east", c="other", d="dummy")
    shown = online("config", "check", "--online", VMPOOLER_CONFIG=given)
    assert (shown.status, shown.err) == (0, "")
    assert [line for line in shown.out.splitlines() if line.startswith("  providers.")] == [
        "  providers.dummy: tried with 1 pool: no problem",
        "  providers.east: tried with 2 pools: no problem",
        "  providers.other: not tried with 1 pool: it has no find_problems",
    ]
    assert online.json("config", "check", "--online", VMPOOLER_CONFIG=given)["providers"] == [
        {"name": "dummy", "pools": 1, "state": "ok"},
        {"name": "east", "pools": 2, "state": "ok"},
        {"name": "other", "pools": 1, "state": "not_tried"},
    ]
    assert "providers" not in online.json("config", "check", VMPOOLER_CONFIG=given), "nothing is tried offline"


def test_a_redis_that_does_not_reply_hides_no_problem_of_a_provider(online: CommandLine) -> None:
    online.environment["REDIS_URL"] = NOWHERE
    west = CHECKED | {"problems": {"all": ["login failed"]}}
    redis, provider = problems(online, {"west": west}, a="west")
    assert redis.startswith("Redis does not reply: redis://127.0.0.1:1/0: ")
    assert provider == "providers.west: login failed"
    [redis, provider] = problems(online, {"west": CHECKED | {"way": "no network"}}, os.EX_UNAVAILABLE, a="west")
    assert provider.startswith("providers.west: cannot be tried: ")


def test_dns_plugins_are_tried_as_well(online: CommandLine) -> None:
    whole = json.loads(configured({"east": CHECKED}, a="east", b="east"))
    whole[":config"]["installation"] = "here"
    nobody = {"dns_class": "rfc2136", "domain": "pool.example.com", "server": "127.0.0.1", "port": 1, "timeout": 1}
    whole[":dns_configs"] = {"inside": nobody, "unused": nobody | {"port": 2}}
    whole[":pools"][0]["dns_plugin"] = "inside"
    told = online.json("config", "check", "--online", status=os.EX_UNAVAILABLE, VMPOOLER_CONFIG=json.dumps(whole))
    [line] = told["problems"]
    assert line.startswith("dns_configs.inside: cannot be tried: ")
    told = online.json("doctor", status=1, VMPOOLER_CONFIG=json.dumps(whole))
    assert [(one["state"], one["found"]) for one in told if one["what"] == "DNS"] == [("fail", line)]


def test_the_dummy_finds_a_template_that_does_not_exist(online: CommandLine) -> None:
    found = problems(online, {"dummy": {"templates": ["t/b"]}}, a="dummy", b="dummy", c="dummy")
    assert found == [
        "providers.dummy: pool a: template t/a does not exist",
        "providers.dummy: pool c: template t/c does not exist",
    ]


def test_doctor_has_a_finding_for_each_problem(online: CommandLine) -> None:
    providers = {
        "east": CHECKED | {"problems": {"a": ["no folder x", "no quota"]}},
        "west": CHECKED | {"way": "no network"},
        "fine": CHECKED,
    }
    given = configured(providers, a="east", b="west", c="fine")
    told = online.json("doctor", status=1, VMPOOLER_CONFIG=given)
    found = [(one["state"], one["found"]) for one in told if one["what"] == "provider"]
    assert found == [
        ("fail", "providers.east: pool a: no folder x"),
        ("fail", "providers.east: pool a: no quota"),
        ("ok", "fine: tried with 1 pool: no problem"),
        ("fail", "providers.west: cannot be tried: connect to vcenter:443: [Errno 113] No route to host"),
    ]
    absent = configured({"gce": {}}, a="gce")
    told = online.json("doctor", status=1, VMPOOLER_CONFIG=absent)
    assert not [one for one in told if one["what"] == "provider"], "the finding of the pool manager says it"
