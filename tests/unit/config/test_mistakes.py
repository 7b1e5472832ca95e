"""The problems of a configuration: all at once, in whichever file, and without a secret."""

from pathlib import Path

import pytest

from tests.support.config_problems import problems_of, the_problem
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.errors import ConfigurationError


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
