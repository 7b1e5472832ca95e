"""`vmpooler-tasks completion`, and the names that options and arguments complete.

A shell calls the program for each press of the Tab key. So a name that cannot be read quickly is not offered: without
Redis, or with a configuration that is not valid, the list is empty, and no message disturbs the line that is typed.
"""

import re
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from vmpooler_tasks.cli.shared.colour import colour_option
from vmpooler_tasks.cli.shared.lazy import LazyModule
from vmpooler_tasks.cli.shared.program import PROGRAM

if TYPE_CHECKING:
    from vmpooler_tasks import config, store
    from vmpooler_tasks.config import Settings
    from vmpooler_tasks.jobs.deadletters import names
    from vmpooler_tasks.store import Database
    from vmpooler_tasks.store.deadletters import read
    from vmpooler_tasks.store.redrive import runs
    from vmpooler_tasks.store.requests import fulfilment
else:  # `--help` needs none of them
    config = LazyModule("vmpooler_tasks.config")
    store = LazyModule("vmpooler_tasks.store")
    names = LazyModule("vmpooler_tasks.jobs.deadletters.names")
    read = LazyModule("vmpooler_tasks.store.deadletters.read")
    runs = LazyModule("vmpooler_tasks.store.redrive.runs")
    fulfilment = LazyModule("vmpooler_tasks.store.requests.fulfilment")

SHELLS = ("bash", "zsh", "fish")
COMPLETE_VARIABLE = f"_{PROGRAM.replace('-', '_')}_COMPLETE".upper()
"""click completes, instead of running a command, if this environment variable is set."""

MAX_SECONDS = 0.5
"""The maximum wait for Redis to connect, and to reply."""

IDS_OF_EACH_QUEUE = 10
"""Dead letters of each queue whose ids are offered, the newest."""

_SAFE_NAME = re.compile(r"[\w@%+=:,./][\w@%+=:,./-]*")
"""The names that are offered. bash inserts a name as it is: `;` and `$(…)` would be commands, `--all` an option."""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command(
    short_help="Print the script that completes commands in a shell.",
    epilog=f"Example: {PROGRAM} completion bash > ~/.{PROGRAM}.bash",
)
@click.argument("shell", type=click.Choice(SHELLS))
@colour_option(help="When to use colours.")
def completion(shell: str) -> None:
    """Print the script that completes commands, options, pools and ids of dead letters in a shell.

    bash: write the script to a file as in the example, and add `source ~/.vmpooler-tasks.bash` to ~/.bashrc. zsh: write
    it to a file `_vmpooler-tasks` in a folder of $fpath. fish: write it to
    ~/.config/fish/completions/vmpooler-tasks.fish. New shells complete with it.
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"  # noqa: S101 - for the type checker
    # Not `kind.source`: for bash it runs bash, to complain about an old version.
    click.echo(ShellComplete.source(kind(click.Command(PROGRAM), {}, PROGRAM, COMPLETE_VARIABLE)))


def _completer(read_names: Callable[["Settings", "Database"], Iterable[str]]) -> Completer:
    """Return a completer of the names that start with the typed text. It offers none if they cannot be read."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        del parameter
        with suppress(Exception):  # nothing may be written while somebody types
            file = context.find_root().params.get("config_file")
            settings = config.load_settings(file=Path(file) if file else None)
            location = settings.redis.location
            with closing(store.Database(location, reply_timeout=MAX_SECONDS, connect_timeout=MAX_SECONDS)) as db:
                found = sorted(set(read_names(settings, db)))
            offered = (name for name in found if name.startswith(incomplete) and _SAFE_NAME.fullmatch(name))
            return [CompletionItem(name) for name in offered]
        return []

    return complete


def _pools(settings: "Settings", db: "Database") -> Iterable[str]:
    return names.known_pools(settings, db if not settings.pools else None)


def _requestable(settings: "Settings", db: "Database") -> Iterable[str]:
    del db
    return names.known_pools(settings, None)


def _dead_letters(settings: "Settings", db: "Database") -> Iterable[str]:
    del settings
    return read.newest_ids(db, IDS_OF_EACH_QUEUE)


def _runs(settings: "Settings", db: "Database") -> Iterable[str]:
    del settings
    return (run.id for run in runs.newest_first(db))


def _requests(settings: "Settings", db: "Database") -> Iterable[str]:
    del settings
    return fulfilment.open_request_ids(db)


complete_pools = _completer(_pools)
complete_requestable = _completer(_requestable)
complete_dead_letters = _completer(_dead_letters)
complete_runs = _completer(_runs)
complete_requests = _completer(_requests)


def completions_of(name: str) -> Completer | None:
    """Return the completer for the filter of this name; None if its values cannot be completed."""
    return {"pool": complete_pools, "request": complete_requests}.get(name)
