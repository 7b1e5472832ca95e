"""pytest-celery's nodes on processes of this machine instead of Docker containers.

Its nodes, clusters and setup ask little of a container: is it running, what did it log, kill it, start it again. A
`Container` answers that for anything that can be started and killed here.
"""

# pytest-celery is untyped.
# mypy: disable-error-code="misc"

import subprocess
from pathlib import Path
from typing import Any, Protocol

from celery import Celery
from pytest_celery import CeleryTestContainer, CeleryTestSetup, CeleryWorkerContainer, RedisContainer

from tests.support.messages import QUEUE
from tests.support.processes import Process, until
from tests.support.servers import TestServer

PING = "pytest_celery.vendors.worker.tasks"
"""The module of the task that a setup is asked for its readiness with; a worker loads it with `--include`."""


class Startable(Protocol):
    def start(self) -> Any: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    @property
    def process(self) -> "subprocess.Popen[bytes] | None": ...


class Container:
    """Answers for Docker's class of this name."""

    def __init__(self, process: Startable, name: str, log: Path) -> None:
        self._process, self._log = process, log
        self.id = self.name = name
        self.attrs: dict[str, Any] = {
            "Config": {"Hostname": "127.0.0.1", "Env": []},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
            "HostConfig": {"PortBindings": {}},
        }

    @property
    def status(self) -> str:
        process = self._process.process
        return "running" if process is not None and process.poll() is None else "exited"

    def reload(self) -> None:
        """Nothing is cached."""

    def logs(self) -> bytes:
        return self._log.read_bytes()

    def kill(self, signal: str) -> None:
        if signal == "SIGKILL":
            self._process.kill()
        else:
            self._process.stop()

    def restart(self, timeout: float) -> None:
        del timeout  # `stop` has its own
        self._process.stop()
        self._process.start()


class _Patient(CeleryTestContainer):
    """Looks more often than once a second."""

    def _wait_ready(self, timeout: int = 30) -> bool:
        return until(lambda: self.ready_prompt in self.logs(), f"{self.name} is ready", timeout)


class LocalRedis(_Patient, RedisContainer):
    """A server of the tests as pytest-celery's broker and result backend."""

    def __init__(self, server: TestServer) -> None:
        super().__init__(Container(server, server.kind, server.folder / "server.log"))
        self._server = server

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        return self._server.url

    host_url = url


class LocalWorker(_Patient, CeleryWorkerContainer):
    """A worker of our own app."""

    def __init__(self, process: Process, name: str) -> None:
        super().__init__(Container(process, name, process.log_file))

    @classmethod
    def worker_queue(cls) -> str:
        return QUEUE


class Setup(CeleryTestSetup):
    """Its app sends to our queues, which must exist already where a worker reads them."""

    @classmethod
    def update_app_config(cls, app: Celery) -> None:
        app.conf.update(task_default_queue=QUEUE)
