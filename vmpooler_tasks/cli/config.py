"""`vmpooler-tasks config`"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from vmpooler_tasks.cli.shared import options
from vmpooler_tasks.cli.shared.context import Context, pass_context
from vmpooler_tasks.cli.shared.output import print_json, print_line, print_table
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.config.checks.advice import find_advice
from vmpooler_tasks.config.password_hashes import hash_of
from vmpooler_tasks.config.services import MIN_SECRET_CHARACTERS
from vmpooler_tasks.errors import (
    ConfigurationError,
    ServersUnavailableError,
    StoreUnavailableError,
    VmpoolerTasksError,
)
from vmpooler_tasks.jobs.online.trial import Trial, TrialState
from vmpooler_tasks.jobs.online.trials import read_all_orders, try_servers
from vmpooler_tasks.model.names import on_one_line
from vmpooler_tasks.store import Database
from vmpooler_tasks.store.orders.overrides import Orders
from vmpooler_tasks.store.vmpooler.queues import pool_names
from vmpooler_tasks.tasks.observe.startup import feature_lines
from vmpooler_tasks.tasks.pool_context import find_ignored_options, find_unloadable, find_unmarked


@click.group()
def config() -> None:
    """Validate the configuration, show the effective values, or hash a password for it.

    Example: vmpooler-tasks config check vmpooler.yaml
    """


@config.command(epilog="Example: vmpooler-tasks config check /etc/vmpooler/vmpooler.yaml")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--strict", is_flag=True, help="End with status 78 for a warning as well.")
@click.option("--online", is_flag=True, help="Also try Redis, providers and DNS: login, templates, permissions, quota.")
@options.as_json
@pass_context
def check(context: Context, file: Path | None, strict: bool, online: bool, as_json: bool) -> None:
    """Check a configuration, and show all its problems and warnings. Exit status: 0 valid, 78 not valid.

    A warning is about a value that is valid and probably not meant: an option without effect, for example. If
    manage_pools is on, load the providers as a worker does. --online also compares the pools with those in Redis, and
    tries each provider and DNS plugin with all its pools, for a minute at most; it changes nothing. Exit status 69: all
    problems are that servers do not reply.
    """
    warnings: list[str] = []
    try:
        settings = load_settings(file=file) if file else context.settings
        tried = _check_settings(settings, warnings, online=online)
    except ConfigurationError as error:
        if not as_json:
            _print_warnings(warnings)
            raise
        found = {"warnings": warnings} if warnings else {}
        print_json({"source": error.source, "valid": False, "problems": error.problems, **found})
        sys.exit(error.exit_status)
    if as_json:
        print_json(_as_json(settings, warnings, tried))
    else:
        _print(settings, warnings, tried)
    sys.exit(os.EX_CONFIG if strict and warnings else os.EX_OK)


def _check_settings(settings: Settings, warnings: list[str], *, online: bool) -> list[Trial]:
    """Add what was found to the warnings, and return the trials if `online`.

    Raise ConfigurationError with all problems.
    """
    warnings += find_advice(settings)
    unloadable = []
    if settings.config.manage_pools:
        warnings += map(str, settings.unused)
        unloadable = find_unloadable(settings)
        warnings += [*find_ignored_options(settings), *find_unmarked(settings)] if not unloadable else ()
    if online:
        return _try_servers(settings, warnings)
    if unloadable:
        raise ConfigurationError(settings.source, unloadable)
    return []


def _try_servers(settings: Settings, warnings: list[str]) -> list[Trial]:
    """Try Redis, providers and DNS plugins, and return the trials. Add to the warnings what Redis knows differently.

    Raise ConfigurationError with all problems, ServersUnavailableError if all are that servers do not reply, and the
    error of Redis if it is the only one.
    """
    orders: Mapping[str, Orders] = {}
    problems, redis_error = [], None
    try:
        warnings += _compare_with_redis(settings)
        with closing(Database(settings.redis.location)) as db:
            orders = read_all_orders(settings, db) if settings.config.manage_pools else {}
    except VmpoolerTasksError as error:
        redis_error = error
        problems.append(on_one_line(str(error)))
    trials = try_servers(settings, orders) if settings.config.manage_pools else []
    failed = [one for one in trials if one.problems]
    if redis_error and not failed:
        raise redis_error
    for one in failed:
        problems += one.problems
    if not problems:
        return trials
    is_silence = all(one.state is TrialState.NO_REPLY for one in failed) and (
        redis_error is None or isinstance(redis_error, StoreUnavailableError)
    )
    raise (ServersUnavailableError if is_silence else ConfigurationError)(settings.source, problems)


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


def _as_json(settings: Settings, warnings: list[str], tried: list[Trial]) -> dict[str, Any]:
    """Return the result for `--json`. `providers` and `dns_configs` are there if any was tried."""
    unused = [{"option": option.path, "because": option.because} for option in settings.unused]
    sections: dict[str, list[dict[str, Any]]] = {}
    for one in tried:
        sections.setdefault(one.section, []).append({"name": one.name, "pools": one.pools, "state": one.state})
    return {
        "source": settings.source,
        "valid": True,
        "problems": [],
        "warnings": warnings,
        "without_effect": unused,
        **sections,
    }


def _print(settings: Settings, warnings: list[str], tried: list[Trial]) -> None:
    many = "s" if len(warnings) > 1 else ""
    print_line(f"{settings.source} is valid" + (f", with {len(warnings)} warning{many}." if warnings else "."), "green")
    _print_warnings(warnings)
    if settings.unused and not settings.config.manage_pools:
        names = ", ".join(option.path for option in settings.unused)
        print_line(f"  only VMPooler's own manager reads: {names}")
    for line in feature_lines(settings):
        print_line("  " + line.removeprefix("[*] [config] "))
    for one in tried:
        print_line(f"  {one.section}.{on_one_line(one.name)}: {one.success}")


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
