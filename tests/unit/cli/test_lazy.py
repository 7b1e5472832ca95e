"""The commands are imported when they are invoked; the group's help says of each what the command says itself."""

import subprocess
import sys

import click
import pytest

from vmpooler_tasks.cli import cli
from vmpooler_tasks.cli.shared.lazy import LazyCommand, LazyGroup, LazyModule

SLOW = {"redis", "pydantic", "celery", "kombu", "fastapi", "yaml"}


def imported_by(*arguments: str) -> set[str]:
    """The modules that a real process has imported at its end."""
    program = (
        "import sys, atexit; atexit.register(lambda: sys.stderr.write(' '.join(sys.modules)));"
        f"sys.argv = ['vmpooler-tasks', *{list(arguments)!r}];"
        "from vmpooler_tasks.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_and_version_import_nothing_slow(option: str) -> None:
    assert imported_by(option) & SLOW == set()


@pytest.mark.parametrize("name", ["dlq", "health", "pools", "audit", "purge"])
def test_help_of_a_command_does_not_import_celery(name: str) -> None:
    assert imported_by(name, "--help") & {"celery", "kombu", "fastapi"} == set()


@pytest.mark.parametrize("name", list(cli.lazy_commands))
def test_short_help_is_that_of_the_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert cli.lazy_commands[name].short_help == command.get_short_help_str(100)


def test_nearest_command_is_suggested() -> None:
    with pytest.raises(click.UsageError) as error:
        cli.main(["helth"], standalone_mode=False)
    assert error.value.format_message() == "No such command 'helth'. Did you mean 'health'?"


def test_place_that_is_not_a_command_is_an_error() -> None:
    group = LazyGroup("g", commands={"x": LazyCommand("json:loads", "")})
    with pytest.raises(TypeError, match="json:loads is not a command"):
        group.get_command(click.Context(group), "x")


def test_lazy_module_is_imported_with_its_first_attribute() -> None:
    assert LazyModule("json").loads("[1]") == [1]
