"""Import commands and slow modules only when they are used, so that `--help` and `--version` are fast.

LazyGroup follows the recipe in click's documentation, "Lazily Loading Subcommands".
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import click
from click.exceptions import NoSuchCommand


class LazyCommand(NamedTuple):
    """The place of a command's definition (`module:name`), and its line in the group's help."""

    place: str
    short_help: str


class LazyGroup(click.Group):
    """A group that imports a command when it is invoked, and no command for its help."""

    def __init__(self, *args: Any, commands: Mapping[str, LazyCommand], **options: Any) -> None:
        super().__init__(*args, **options)
        self.lazy_commands = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. Return None for an unknown name."""
        del ctx
        found = self.lazy_commands.get(cmd_name)
        if found is None:
            return None
        module, name = found.place.split(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{found.place} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command as click does. For an unknown one, suggest names without importing the commands."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.lazy_commands, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and their lines of help, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.short_help) for name, command in self.lazy_commands.items()])


class LazyModule:
    """A module that is imported when an attribute of it is first used."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)
