"""An option that is misspelt, in the wrong section, or given twice is an error."""

from pathlib import Path

import pytest

from tests.support.config_problems import option, problems_of, the_problem
from vmpooler_tasks.config import load_settings


@pytest.mark.parametrize(
    ("text", "path", "meant"),
    [
        (":confg:\n  dlq_ttl: 1\n", "confg", "config"),
        (":pool:\n  - name: x\n", "pool", "pools"),
        (":rediss:\n  server: x\n", "rediss", "redis"),
        (":config:\n  dlq_enabeld: true\n", "config.dlq_enabeld", "dlq_enabled"),
        (":config:\n  max_pending_ages: 1\n", "config.max_pending_ages", "max_pending_age"),
        (":config:\n  health_treshold:\n    dlq_max_warning: 1\n", "config.health_treshold", "health_thresholds"),
        (
            ":config:\n  health_thresholds:\n    dlq_max_waring: 1\n",
            "config.health_thresholds.dlq_max_waring",
            "dlq_max_warning",
        ),
        (":redis:\n  passwort: x\n", "redis.passwort", "password"),
        (":pools:\n  - name: a\n  - name: b\n    sizes: 2\n", "pools[1].sizes", "size"),
        (":pools:\n  - name: a\n    aliass: b\n", "pools[0].aliass", "alias"),
    ],
)
def test_misspelt_key_is_an_error_with_the_nearest_name(text: str, path: str, meant: str) -> None:
    problem = the_problem(text)
    assert problem == f"{path}: unknown option; did you mean {meant}?"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("DLQ_ENABLED: true", "dlq_enabled"),
        ("Purge_Interval: 60", "purge_interval"),
        ("dlqEnabled: true", "dlq_enabled"),
        ("dlq_ttl_hours: 24", "dlq_ttl"),
        ("max_pending_age_seconds: 60", "max_pending_age"),
        ("health_check_interval_s: 60", "health_check_interval"),
    ],
)
def test_capitals_and_suffixes_count_as_misspelt(line: str, meant: str) -> None:
    assert option(line) == f"config.{line.partition(':')[0]}: unknown option; did you mean {meant}?"


@pytest.mark.parametrize(
    ("text", "path", "place"),
    [
        (":health_thresholds:\n  dlq_max_warning: 3\n", "health_thresholds", ":config:"),
        (":dlq_enabled: true\n", "dlq_enabled", ":config:"),
        (":config:\n  dlq_max_warning: 3\n", "config.dlq_max_warning", "health_thresholds: in :config:"),
        (":config:\n  data_ttl: 24\n", "config.data_ttl", ":redis:"),
        (":redis:\n  dlq_ttl: 24\n", "redis.dlq_ttl", ":config:"),
        (":pools:\n  - name: a\n    max_ready_age: 9\n", "pools[0].max_ready_age", ":config:"),
        (
            ":config:\n  health_thresholds:\n    purge_interval: 60\n",
            "config.health_thresholds.purge_interval",
            ":config:",
        ),
    ],
)
def test_option_in_the_wrong_section_is_an_error(text: str, path: str, place: str) -> None:
    name = path.rpartition(".")[2]
    assert the_problem(text) == f"{path}: is not an option here; {name} belongs under {place}"


def test_misspelt_option_in_the_wrong_section_is_an_error() -> None:
    assert option("dlq_max_warnings: 3") == (
        "config.dlq_max_warnings: unknown option; did you mean dlq_max_warning, which belongs under "
        "health_thresholds: in :config:?"
    )


def test_indented_section_is_an_error() -> None:
    assert option(":pools:\n    - name: a") == (
        "config.pools: is not an option; :pools: is a separate section and must not be indented"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":config:\n  dlq_ttl: 1\n  dlq_ttl: 2\n", "config.dlq_ttl: given twice, in lines 2 and 3"),
        (":redis:\n  server: a\n  port: 1\n  server: b\n", "redis.server: given twice, in lines 2 and 4"),
        (":pools:\n  - name: a\n    size: 1\n    size: 2\n", "pools[0].size: given twice, in lines 3 and 4"),
        (":config:\n  dlq_ttl: 1\n:config:\n  purge_enabled: true\n", "config: given twice, in lines 1 and 3"),
        (
            ":config:\n  health_thresholds:\n    dlq_max_warning: 1\n    dlq_max_warning: 2\n",
            "config.health_thresholds.dlq_max_warning: given twice, in lines 3 and 4",
        ),
    ],
)
def test_repeated_key_is_an_error_with_both_lines(text: str, expected: str) -> None:
    assert the_problem(text) == expected


def test_repeated_key_in_an_extra_file_names_that_file(tmp_path: Path) -> None:
    extra = tmp_path / "extra.yaml"
    extra.write_text(":config:\n  dlq_ttl: 1\n  dlq_ttl: 2\n")
    assert option(f"extra_config: {extra}") == (f"extra_config {extra}: config.dlq_ttl: given twice, in lines 2 and 3")


def test_repeated_key_in_a_section_of_vmpooler_is_ignored() -> None:
    assert load_settings({"VMPOOLER_CONFIG": ":statsd:\n  port: 1\n  port: 2\n"}).pools == ()


def test_unknown_health_threshold_is_an_error() -> None:
    assert the_problem(":config:\n  health_thresholds:\n    xyzzy: 1\n") == (
        "config.health_thresholds.xyzzy: unknown option"
    )


def test_unknown_section_is_ignored() -> None:
    settings = load_settings({"VMPOOLER_CONFIG": ":kubernetes:\n  token: x\n:config:\n  my_plugin_flag: 3\n"})
    assert settings.config == load_settings({"VMPOOLER_CONFIG": ""}, Path("/dev/null")).config


def test_key_with_and_without_colon_is_an_error() -> None:
    found = problems_of(
        ":config:\n  dlq_ttl: 1\n  :dlq_ttl: 2\nconfig:\n  dlq_ttl: 3\n:pools:\n  - name: a\n    :name: b\n"
    )
    assert found == [
        "config.dlq_ttl: given twice, with and without a colon",
        "config: given twice, with and without a colon",
        "pools[0].name: given twice, with and without a colon",
    ]
