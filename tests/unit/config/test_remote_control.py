"""The option that says which commands of Celery's remote control workers carry out."""

import pytest

from tests.support.config_problems import option, the_problem
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.model.remote_control import COMMANDS, permitted_commands
from vmpooler_tasks.tasks.celery.configuration import celery_settings


@pytest.mark.parametrize(
    ("line", "chosen"),
    [
        ("{}", ("inspect", "revoke")),
        ("{remote_control: [inspect, shutdown]}", ("inspect", "shutdown")),
        ("{remote_control: inspect}", ("inspect",)),
        ("{remote_control: 'inspect, pool_grow'}", ("inspect", "pool_grow")),
        ("{remote_control: dump_active}", ("active",)),
        ("{remote_control: []}", ()),
        ("{remote_control: false}", ()),
        ("{remote_control: off}", ()),
        ("{remote_control: 'none'}", ()),
        ("{remote_control: all}", ("all",)),
    ],
)
def test_commands_are_a_list_or_false(line: str, chosen: tuple[str, ...]) -> None:
    settings = load_settings({"VMPOOLER_CONFIG": f":config: {line}"})
    assert settings.config.remote_control == chosen
    assert settings.published()["remote_control"] == ",".join(chosen)


def test_environment_overrides_the_file() -> None:
    environment = {"VMPOOLER_CONFIG": ":config: {remote_control: all}", "REMOTE_CONTROL": "inspect,revoke"}
    assert load_settings(environment).config.remote_control == ("inspect", "revoke")


def test_all_are_all() -> None:
    assert permitted_commands(("all",)) == permitted_commands(tuple(COMMANDS)) == COMMANDS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("remote_control: [shutdwn]", "did you mean shutdown?"),
        ("remote_control: [hello]", "is no command of remote control that may be permitted"),
        ("remote_control: [election]", "is no command of remote control that may be permitted"),
        ("remote_control: true", "must be a list"),
        ("remote_control: 5", "must be a list"),
        ("remote_control: {a: 1}", "must be a list"),
        ("remote_control:", "is blank"),
        ("remote_control: [5]", "must be text"),
    ],
)
def test_another_value_is_an_error(line: str, said: str) -> None:
    problem = option(line)
    assert problem.startswith("config.remote_control")
    assert said in problem


def test_environment_is_named_in_its_error() -> None:
    assert "REMOTE_CONTROL" in the_problem("", {"REMOTE_CONTROL": "shutdwn"})


@pytest.mark.parametrize(("chosen", "is_on"), [("inspect", True), ("none", False)])
def test_workers_listen_only_if_something_is_permitted(
    chosen: str, is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings({"REMOTE_CONTROL": chosen})
    monkeypatch.setattr("vmpooler_tasks.tasks.celery.configuration.settings", lambda: settings)
    assert celery_settings()["worker_enable_remote_control"] is is_on
