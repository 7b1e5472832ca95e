"""The record of unconfigured VMs of each provider, and how many of them an operator has confirmed."""

import json
from collections.abc import Collection

from vmpooler_tasks.model.guards.unconfigured import UnconfiguredVms
from vmpooler_tasks.model.names import parsed_object, readable
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.redis.numbers import finite

FOUND, CONFIRMED = "found ", "confirmed "
"""Starts of the two fields of a provider. A round writes the first one, an operator the second one."""


def record(db: Database, found: UnconfiguredVms) -> None:
    """Record what a round found, for the commands. Nothing of a provider without unconfigured VMs is kept."""
    field = f"{FOUND}{found.provider}"
    if found.count:
        value = {"count": found.count, "names": list(found.names), "limit": found.limit}
        db.call("HSET", keys.UNCONFIGURED_VMS, field, json.dumps(value))
    else:
        db.call("HDEL", keys.UNCONFIGURED_VMS, field)


def forget_others(db: Database, providers: Collection[str]) -> list[str]:
    """Forget what is recorded and confirmed of all providers but these. Return those that had VMs or a confirmation."""
    fields = {readable(raw): raw for raw in db.call("HKEYS", keys.UNCONFIGURED_VMS)}
    others = {name: raw for name, raw in fields.items() if name.partition(" ")[2] not in providers}
    if others:
        db.call("HDEL", keys.UNCONFIGURED_VMS, *others.values())
    return sorted({name.partition(" ")[2] for name in others})


def confirm(db: Database, provider: str, count: int) -> None:
    """Let so many unconfigured VMs of the provider be destroyed."""
    db.call("HSET", keys.UNCONFIGURED_VMS, f"{CONFIRMED}{provider}", count)


def read_confirmed(db: Database, provider: str) -> int | None:
    """Return how many unconfigured VMs of the provider an operator has confirmed; None before the first time."""
    return _number(db.call("HGET", keys.UNCONFIGURED_VMS, f"{CONFIRMED}{provider}"))


def read_unconfigured(db: Database, providers: Collection[str]) -> dict[str, UnconfiguredVms]:
    """Return the unconfigured VMs of each of these providers that has any. Raise WrongTypeError."""
    fields = {readable(name): raw for name, raw in db.call("HGETALL", keys.UNCONFIGURED_VMS).items()}
    return {
        name: _parse(name, fields[f"{FOUND}{name}"], _number(fields.get(f"{CONFIRMED}{name}")))
        for name in sorted(providers)
        if f"{FOUND}{name}" in fields
    }


def _parse(provider: str, raw: bytes, confirmed: int | None) -> UnconfiguredVms:
    fields = parsed_object(raw)
    names = fields.get("names")
    return UnconfiguredVms(
        provider=provider,
        count=int(finite(str(fields.get("count"))) or 0),
        names=tuple(map(str, names)) if isinstance(names, list) else (),
        limit=int(finite(str(fields.get("limit"))) or 0),
        confirmed=confirmed,
    )


def _number(raw: bytes | None) -> int | None:
    number = finite(raw)
    return None if number is None else int(number)
