"""Each kind of address, on real servers: every reader takes it in the same way, or all refuse it."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flower.utils import broker

from tests.support import days_work
from tests.support.commands import CommandLine
from tests.support.processes import Installation
from tests.support.servers import TestServer
from vmpooler_tasks.config.redis_address import read_address
from vmpooler_tasks.model.names import WORK_QUEUES
from vmpooler_tasks.store import Database, fleet_keys, keys
from vmpooler_tasks.tasks.celery.addresses import broker_settings
from vmpooler_tasks.tasks.observe import flower_broker
from vmpooler_tasks.tasks.registry import HEALTH_CHECK

pytestmark = pytest.mark.stage(name="deployment")

USERS = """\
user default on >p/w@é%;+ ~* &* +@all
user us@er on >p/w@é%;+ ~* &* +@all
user open on nopass ~* &* +@all
"""
WORD = "p%2Fw%40%C3%A9%25%3B%2B"
"""The password of the first two, percent-encoded."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """A server that listens on IPv4, IPv6 and a socket."""
    folder = tmp_path_factory.mktemp("every way")
    (folder / "users.acl").write_text(USERS, encoding="utf-8")
    socket = folder / "a b.sock"
    options = ["--bind", "127.0.0.1", "::1", "--aclfile", str(folder / "users.acl"), "--unixsocket", str(socket)]
    own = TestServer("valkey", folder, options)
    own.url = own.url.replace("//", f"//:{WORD}@")
    try:
        yield own.start()
    finally:
        own.stop()


@pytest.fixture
def databases(server: TestServer) -> Iterator[list[Database]]:
    """Databases 0 to 3 of it, empty."""
    own = [Database(f"{server.url.removesuffix('/0')}/{number}") for number in range(4)]
    own[0].call("FLUSHALL")
    yield own
    for database in own:
        database.close()


def filled(template: str, server: TestServer) -> str:
    socket = str(server.folder / "a b.sock").replace(" ", "%20")
    return template.format(port=server.port, word=WORD, socket=socket)


def test_the_whole_product_works_through_a_socket(
    server: TestServer, databases: list[Database], tmp_path: Path
) -> None:
    url = filled("unix://us%40er:{word}@{socket}?db=3", server)
    with Installation(url, tmp_path) as installation:
        days_work.work(installation, databases[3])
        doctor = installation.run("vmpooler-tasks", "config", "check")
        assert "p/w" not in doctor
        assert WORD not in doctor
    assert [database.call("DBSIZE") > 0 for database in databases] == [False, False, False, True]


@pytest.mark.parametrize(
    ("template", "number"),
    [
        ("redis://:{word}@127.0.0.1:{port}/2?db=3", 3),
        ("redis://us%40er:{word}@[::1]:{port}?db=1", 1),
        ("redis://open@127.0.0.1:{port}/1", 1),
        ("unix://:{word}@{socket}", 0),
        ("unix://open@{socket}?db=2", 2),
    ],
)
def test_commands_workers_and_results_read_one_database(
    template: str, number: int, server: TestServer, databases: list[Database], tmp_path: Path
) -> None:
    with Installation(filled(template, server), tmp_path) as installation:
        installation.worker()
        task = installation.call(HEALTH_CHECK)
        assert "status" in installation.run("celery", "-A", "vmpooler_tasks", "result", task)
        assert installation.run("vmpooler-tasks", "purge", "--json", "--why", "test")
        beat = installation.beat().says(f"[*] [beat] Sent {HEALTH_CHECK}")
        beat.stop()
    assert [database.call("DBSIZE") > 0 for database in databases] == [place == number for place in range(4)]
    for key in (keys.HEALTH, fleet_keys.AUDIT, fleet_keys.SCHEDULE, f"celery-task-meta-{task}"):
        assert databases[number].call("EXISTS", key), key


@pytest.mark.parametrize("template", ["unix://us%40er:{word}@{socket}?db=3", "redis://us%40er:{word}@[::1]:{port}/3"])
def test_flower_counts_the_messages_of_that_database(
    template: str, server: TestServer, databases: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RedisSocket", "RedisSentinel"):
        monkeypatch.setattr(broker, name, getattr(broker, name))  # restored afterwards
    url = filled(template, server)
    flower_broker.apply_whole_address(url)
    databases[3].call("RPUSH", WORK_QUEUES[0], "one", "two")
    counting = broker.Broker(broker_settings(url)["broker_url"]).queues([WORK_QUEUES[0]])
    with ThreadPoolExecutor(1) as thread:  # this one may have a running loop: that of a browser
        (queue,) = thread.submit(asyncio.run, counting).result()
    assert queue["messages"] == 2


def test_flower_counts_in_the_database_that_sentinels_lead_to(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RedisSocket", "RedisSentinel"):
        monkeypatch.setattr(broker, name, getattr(broker, name))  # restored afterwards
    url = "sentinel://user:word@one,two/3?master=mymaster"
    flower_broker.apply_whole_address(url)
    settings = broker_settings(url)
    own = broker.Broker(
        settings["broker_url"].split(";")[0],
        broker_options=settings["broker_transport_options"],
        broker_use_ssl=settings["broker_use_ssl"],
    )
    found = own.redis.connection_pool.connection_kwargs
    assert found.items() >= read_address(url).login.items()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+socket:///run/redis.sock", "did you mean unix:///run/redis.sock?"),
        ("redis://h/0?socket_timeout=3", "unknown option socket_timeout: remove it; redis:// takes only db"),
        ("redis://h/0?db=1&db=2", "option db is given 2 times"),
        ("unix://run/redis.sock", "three slashes"),
    ],
)
def test_a_refused_address_ends_every_program_with_78_and_one_line(
    url: str, said: str, run: CommandLine, installation: Installation
) -> None:
    installation.environment |= {"REDIS_URL": url, "FLOWER_BASIC_AUTH": "operator:a long password"}
    for command in ("config check", "health", "dlq list", "doctor"):
        done = run.process(*command.split(), REDIS_URL=url)
        assert done.status == os.EX_CONFIG, command
        assert said in done.out + done.err, command
        assert "Traceback" not in done.err, command
    for program in ("worker", "beat", "flower"):
        process = installation.celery(program, name=program).start()
        assert process.exit_status() == os.EX_CONFIG, program
        assert process.log.count(said) == 1, program
        assert "Traceback" not in process.log, program
    web = installation.start_literally(("vmpooler-tasks", "web"), "web")
    assert web.exit_status() == os.EX_CONFIG
    assert web.log.count(said) == 1
    assert "Traceback" not in web.log
