"""Each option that VMPooler documents is honoured, or its API server's, or named as without effect. Same defaults."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.processes import ROOT
from vmpooler_tasks.config import HealthThresholds, Options, Pool, RedisSection, load_settings
from vmpooler_tasks.config.services import GraphiteSection, StatsdSection
from vmpooler_tasks.config.vmpooler.names import SECTIONS
from vmpooler_tasks.config.vmpooler.options import (
    API_OPTIONS,
    FAMILIES,
    HONOURED_BY_THE_LOADER,
    VARIABLES,
    WITHOUT_EFFECT,
)

RECORD: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "vmpooler" / "options.json").read_text())

MODELS: dict[str, type[BaseModel]] = {
    "config": Options,
    "health_thresholds": HealthThresholds,
    "redis": RedisSection,
    "statsd": StatsdSection,
    "graphite": GraphiteSection,
    "pools": Pool,
}

PLACES = [*MODELS, "providers", "providers.dummy", "dns_configs"]


def honoured(place: str) -> set[str]:
    fields = MODELS[place].model_fields if place in MODELS else ()
    return {*fields, *HONOURED_BY_THE_LOADER.get(place, ())}


@pytest.mark.parametrize("place", PLACES)
def test_every_option_is_in_one_of_the_tables(place: str) -> None:
    recorded = set(RECORD[place])
    tables: list[set[str]] = [honoured(place), set(API_OPTIONS.get(place, ())), set(WITHOUT_EFFECT.get(place, ()))]
    assert recorded.difference(*tables) == set()
    assert {name for name in recorded if sum(name in table for table in tables) > 1} == set()


def test_every_section_is_known() -> None:
    assert set(RECORD["sections"]) <= SECTIONS


@pytest.mark.parametrize("place", MODELS)
def test_defaults_are_those_of_vmpooler(place: str) -> None:
    fields = MODELS[place].model_fields
    theirs = {name: entry["default"] for name, entry in RECORD[place].items() if name in fields and "default" in entry}
    ours = {name: fields[name].default for name in theirs}
    assert ours == theirs


@pytest.mark.parametrize(
    ("place", "name", "variable"),
    [
        (place, name, entry["variable"])
        for place in ("config", "redis")
        for name, entry in RECORD[place].items()
        if name in WITHOUT_EFFECT[place] and "variable" in entry
    ],
)
def test_option_of_the_environment_is_named_too(place: str, name: str, variable: str) -> None:
    assert VARIABLES[place][name] == variable
    unused = load_settings({"VMPOOLER_CONFIG": ":config: {}", variable: "5"}).unused
    assert [option.path for option in unused] == [f"{place}.{name} (from {variable})"]


@pytest.mark.parametrize(("value", "count"), [("true", 1), ("false", 0), ("", 0)])
def test_tracing_of_the_environment_is_named_if_it_is_on(value: str, count: int) -> None:
    environ = {"VMPOOLER_CONFIG": ":config: {}", "VMPOOLER_TRACING_ENABLED": value}
    named = [option.path for option in load_settings(environ).unused]
    assert named == ["tracing (from VMPOOLER_TRACING_ENABLED)"] * count


@pytest.mark.parametrize("name", sorted({*WITHOUT_EFFECT["config"], *(f"{family}_seconds" for family in FAMILIES)}))
def test_option_without_effect_is_named_with_the_reason(name: str) -> None:
    [unused] = load_settings({"VMPOOLER_CONFIG": json.dumps({"config": {name: 5}})}).unused
    assert str(unused) == f"config.{name}: has no effect here, because {unused.because}"


@pytest.mark.parametrize("name", sorted(API_OPTIONS["config"]))
def test_option_of_the_api_is_accepted_without_a_word(name: str) -> None:
    settings = load_settings({"VMPOOLER_CONFIG": json.dumps({"config": {name: True}})})
    assert (settings.unused, settings.warnings) == ((), ())


def test_option_of_many_pools_is_named_once() -> None:
    pools = [{"name": f"p{number}", "check_loop_delay_max": 60} for number in range(300)]
    pools[0] = {"name": "p0"}
    [unused] = load_settings({"VMPOOLER_CONFIG": json.dumps({"pools": pools})}).unused
    assert unused.path == "pools[1].check_loop_delay_max (and of 298 more pools)"


def test_option_without_a_value_is_not_named() -> None:
    text = json.dumps({"config": {"migration_limit": None}, "pools": [{"name": "a", "auto_scale": None}]})
    assert load_settings({"VMPOOLER_CONFIG": text}).unused == ()


def test_option_that_nobody_knows_is_a_warning() -> None:
    settings = load_settings({"VMPOOLER_CONFIG": ":config: {my_flag: 3}\n:redis: {sharding: 1}\n"})
    assert settings.warnings == (
        "config.my_flag: has no effect: neither VMPooler nor these workers know this option",
        "redis.sharding: has no effect: neither VMPooler nor these workers know this option",
    )


def test_every_variable_overrides_an_option_that_has_no_effect() -> None:
    assert {place: set(names) - set(WITHOUT_EFFECT[place]) for place, names in VARIABLES.items()} == {
        "config": set(),
        "redis": set(),
    }
