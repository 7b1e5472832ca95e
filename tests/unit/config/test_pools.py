"""The options of the pool manager: defaults, bounds, and problems that prevent managed pools."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.config.pools import ManagerOptions
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.tasks.observe.startup import feature_lines

DEFAULTS: dict[str, Any] = {
    "manage_pools": False,
    "check_loop_delay_min": 5,
    "task_limit": 10,
    "ondemand_clone_limit": 10,
    "timeout": 15,
    "timeout_notification": 5,
    "ready_ttl": 60,
    "vm_checktime": 1,
    "check_ready_vm_hostname_for_mismatch": True,
    "vm_lifetime": 24,
    "vm_lifetime_auth": None,
    "max_vm_retries": 3,
    "max_ondemand_instances_per_request": 10,
    "ondemand_request_ttl": 5,
    "removed_pool_grace": 3600,
    "destroy_max_percent": 25,
    "installation": "",
    "create_folders": False,
    "create_linked_clones": True,
    "create_template_delta_disks": False,
    "manage_host_selection": False,
    "utilization_limit": 90,
    "host_selection_max_age": 60,
    "purge_unconfigured_resources": False,
    "purge_unconfigured_folders": False,
    "prefix": "",
    "domain": None,
    "clone_target": None,
    "lease_seconds": 60,
    "max_tries": 3,
    "breaker_failures": 5,
    "breaker_seconds": 30,
}
"""The defaults of VMPooler, where it has the option."""

NUMBERS = [name for name, value in DEFAULTS.items() if isinstance(value, int) and not isinstance(value, bool)]

NEVER = ("destroy_max_percent", "timeout_notification", "ready_ttl", "vm_checktime", "vm_lifetime", "vm_lifetime_auth")
"""Options for which 0 has a meaning of its own."""

NO_PROVIDER = (
    "providers: names no provider: with manage_pools each provider of the pools needs a section here, "
    "which may be blank"
)

MANAGED = {"config": {"manage_pools": True}, "providers": {"dummy": {}}, "pools": [{"name": "a"}]}


def load(data: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    return load_settings({"VMPOOLER_CONFIG": json.dumps(data), **(environ or {})})


def problems(data: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(data, environ)
    return caught.value.problems


def test_every_option_has_the_default_of_vmpooler() -> None:
    assert {name: getattr(Settings().config, name) for name in ManagerOptions.model_fields} == DEFAULTS


def test_every_option_has_a_description() -> None:
    assert all(field.description for field in ManagerOptions.model_fields.values())


@pytest.mark.parametrize("name", [*NUMBERS, "vm_lifetime_auth"])
def test_environment_overrides_a_number_of_the_file(name: str) -> None:
    assert getattr(load({"config": {name: 7}}).config, name) == 7
    assert getattr(load({"config": {name: 7}}, {name.upper(): "9"}).config, name) == 9


@pytest.mark.parametrize("name", ["prefix", "domain", "clone_target"])
def test_environment_overrides_a_text_of_the_file(name: str) -> None:
    assert getattr(load({"config": {name: "one"}}).config, name) == "one"
    assert getattr(load({"config": {name: "one"}}, {name.upper(): "two"}).config, name) == "two"


def test_environment_overrides_the_switch() -> None:
    assert load({**MANAGED, "config": {}}, {"MANAGE_POOLS": "true"}).config.manage_pools


@pytest.mark.parametrize("name", [*NUMBERS, "vm_lifetime_auth"])
@pytest.mark.parametrize("value", [-1, "many", True, "", 1e300])
def test_number_out_of_bounds_is_reported_with_its_path(name: str, value: Any) -> None:
    [problem] = problems({"config": {name: value}})
    assert problem.startswith(f"config.{name}: ")


@pytest.mark.parametrize("name", [*NUMBERS, "vm_lifetime_auth"])
def test_zero_is_allowed_where_it_has_a_meaning(name: str) -> None:
    allowed = {*NEVER, "task_limit", "ondemand_clone_limit", "max_vm_retries"}
    if name in allowed:
        assert getattr(load({"config": {name: 0}}).config, name) == 0
    else:
        assert problems({"config": {name: 0}})[0].startswith(f"config.{name}: 0 must be greater than ")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("manage_pools", "perhaps"),
        ("prefix", [1]),
        ("domain", {"a": 1}),
        ("task_limit", 1.5),
        ("lease_seconds", 0.5),
        ("lease_seconds", 3601),
        ("breaker_failures", 1.5),
    ],
)
def test_value_of_the_wrong_type_is_reported(name: str, given: Any) -> None:
    assert problems({"config": {name: given}})[0].startswith(f"config.{name}: ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ondemand_clone_limt", "ondemand_clone_limit"),
        ("manage_pool", "manage_pools"),
        ("task_limits", "task_limit"),
        ("lease_second", "lease_seconds"),
        ("breaker_failure", "breaker_failures"),
        ("vm_lifetime_hours", "vm_lifetime"),
        ("TASK_LIMIT", "task_limit"),
        ("ready_ttl_minutes", "ready_ttl"),
    ],
)
def test_misspelt_option_is_an_error_with_the_nearest_name(typed: str, meant: str) -> None:
    assert problems({"config": {typed: 1}}) == [f"config.{typed}: unknown option; did you mean {meant}?"]


# --- pools -----------------------------------------------------------------------------------------------------------


def test_pool_overrides_global_options() -> None:
    own = {"timeout": 20, "timeout_notification": 0, "ready_ttl": 1.5, "clone_target": "cluster2"}
    [first, second] = load({"pools": [{"name": "a", **own}, {"name": "b"}]}).pools
    assert {name: getattr(first, name) for name in own} == own
    assert {getattr(second, name) for name in own} == {None}


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"size": -1}, "size: -1 must be greater than or equal to 0"),
        ({"size": 2.5}, "size: 2.5 must be a whole number"),
        ({"size": "many"}, "size: 'many' must be a whole number"),
        ({"size": True}, "size: True must be a number"),
        ({"timeout": 0}, "timeout: 0 must be greater than 0"),
        ({"ready_ttl": -5}, "ready_ttl: -5 must be greater than or equal to 0"),
        ({"timeout_notification": "soon"}, "timeout_notification: 'soon' must be a number"),
        ({"sizee": 2}, "sizee: unknown option; did you mean size?"),
        ({"sise": 2}, "sise: unknown option; did you mean size?"),
        ({"nane": "x"}, "nane: unknown option; did you mean name?"),
        ({"provder": "x"}, "provder: unknown option; did you mean provider?"),
        ({"redy_ttl": 2}, "redy_ttl: unknown option; did you mean ready_ttl?"),
        ({"breaker_seconds": 2}, "breaker_seconds: is not an option here; breaker_seconds belongs under :config:"),
    ],
)
def test_wrong_option_of_a_pool_is_reported_with_its_path(entry: dict[str, Any], complaint: str) -> None:
    found = problems({"pools": [{"name": "a"}, {"name": "b", **entry}]})
    assert found == [f"pools[1].{complaint}"]


def test_options_of_a_provider_do_not_count_as_misspelt() -> None:
    own = (
        "folder datastore site zone region image flavor cpus memory disk_type machine_type subnetwork_name project os "
        "arch labels tags hostname vmname snapshot network_name create_linked_clone"
    )
    assert load({"pools": [{"name": "a", **dict.fromkeys(own.split(), "x")}]}).pools


def test_domain_is_that_of_the_dns_plugin_or_the_global_one() -> None:
    settings = load(
        {
            "config": {"domain": "global.net"},
            "dns_configs": {"one": {"domain": "one.net", "dns_class": "gcp"}, "bare": None},
            "pools": [{"name": "a", "dns_plugin": "one"}, {"name": "b", "dns_plugin": "bare"}, {"name": "c"}],
        }
    )
    assert [settings.domain_of(pool) for pool in settings.pools] == ["one.net", "global.net", "global.net"]


def test_options_of_a_provider_in_a_pool_are_kept() -> None:
    entry = {"name": "a", "size": 1, "folder": "Pooled/x", "nested": {"deep": [1, {"x": None}]}, "no": False}
    assert load({"pools": [entry]}).pools[0].as_written() == {**entry, "alias": ()}


# --- providers -------------------------------------------------------------------------------------------------------


def test_options_of_a_provider_are_kept() -> None:
    options = {"server": "vcenter", "size": -1, "task_limit": "x", "insecure": True, "nested": {"a": [None, 1.5]}}
    assert load({"providers": {"vsphere": options, "blank": None}}).providers == {"vsphere": options, "blank": {}}


@pytest.mark.parametrize("providers", [[], ["dummy"], "dummy", 5, True, {"dummy": 5}, {"dummy": ["x"]}])
def test_wrong_providers_are_ignored_while_pools_are_not_managed(providers: Any) -> None:
    assert load({"providers": providers, "pools": [{"name": "a", "provider": "dummy"}]}).providers == {}


@pytest.mark.parametrize(
    ("providers", "pools", "complaint"),
    [
        ({"dummy": {}}, [], "config.manage_pools: there are no :pools: to manage"),
        ({}, [{}], f"{NO_PROVIDER} (providers of the pools: none)"),
        (None, [{}, {"provider": "b"}, {"provider": "a"}], f"{NO_PROVIDER} (providers of the pools: a, b)"),
        ({"b": {}, "a": {}}, [{}], "pools[0].provider: is missing, and :providers: does not name one alone (a, b)"),
        ({"dummy": {}}, [{}, {"provider": "vsphere"}], "pools[1].provider: 'vsphere' is not in :providers: (dummy)"),
        (["dummy"], [{"provider": "dummy"}], "providers: must be a section of named sections, such as `:dummy: {}`"),
        (
            {"dummy": 5},
            [{}, {"provider": "dummy"}],
            "providers.dummy: must be a section of options, which may be blank",
        ),
    ],
)
def test_unmanageable_pools_are_reported(providers: Any, pools: list[dict[str, Any]], complaint: str) -> None:
    named = [{"name": f"pool-{number}", **entry} for number, entry in enumerate(pools)]
    data = {"config": {"manage_pools": True}, "providers": providers, "pools": named}
    assert problems(data) == [complaint]
    assert load({**data, "config": {}}).config.manage_pools is False, "and is nobody's business otherwise"


def test_every_pool_without_a_provider_is_reported() -> None:
    found = problems({**MANAGED, "providers": {"a": {}, "b": {}}, "pools": [{"name": "a"}, {"name": "b"}]})
    assert [problem.partition(":")[0] for problem in found] == ["pools[0].provider", "pools[1].provider"]


def test_unmanageable_pools_are_reported_with_wrong_values() -> None:
    entries = [
        {"name": "a", "size": -1, "provider": "dumy"},
        {"size": 1, "provider": ""},
        "no pool",
        {"name": "b:c", "size": "x", "provider": ["x"]},
    ]
    found = problems(
        {
            "config": {"manage_pools": "yes", "task_limit": -1},
            "providers": {"x": {}, "dummy": None},
            "pools": entries,
        }
    )
    assert found == [
        "config.task_limit: -1 must be greater than or equal to 0",
        "pools[0].size: -1 must be greater than or equal to 0",
        "pools[1].name: is missing",
        "pools[2]: 'no pool' must be a section of options",
        "pools[3].size: 'x' must be a whole number",
        "pools[3].provider: ['x'] must be text: put it in quotes",
        "pools[0].provider: 'dumy' is not in :providers: (dummy, x)",
        "pools[1].provider: is missing, and :providers: does not name one alone (dummy, x)",
        "pools[3].name: 'b:c' must not hold ':', which separates the parts of a request",
    ]


@pytest.mark.parametrize("config", [[], "x", 5, None, {}, {"manage_pools": None}, {"manage_pools": "perhaps"}])
def test_unreadable_switch_does_not_count_as_on(config: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"config": config, "pools": [{"name": "a:b", "size": -1}]})
    assert not any(problem.startswith(("pools[0].provider", "pools[0].name")) for problem in caught.value.problems)


@pytest.mark.parametrize("pools", ["many", {}, 5, {"name": "a"}])
def test_pools_that_are_not_a_list_are_one_problem(pools: Any) -> None:
    [problem] = problems({**MANAGED, "pools": pools})
    assert problem.endswith(" must be a list")


def test_name_of_a_provider_may_be_a_number() -> None:
    text = ":config: {manage_pools: true}\n:providers: {1: {}, 2: {}}\n:pools: [{name: a, provider: 1}]\n"
    assert load_settings({"VMPOOLER_CONFIG": text}).pools[0].provider == "1"


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"name": "a:b"}, "name: 'a:b' must not hold ':'"),
        ({"name": "a,b"}, "name: 'a,b' must not hold ','"),
        ({"name": "a", "alias": "b:c"}, "alias: 'b:c' must not hold ':'"),
        ({"name": "a", "alias": ["b", "c:d"]}, "alias: 'c:d' must not hold ':'"),
    ],
)
def test_pool_name_with_a_separator_is_refused(entry: dict[str, Any], complaint: str) -> None:
    [problem] = problems({**MANAGED, "pools": [entry]})
    assert problem == f"pools[0].{complaint}, which separates the parts of a request"
    assert load({"pools": [entry]}).pools, "and is VMPooler's business otherwise"


def test_provider_of_a_pool_is_optional_if_there_is_one() -> None:
    settings = load(MANAGED)
    assert settings.provider_of(settings.pools[0]) == "dummy"


def test_pool_uses_the_provider_that_it_names() -> None:
    settings = load({**MANAGED, "providers": {"x": {}, "dummy": {}}, "pools": [{"name": "a", "provider": "dummy"}]})
    assert settings.provider_of(settings.pools[0]) == "dummy"


def test_first_log_lines_name_the_pool_manager() -> None:
    [line] = [line for line in feature_lines(load(MANAGED)) if "pool manager" in line]
    assert line == ("[*] [config] pool manager: on, a check every 5 s, 10 clones at once for pools and 10 for requests")
    assert "[*] [config] pool manager: off" in feature_lines(Settings())


@pytest.mark.parametrize(
    ("config", "entry", "expected"),
    [
        (
            {},
            {},
            ["recycled after 60 minutes, VMPooler's default, as ready_ttl is not set. Earlier versions recycled none"],
        ),
        ({"ready_ttl": 30}, {}, ["recycled after 30 minutes"]),
        (
            {"ready_ttl": 30},
            {"ready_ttl": 0},
            [
                "recycled after 30 minutes",
                "recycled at their next check, as pools[0].ready_ttl is 0. In earlier versions 0 meant never",
            ],
        ),
        (
            {"ready_ttl": 0},
            {},
            ["recycled at their next check, as config.ready_ttl is 0. In earlier versions 0 meant never"],
        ),
    ],
)
def test_first_log_lines_say_when_ready_vms_are_recycled(
    config: dict[str, Any], entry: dict[str, Any], expected: list[str]
) -> None:
    managed = {**MANAGED, "config": {"manage_pools": True, **config}, "pools": [{"name": "a", **entry}]}
    start = "[*] [config] ready VMs: "
    assert [line.removeprefix(start) for line in feature_lines(load(managed)) if line.startswith(start)] == expected
    assert not any(line.startswith(start) for line in feature_lines(load({"config": config})))


def test_published_options_contain_the_pool_managers() -> None:
    published = load(MANAGED).published()
    assert (published["manage_pools"], published["task_limit"], published["timeout"]) == ("true", "10", "15")


def test_a_manager_cannot_only_observe() -> None:
    both = {**MANAGED, "config": {"manage_pools": True, "observe_only": True}}
    assert problems(both) == ["config.manage_pools: must be false where observe_only is true"]


def test_observing_makes_every_purge_dry() -> None:
    observing = load({"config": {"observe_only": True, "purge_enabled": True}})
    assert observing.config.is_purge_dry
    lines = feature_lines(observing)
    assert "[*] [config] observe only: no key of VMPooler is changed" in lines
    assert "[*] [config] purge: on, every 3600 s, dry run: nothing is changed" in lines
