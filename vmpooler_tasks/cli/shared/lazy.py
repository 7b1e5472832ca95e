"""Import commands and slow modules only when they are used, so that `--help` and `--version` are fast.

LazyGroup follows the recipe in click's documentation, "Lazily Loading Subcommands".
"""

import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import click
from click.exceptions import NoSuchCommand
from click.shell_completion import CompletionItem

from vmpooler_tasks.model.names import readable


class LazyCommand(NamedTuple):
    """The place of a command's definition (`module:name`), and its line in the group's help."""

    place: str
    short_help: str


MAX_SHORT_HELP = 200
"""Characters of a command's line in the help of its group; a narrow terminal wraps it."""

NON_BREAKING_HYPHEN = "\u2011"


class WholeWordsFormatter(click.HelpFormatter):
    """A help formatter that breaks lines at blanks only: `--dry-run` and a file's name stay on one line."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, _without_breaks(args), prefix)

    def write_text(self, text: str) -> None:
        super().write_text(_without_breaks(text))

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(term, _without_breaks(text)) for term, text in rows], col_max, col_spacing)

    def getvalue(self) -> str:
        return super().getvalue().replace(NON_BREAKING_HYPHEN, "-")


def _without_breaks(text: str) -> str:
    return text.replace("-", NON_BREAKING_HYPHEN)


class OwnContext(click.Context):
    """The context of every command. It formats the help, and passes text on that Redis and JSON can hold."""

    formatter_class = WholeWordsFormatter

    def invoke(self, callback: Any, /, *args: Any, **kwargs: Any) -> Any:
        r"""Call the callback. An argument that is not UTF-8 is passed as `\\xe9`, as names from Redis are shown.

        A path stays as it is: it has to name the file.
        """
        paths = {one.name for one in self.command.params if isinstance(one.type, click.Path | click.File)}
        return super().invoke(
            callback, *args, **{name: value if name in paths else _as_utf_8(value) for name, value in kwargs.items()}
        )


def _as_utf_8(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_as_utf_8, value))
    if not isinstance(value, str) or value.isascii():
        return value
    return readable(value.encode("utf-8", "surrogateescape"))


def use_own_context(command: click.Command) -> click.Command:
    """Give the command, and its subcommands, an OwnContext. Return the command."""
    command.context_class = OwnContext
    command.short_help = command.short_help or command.get_short_help_str(MAX_SHORT_HELP)  # or click shortens it
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        use_own_context(inner)
    return command


class LazyGroup(click.Group):
    """A group that imports a command when it is invoked, and no command for its help.

    `aliases` maps other names to those of commands. The help does not list them.
    """

    context_class = OwnContext

    def __init__(
        self, *args: Any, commands: Mapping[str, LazyCommand], aliases: Mapping[str, str] = {}, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.lazy_commands = commands
        self.aliases = aliases

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. Return None for an unknown name."""
        del ctx
        found = self.lazy_commands.get(self.aliases.get(cmd_name, cmd_name))
        if found is None:
            return None
        module, name = found.place.split(":")
        command = getattr(importlib.import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{found.place} is not a command")
        return use_own_context(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command as click does. For an unknown one, suggest names without importing the commands."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(
                error.command_name, possibilities=[*self.lazy_commands, *self.aliases], ctx=ctx
            ) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that start with the text, without importing the commands."""
        commands = [
            CompletionItem(name, help=command.short_help)
            for name, command in self.lazy_commands.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

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
