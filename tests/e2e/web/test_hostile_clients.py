"""`vmpooler-tasks web` among clients without a login that hold connections, and send heads and bodies without end."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.web.test_web import USERS, web
from tests.support.processes import Installation, Process
from tests.support.raw_http import RawClient, connection

pytestmark = [pytest.mark.stage(name="api"), pytest.mark.timeout(600)]

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
MEGABYTE = 1024 * 1024
CHUNKED = (
    b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@pytest.fixture
def served(installation: Installation) -> tuple[Process, str]:
    process, port = web(installation, environment={"WEB_USERS": USERS})
    process.start().says("Serving")
    return process, f"http://127.0.0.1:{port}"


def is_alive(address: str) -> bool:
    return httpx.get(f"{address}/healthz", timeout=60).status_code == 200


def running(process: Process) -> psutil.Process:
    assert process.process is not None
    return psutil.Process(process.process.pid)


def memory(process: Process) -> int:
    return int(running(process).memory_info().rss)


@contextmanager
def clients(address: str, count: int) -> Iterator[list[RawClient]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connection(address)) for _ in range(count)]


def test_idle_connections_keep_nobody_out(served: tuple[Process, str]) -> None:
    process, address = served
    with clients(address, 600):
        assert is_alive(address)
        assert httpx.get(f"{address}/", timeout=60).status_code == 200
        process.says("500 connections are open. New ones take the place of those that have waited longest")
    assert is_alive(address)


def test_heads_without_an_end_take_little_memory(served: tuple[Process, str]) -> None:
    process, address = served
    assert is_alive(address)
    before = memory(process)
    with clients(address, 480) as heads:
        for client in heads:
            client.socket.settimeout(0.05)
            with suppress(OSError):  # the server does not take all of it
                client.send(HEAD + b"a" * MEGABYTE)
        assert is_alive(address)
        assert memory(process) - before < 150 * MEGABYTE
    assert is_alive(address)


def test_bodies_in_tiny_chunks_silence_nothing(served: tuple[Process, str]) -> None:
    process, address = served
    body = b"1\r\na\r\n" * 300_000 + b"0\r\n\r\n"
    statuses: list[int | None] = []

    def send() -> None:
        with connection(address) as client:
            with suppress(OSError):
                client.send(CHUNKED + body)
            found = client.response()
            statuses.append(None if found is None else found.status)

    before = running(process).cpu_times().user
    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert is_alive(address)
    for thread in threads:
        thread.join()
    assert set(statuses) <= {413, None}  # None: this machine was so slow that the connection ended before it was read
    # Each chunk took 10 to 20 microseconds of this process: 12 seconds for all of them.
    assert running(process).cpu_times().user - before < 6


def test_connection_that_sends_nothing_ends(served: tuple[Process, str]) -> None:
    _, address = served
    with connection(address) as idle, connection(address) as half:
        half.send(HEAD)
        late = half.response()
        assert idle.is_ended()
        assert late is not None
        assert late.status == 408
    assert is_alive(address)
