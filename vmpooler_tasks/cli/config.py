"""`vmpooler-tasks config`"""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.config.checks.advice import find_advice
from vmpooler_tasks.config.password_hashes import hash_of
from vmpooler_tasks.config.services import MIN_SECRET_CHARACTERS
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.vmpooler.queues import pool_names
from vmpooler_tasks.tasks.observe.startup import feature_lines
from vmpooler_tasks.tasks.pool_context import find_ignored_options, try_providers


@click.group()
def config() -> None:
    """Validate the configuration, show the effective values, or hash a password for it.

    Example: vmpooler-tasks config check vmpooler.yaml
    """


@config.command(epilog="Example: vmpooler-tasks config check /etc/vmpooler/vmpooler.yaml")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--strict", is_flag=True, help="End with status 78 for a warning as well.")
@click.option("--online", is_flag=True, help="Compare with Redis too: does it reply, and which pools does it know?")
@options.as_json
@pass_context
def check(context: Context, file: Path | None, strict: bool, online: bool, as_json: bool) -> None:
    """Check a configuration, and show all its problems and warnings. Exit status: 0 valid, 78 not valid.

    A warning is about a value that is valid and probably not meant: an option without effect, for example. If
    manage_pools is on, load the providers as a worker does.
    """
    warnings: list[str] = []
    try:
        settings = load_settings(file=file) if file else context.settings
        warnings += find_advice(settings)
        if settings.config.manage_pools:
            warnings += map(str, settings.unused)
            try_providers(settings)
            warnings += find_ignored_options(settings)
    except ConfigurationError as error:
        if not as_json:
            _print_warnings(warnings)
            raise
        found = {"warnings": warnings} if warnings else {}
        print_json({"source": error.source, "valid": False, "problems": error.problems, **found})
        sys.exit(error.exit_status)
    if online:
        warnings += _compare_with_redis(settings)
    if as_json:
        unused = [{"option": option.path, "because": option.because} for option in settings.unused]
        print_json(
            {
                "source": settings.source,
                "valid": True,
                "problems": [],
                "warnings": warnings,
                "without_effect": unused,
            }
        )
    else:
        _print(settings, warnings)
    sys.exit(os.EX_CONFIG if strict and warnings else os.EX_OK)


def _compare_with_redis(settings: Settings) -> Iterator[str]:
    """Yield what Redis and the configuration know differently. Raises StoreUnavailableError, WrongTypeError."""
    for location in {settings.redis.location, settings.broker_location}:
        with closing(Database(location)) as db:
            db.call("PING")
    with closing(Database(settings.redis.location)) as db:
        registered = set(pool_names(db))
    configured = {pool.name for pool in settings.pools}
    for name in sorted(registered - configured) if configured else ():
        yield f"pools: {name!r} is registered in Redis and not configured: purge and health leave it out"
    if settings.config.manage_pools or not registered:
        return
    for name in sorted(configured - registered):
        yield f"pools: no VMPooler has registered {name!r} in Redis: is it spelt as there?"


def _print(settings: Settings, warnings: list[str]) -> None:
    many = "s" if len(warnings) > 1 else ""
    print_line(f"{settings.source} is valid" + (f", with {len(warnings)} warning{many}." if warnings else "."), "green")
    _print_warnings(warnings)
    if settings.unused and not settings.config.manage_pools:
        names = ", ".join(option.path for option in settings.unused)
        print_line(f"  only VMPooler's own manager reads: {names}")
    for line in feature_lines(settings):
        print_line("  " + line.removeprefix("[*] [config] "))


def _print_warnings(warnings: list[str]) -> None:
    for warning in warnings:
        print_line(f"! {warning}", "yellow")


@config.command(short_help="Show the effective values.", epilog="Example: vmpooler-tasks config show --json")
@options.as_json
@pass_context
def show(context: Context, as_json: bool) -> None:
    """Show the effective values of the file, the environment and the defaults, without secrets."""
    values = {"source": context.settings.source, **context.settings.published()}
    if as_json:
        print_json(values)
    else:
        print_table(("OPTION", "VALUE"), list(values.items()), below=(("VALUE",),))


@config.command(
    "hash", short_help="Hash a password for the configuration.", epilog="Example: vmpooler-tasks config hash"
)
@options.as_json
def hash_password(as_json: bool) -> None:
    """Hash a password with argon2, for the `secret` of a user in the `:web:` section or in WEB_USERS.

    At a terminal you are asked for it twice. Otherwise the first line of stdin is read.
    """
    if sys.stdin.isatty():
        secret = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        secret = sys.stdin.readline().rstrip("\r\n")
    if len(secret) < MIN_SECRET_CHARACTERS:
        raise click.UsageError(f"a password has at least {MIN_SECRET_CHARACTERS} characters")
    hashed = hash_of(secret)
    if as_json:
        print_json({"hash": hashed})
    else:
        print_line(hashed)
