"""Run a master, its replica, and three Sentinels that watch them."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from tests.support.ports import free_port
from tests.support.processes import until
from tests.support.servers import TestServer, required

MASTER = "mymaster"
QUORUM = 2
PASSWORD = "s3cr3t-word"


class Watched:
    """`url` names the Sentinels. The servers write nothing to disk: after a failover the replica has the data."""

    def __init__(self, folder: Path, password: str, sentinel_password: str = "") -> None:
        self.folder, self.password, self.sentinel_password = folder, password, sentinel_password
        secret = ["--masterauth", password]
        self.master = self._server("one", secret)
        self.replica = self._server("two", [*secret, "--replicaof", "127.0.0.1", str(self.master.port)])
        self.ports = [free_port() for _ in range(3)]
        self._sentinels: list[subprocess.Popen[bytes]] = []
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.hosts = hosts
        self.url = f"sentinel://:{password}@{hosts}/0?master={MASTER}"
        if sentinel_password:
            self.url += f"&sentinel_password={sentinel_password}"

    def _server(self, name: str, options: Sequence[str]) -> TestServer:
        (self.folder / name).mkdir()
        return TestServer("redis", self.folder / name, [*options, "--appendonly", "yes"], password=self.password)

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        for port in self.ports:
            self._sentinels.append(self._sentinel(port))
        until(self._ready, "the Sentinels know the replica and each other")

    def _sentinel(self, port: int) -> "subprocess.Popen[bytes]":
        file = self.folder / f"sentinel-{port}.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {self.master.port} {QUORUM}\n"
            f"sentinel auth-pass {MASTER} {self.password}\n"
            f"sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n"
            + (f"requirepass {self.sentinel_password}\n" if self.sentinel_password else "")
        )
        with (self.folder / f"sentinel-{port}.log").open("ab") as log:
            return subprocess.Popen([required("redis-server"), str(file), "--sentinel"], stdout=log, stderr=log)

    def _ready(self) -> bool:
        for port in self.ports:
            with suppress(redis.RedisError, socket.error):
                state = self._query(port)
                if state["num-slaves"] == 1 and state["num-other-sentinels"] == 2:
                    continue
            return False
        return True

    @property
    def current(self) -> int:
        """Return the port of the master that the Sentinels name."""
        return int(self._query(self.ports[0])["port"])

    def _query(self, port: int) -> Any:
        masters: Any = redis.Redis(port=port, password=self.sentinel_password or None).sentinel_masters()
        return masters[MASTER]

    def stop(self) -> None:
        for process in self._sentinels:
            process.kill()
            process.wait()
        self._sentinels = []
        self.master.kill()
        self.replica.kill()


@contextmanager
def watched(folder: Path, sentinel_password: str = "") -> Iterator[Watched]:
    own = Watched(folder, PASSWORD, sentinel_password)
    try:
        own.start()
        yield own
    finally:
        own.stop()
