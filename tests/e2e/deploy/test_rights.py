"""What each user of `deploy/redis/users.acl` may do, and that it may do nothing else: command by command."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.support.acl import USERS, client, with_users
from tests.support.documented_keys import documented_keys
from tests.support.processes import ROOT
from tests.support.servers import KINDS, TestServer
from vmpooler_tasks.model.names import WORK_QUEUES

PACKAGE = ROOT / "vmpooler_tasks"

CONNECTION = {
    *("asking", "auth", "echo", "hello", "lolwut", "ping", "quit", "readonly", "readwrite", "reset", "select"),
    *("command", "command|count", "command|docs", "command|help", "command|info", "command|list"),
    *("command|getkeys", "command|getkeysandflags"),
    *("client|caching", "client|capa", "client|getname", "client|getredir", "client|help", "client|id"),
    *("client|import-source", "client|info", "client|no-touch", "client|reply", "client|setinfo", "client|setname"),
    *("client|trackinginfo", "dbsize", "info"),
}
"""What concerns a user's own connection, and what INFO shows."""

TRANSACTION = {"multi", "exec", "discard", "unwatch"}

WITHOUT_KEYS = {
    "default": CONNECTION | TRANSACTION | {"keys", "scan", "clusterscan"},
    "vmpooler-tasks": CONNECTION
    | TRANSACTION
    | {
        "eval",
        "evalsha",
        "script|load",
        "script|exists",
        "unsubscribe",
        "punsubscribe",
        "scan",
        "clusterscan",
        "time",
        "waitaof",
    },
    "vmpooler-monitor": CONNECTION | {"time"},
}
"""User → every command that names no key, and that the user may send. (`waitaof` and others: only Valkey has them.)"""

SECRETS = {
    "the name of a token": ("SCAN 0", "KEYS vmpooler__token__*", "RANDOMKEY"),
    "the names of changed keys": ("CLIENT TRACKING ON BCAST",),
    "a token": ("HGETALL vmpooler__token__abc", "HGET vmpooler__token__abc user", "DUMP vmpooler__token__abc"),
    "the token that a VM was checked out with": ("HGET vmpooler__vm__a token:token", "HGETALL vmpooler__vm__a"),
    "the token of a request": ("HGETALL vmpooler__odrequest__a",),
    "a session": ("HGETALL vmpooler_tasks__session__a", "DUMP vmpooler_tasks__session__a"),
    "a waiting task": ("LRANGE vmpooler.clone 0 -1", "LINDEX vmpooler.clone 0", "DUMP vmpooler.clone"),
    "a task that runs": ("HGETALL unacked", "HVALS unacked", "HGETALL vmpooler_tasks__heartbeats"),
    "a failed task": ("ZRANGE vmpooler__dlq__tasks 0 -1", "ZSCAN vmpooler__dlq__tasks 0"),
    "a redriven task": ("LRANGE vmpooler_tasks__redrive__a__dead_letters 0 -1",),
    "the result of a task": ("GET celery-task-meta-a",),
    "an order of a user": ("SMEMBERS vmpooler__tasks__disk", "HGETALL vmpooler_tasks__vm_order__a"),
    "a notification": ("LRANGE vmpooler_tasks__notifications__a 0 -1",),
    "another program's key": ("GET other",),
}
"""What the monitor must not read → commands that would."""

