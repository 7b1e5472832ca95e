"""A wrong value is an error with its path and the allowed values."""

from datetime import UTC, datetime

import pytest
from celery import Celery
from celery.beat import ScheduleEntry

from tests.support.config_problems import option, problems_of, the_problem
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.tasks.celery.configuration import schedule


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


def test_a_warning_above_its_critical_value_loads_as_in_vmpooler() -> None:
    limits = "dlq_max_warning: 50, dlq_max_critical: 10, stuck_vm_max_warning: 9, stuck_vm_max_critical: 3"
    loaded = load_settings({"VMPOOLER_CONFIG": f":config:\n  health_thresholds: {{{limits}}}\n"})
    assert loaded.config.health_thresholds.dlq_max_warning == 50
