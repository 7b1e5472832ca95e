"""The problems of a configuration: all at once, each with its path, its value and the allowed values."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from celery import Celery
from celery.beat import ScheduleEntry

from vmpooler_tasks.config import load_settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.tasks.celery.configuration import schedule


def problems_of(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"VMPOOLER_CONFIG": text, **(environ or {})})
    assert caught.value.exit_status == 78
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def the_problem(text: str, environ: Mapping[str, str] | None = None) -> str:
    found = problems_of(text, environ)
    assert len(found) == 1, found
    return found[0]


def option(line: str) -> str:
    return the_problem(f":config:\n  {line}\n")


def test_all_problems_are_reported_at_once() -> None:
    text = """
:config:
  dlq_enabled: perhaps
  dlq_max_entries: 0
  purge_intervall: 60
  health_thresholds:
    stuck_vm_max_warning: many
:redis:
  port: 70000
"""
    found = problems_of(text)
    assert len(found) == 5
    for words in (
        ("config.dlq_enabled", "'perhaps'", "true or false"),
        ("config.dlq_max_entries", "0", "greater than or equal to 1"),
        ("config.purge_intervall", "did you mean purge_interval?"),
        ("config.health_thresholds.stuck_vm_max_warning", "'many'", "number"),
        ("redis.port", "70000", "65535"),
    ):
        assert any(all(word in problem for word in words) for problem in found), (words, found)
    with pytest.raises(ConfigurationError, match=r"(?s)^5 problems in VMPOOLER_CONFIG\n(  [^\n]+\n?){5}$"):
        load_settings({"VMPOOLER_CONFIG": text})


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


@pytest.mark.parametrize(
    "line",
    [
        "dlq_ttl:",
        "dlq_ttl: ''",
        "purge_enabled:",
        "dlq_max_entries:",
        "max_ready_age: ~",
        "health_thresholds: {dlq_max_warning: }",
    ],
)
def test_a_blank_value_is_an_error_that_says_what_to_do(line: str) -> None:
    assert "is blank: give a value, or remove the line for the default" in option(line)


@pytest.mark.parametrize(
    "line",
    [
        "dlq_ttl: 0",
        "dlq_ttl: -1",
        "dlq_ttl: forever",
        "dlq_ttl: .inf",
        "dlq_ttl: .nan",
        "dlq_ttl: [1]",
        "dlq_ttl: yes",
        "dlq_max_entries: 1.5",
        "dlq_max_entries: true",
        "purge_interval: 0",
        "purge_interval: true",
        "max_pending_age: 0",
        "max_completed_age: two hours",
        "purge_max_percent: 0",
        "purge_max_percent: 101",
        "purge_enabled: 2",
        "purge_enabled: maybe",
        "max_request_age: -5",
        "empty_pool_grace: 0",
        "health_thresholds: {pending_queue_max: -1}",
        "health_thresholds: [1]",
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_option(line: str) -> None:
    name = line.partition(":")[0]
    assert option(line).startswith(f"config.{name}")


@pytest.mark.parametrize(
    ("line", "bound"),
    [
        ("purge_interval: 1e30", "less than or equal to 315360000 (10 years)"),
        ("health_check_interval: 315360001", "less than or equal to 315360000 (10 years)"),
        ("purge_interval: 0.09", "greater than or equal to 0.1"),
        ("max_ready_age: 1.0e+30", "less than or equal to 3153600000 (100 years)"),
        ("empty_pool_grace: 3153600001", "less than or equal to 3153600000 (100 years)"),
        ("health_thresholds: {stuck_vm_age_threshold: 1e11}", "less than or equal to 3153600000 (100 years)"),
        ("health_thresholds: {ready_queue_max: 1.0e+300}", "less than or equal to 1000000000"),
        ("dlq_max_entries: 100000001", "less than or equal to 100000000"),
        ("dlq_ttl: 1e7", "less than or equal to 1000000"),
    ],
)
def test_value_out_of_bounds_is_refused_with_its_bound(line: str, bound: str) -> None:
    assert option(line).endswith(f" must be {bound}")


def test_a_pools_size_has_a_bound() -> None:
    assert the_problem(":pools:\n  - name: a\n    size: 1000001\n") == (
        "pools[0].size: 1000001 must be less than or equal to 1000000"
    )


def test_longest_interval_works_in_beat() -> None:
    chosen = load_settings({"VMPOOLER_CONFIG": ":config:\n  purge_enabled: true\n  purge_interval: 315360000\n"})
    with Celery(set_as_current=False) as app:
        entry = ScheduleEntry("purge", app=app, **schedule(chosen)["purge"])
        assert entry.schedule.is_due(datetime.now(UTC)).next > 300_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":config:\n  purge_enabled: maybe\n", "config.purge_enabled: 'maybe' must be true or false"),
        (":config:\n  purge_enabled: [1]\n", "config.purge_enabled: [1] must be true or false"),
        (":config:\n  dlq_ttl: [1]\n", "config.dlq_ttl: [1] must be a number"),
        (":config:\n  dlq_max_entries: 1.5\n", "config.dlq_max_entries: 1.5 must be a whole number"),
        (":config:\n  health_thresholds: 5\n", "config.health_thresholds: 5 must be a section of options"),
        (":config: 5\n", "config: 5 must be a section of options"),
        (":pools: many\n", "pools: 'many' must be a list"),
        (":pools:\n  - a\n", "pools[0]: 'a' must be a section of options"),
        (":pools:\n  - name: yes\n", "pools[0].name: True must be text: put it in quotes"),
        (":redis:\n  password: yes\n", "redis.password: must be text: put it in quotes"),
        (":redis:\n  server: redis://db\n", "redis.server: 'redis://db' is not a host name or an address"),
        (":redis:\n  server: 'db:6380'\n", "redis.server: 'db:6380' is not a host name or an address"),
        (
            ":redis:\n  url: http://db\n",
            "redis.url: 'http://db' must start with redis:// or rediss:// or sentinel:// or unix://",
        ),
    ],
)
def test_problem_names_the_allowed_values(text: str, expected: str) -> None:
    assert the_problem(text) == expected


def test_a_value_from_the_environment_is_reported_under_its_variable() -> None:
    assert problems_of(":config: {}", {"PURGE_INTERVAL": "hourly", "REDIS_PORT": "70000"}) == [
        "config.purge_interval: 'hourly' must be a number (from PURGE_INTERVAL)",
        "redis.port: '70000' must be less than or equal to 65535 (from REDIS_PORT)",
    ]
    assert the_problem(":config: {}", {"REDIS_SERVER": "a b"}) == "REDIS_SERVER: 'a b' is not a host name or an address"


@pytest.mark.parametrize("text", [":config: 5\n", ":config: [a]\n", ":pools: many\n", ":pools:\n  name: x\n"])
def test_a_section_of_the_wrong_kind_is_an_error(text: str) -> None:
    assert the_problem(text).startswith(("config:", "pools:"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":pools:\n  - size: 3\n", "pools[0].name: is missing"),
        (":pools:\n  - name: ''\n", "pools[0].name: is blank"),
        (":pools:\n  - name: a\n    size: -1\n", "pools[0].size: -1"),
        (":pools:\n  - just a name\n", "pools[0]: 'just a name'"),
    ],
)
def test_problem_of_a_pool_names_its_place(text: str, expected: str) -> None:
    assert the_problem(text).startswith(expected)


def test_two_pools_of_one_name_are_an_error() -> None:
    assert the_problem(":pools:\n  - name: a\n  - name: b\n  - name: a\n") == (
        "pools[2].name: 'a' is the name of an earlier pool"
    )


def test_key_with_and_without_colon_is_an_error() -> None:
    found = problems_of(
        ":config:\n  dlq_ttl: 1\n  :dlq_ttl: 2\nconfig:\n  dlq_ttl: 3\n:pools:\n  - name: a\n    :name: b\n"
    )
    assert found == [
        "config.dlq_ttl: given twice, with and without a colon",
        "config: given twice, with and without a colon",
        "pools[0].name: given twice, with and without a colon",
    ]


def test_a_warning_above_its_critical_value_loads_as_in_vmpooler() -> None:
    limits = "dlq_max_warning: 50, dlq_max_critical: 10, stuck_vm_max_warning: 9, stuck_vm_max_critical: 3"
    loaded = load_settings({"VMPOOLER_CONFIG": f":config:\n  health_thresholds: {{{limits}}}\n"})
    assert loaded.config.health_thresholds.dlq_max_warning == 50


def test_a_wrong_value_in_the_environment_is_an_error_like_one_in_the_file() -> None:
    problem = the_problem("", {"VMPOOLER_CONFIG": ":config: {}", "PURGE_INTERVAL": "hourly"})
    assert problem.startswith("config.purge_interval: 'hourly'")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as caught:
        load_settings({"VMPOOLER_CONFIG_FILE": str(tmp_path / "absent.yaml")})
    assert caught.value.source == str(tmp_path / "absent.yaml")


def test_a_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_settings({}, tmp_path)


def test_a_file_that_is_not_utf_8_is_an_error_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "latin1.yaml"
    file.write_bytes(b":config:\n  prefix: caf\xe9\n")
    with pytest.raises(ConfigurationError, match=r"is not UTF-8: .* at byte 22"):
        load_settings({}, file)


def test_syntax_error_names_its_line() -> None:
    assert the_problem(":config:\n  dlq_ttl: 1\n  purge: [1, 2\n:pools:\n").startswith("line 4, column ")


@pytest.mark.parametrize("text", ["just text", "- a\n- list\n", "42"])
def test_a_file_without_sections_is_an_error(text: str) -> None:
    assert "must hold sections such as :config:" in the_problem(text)


@pytest.mark.parametrize("value", ["2024-13-45", "0b_", "a\x00b", "!!python/object:os.system {}", "!!int notanumber"])
def test_a_value_that_yaml_cannot_read_is_one_problem_and_no_traceback(value: str) -> None:
    assert the_problem(f":config:\n  domain: {value}\n")


def test_a_problem_in_an_extra_file_names_that_file(tmp_path: Path) -> None:
    missing, broken = tmp_path / "missing.yaml", tmp_path / "broken.yaml"
    broken.write_text("a: [\n")
    found = problems_of(f":config:\n  dlq_ttl: nope\n  extra_config: {missing},{broken}\n")
    assert len(found) == 3
    assert any(str(missing) in problem and "cannot be read" in problem for problem in found)
    assert any(str(broken) in problem and "line 2" in problem for problem in found)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:6379", "must start with redis:// or rediss://"),
        ("host:6379", "must start with redis:// or rediss://"),
        ("redis://[::1", "is not an address"),
        ("redis://host:port/0", "is not an address"),
    ],
)
@pytest.mark.parametrize("variable", ["REDIS_URL", "CELERY_BROKER_URL"])
def test_invalid_address_is_an_error(variable: str, url: str, expected: str) -> None:
    problem = the_problem(":config: {}", {variable: url})
    assert problem.startswith(variable)
    assert expected in problem


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (":redis:\n  password: [hunter2]\n", {}),
        (":redis:\n  url: [hunter2]\n", {}),
        (":redis: redis://:hunter2@host:6379\n", {}),
        (":redis:\n  - password: hunter2\n", {}),
        (":redis:\n  password: *hunter2\n", {}),
        (":redis:\n  password: !hunter2 x\n", {}),
        (":redis:\n  password: hunter2\n  port: nope\n", {}),
        (":redis:\n  password: hunter2\n  password: hunter2\n", {}),
        (":redis:\n  server: 'user:hunter2@host'\n", {}),
        ("redis://:hunter2@host:6379", {}),
        (":config: {}", {"REDIS_URL": "http://:hunter2@host:6379/0"}),
        (":config: {}", {"REDIS_URL": "redis://:hunter2/3@host:6379/0"}),
        (":config: {}", {"REDIS_URL": "redis://:hunter2#3@host:6379/0"}),
        (":config: {}", {"REDIS_URL": "redis://user:a@hunter2@host:nope/0"}),
        (":config: {}", {"REDIS_URL": ":hunter2@host:6379"}),
        (":config: {}", {"CELERY_BROKER_URL": "amqp://user:hunter2@host"}),
        (":config: {}", {"REDIS_PASSWORD": "hunter2", "REDIS_PORT": "nope"}),
    ],
)
def test_no_problem_shows_a_secret(text: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"VMPOOLER_CONFIG": text, **environ})
    assert caught.value.problems
    assert "hunter2" not in str(caught.value)