DANGEROUS = (
    *("FUNCTION FLUSH", "FUNCTION LOAD x", "FUNCTION DELETE x", "FUNCTION RESTORE x", "FUNCTION LIST"),
    *("FCALL x 0", "SCRIPT FLUSH", "SCRIPT KILL", "SCRIPT DEBUG SYNC", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1"),
    *("SHUTDOWN", "SAVE", "MONITOR", "CONFIG GET *", "CONFIG SET maxmemory 1", "ACL LIST", "SLOWLOG GET"),
    *("ACL SETUSER x on nopass +@all", "CLIENT KILL TYPE normal", "CLIENT LIST", "CLIENT PAUSE 1"),
    *("REPLICAOF NO ONE", "MODULE LIST", "MIGRATE h 1 vmpooler__a 0 1", "LATENCY RESET"),
    *("GET other", "SET other 1", "DEL other", "LPUSH celery x", "RENAME vmpooler__a other", "PFMERGE other"),
    *("COPY vmpooler__a other", "SORT other", "SUBSCRIBE other", "PSUBSCRIBE *", "PUBLISH other x"),
)
"""What no user may send."""

SHOWN = (
    *("HGETALL vmpooler__health", "SMEMBERS vmpooler__ready__p", "ZRANGE vmpooler__dlq__clone 0 -1 WITHSCORES"),
    *("ZCARD vmpooler__dlq__tasks", "LLEN vmpooler.clone", "HLEN unacked", "GET vmpooler__tasks__clone", "INFO memory"),
    *("HGETALL vmpooler__config", "HGETALL vmpooler_tasks__counters", "HGETALL vmpooler_tasks__breaker__p"),
    *("ZRANGE vmpooler_tasks__heartbeat_times 0 -1", "HGETALL vmpooler__active__p", "TTL vmpooler__health"),
)
"""What the monitor is for."""


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """A server for what changes nothing."""
    with with_users(request.param, tmp_path_factory.mktemp("acl")) as own:
        yield own


def is_granted(server: TestServer, user: str, *words: str) -> bool:
    """Return True if the server would run this command for the user."""
    admin: Any = redis.Redis.from_url(server.url)
    return bool(admin.execute_command("ACL DRYRUN", user, *words) == b"OK")


def commands_of(entries: list[Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield each command that names no key, with words for its arguments. EVAL and its kind name keys by a count."""
    for name, arity, flags, first_key, *rest in entries:
        yield from commands_of(rest[5])
        words = name.decode().split("|")
        is_container = bool(rest[5])
        names_keys = first_key or (b"movablekeys" in flags and b"noscript" not in flags)
        if not names_keys and not is_container:
            yield name.decode(), [*words, *["0"] * (abs(arity) - len(words))]


@pytest.mark.parametrize("user", USERS)
def test_a_user_may_send_these_commands_without_a_key_and_no_other(user: str, server: TestServer) -> None:
    admin: Any = redis.Redis.from_url(server.url, protocol=2)
    admin.response_callbacks.clear()  # redis-py's drops the subcommands
    named = dict(commands_of(admin.execute_command("COMMAND")))
    assert {"flushall", "function|flush", "script|kill", "config|get"} <= set(named)
    assert {name for name, words in named.items() if is_granted(server, user, *words)} <= WITHOUT_KEYS[user]


@pytest.mark.parametrize("user", USERS)
def test_nobody_may_touch_other_keys_or_stop_others(user: str, server: TestServer) -> None:
    assert [command for command in DANGEROUS if is_granted(server, user, *command.split())] == []


@pytest.mark.parametrize(
    "script",
    ["return redis.call('GET', 'other')", "return redis.call('FLUSHALL')", "return redis.call('KEYS', '*')"],
)
def test_a_script_may_no_more_than_its_user(script: str, server: TestServer) -> None:
    with pytest.raises(redis.exceptions.ResponseError, match=r"The user executing the script can't|ACL failure"):
        client(server, "vmpooler-tasks").eval(script, 0)


@pytest.mark.parametrize("secret", SECRETS)
def test_the_monitor_reads_no_secret(secret: str, server: TestServer) -> None:
    granted = [one for one in SECRETS[secret] if is_granted(server, "vmpooler-monitor", *one.split())]
    assert granted == []


def test_the_monitor_reads_what_it_shows_and_writes_nothing(server: TestServer) -> None:
    for command in SHOWN:
        assert is_granted(server, "vmpooler-monitor", *command.split()), command
    for command in ("SET vmpooler__a 1", "DEL vmpooler__health", "LPOP vmpooler.clone", "EVAL x 0", "HSET unacked a 1"):
        assert not is_granted(server, "vmpooler-monitor", *command.split()), command


def test_vmpooler_has_its_own_keys_alone(server: TestServer) -> None:
    for command in ("SADD vmpooler__ready__x vm", "KEYS vmpooler__*", "MULTI", "SCAN 0", "EXPIRE vmpooler__vm__a 1"):
        assert is_granted(server, "default", *command.split()), command
    for command in ("LPUSH vmpooler.clone x", "HSET vmpooler_tasks__counters a 1", "EVAL x 0"):
        assert not is_granted(server, "default", *command.split()), command


def test_the_tasks_may_use_every_key_of_theirs_and_every_command_of_their_scripts(server: TestServer) -> None:
    for key in documented_keys():
        name = re.sub("[A-Z]+", "x", key.name)
        assert is_granted(server, "vmpooler-tasks", "DEL", name), key.name
    for queue in WORK_QUEUES:
        assert is_granted(server, "vmpooler-tasks", "LPUSH", f"{queue}.wake", "1")
    admin: Any = redis.Redis.from_url(server.url)
    user = admin.acl_getuser("vmpooler-tasks")
    assert user is not None
    known = {name.lower(): entry for name, entry in admin.command().items()}
    for command in sorted(used_commands()):
        arity = abs(known[command]["arity"])
        words = ["vmpooler__a"] * (arity - 1) if known[command]["first_key_pos"] else ["0"] * (arity - 1)
        assert is_granted(server, "vmpooler-tasks", command, *words), command


def used_commands() -> set[str]:
    """Return the commands that the Lua scripts and the modules of the package name."""
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*") if path.suffix in {".lua", ".py"}]
    found = {name for text in texts for name in re.findall(r"(?:redis\.p?call|\.call)\(\s*['\"]([A-Z]+)", text)}
    return {name.lower() for name in found}


def test_the_tasks_may_use_the_channels_of_every_database(server: TestServer) -> None:
    for number in range(16):
        for command in (
            "PSUBSCRIBE /{}.celery.pidbox",
            "PSUBSCRIBE /{}.celeryev/*",
            "PUBLISH /{}.celeryev/task.sent x",
        ):
            assert is_granted(server, "vmpooler-tasks", *command.format(number).split()), command
        assert not is_granted(server, "default", "PSUBSCRIBE", f"/{number}.celery.pidbox")


def test_nobody_comes_in_without_a_password(server: TestServer) -> None:
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(port=server.port).ping()
