"""Every command line in `deploy/` starts the process that it names; workers and beats show that they live."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.deployment import CONTAINERFILE, DEPLOY, command_lines
from tests.support.ports import free_port
from tests.support.processes import ROOT, Installation, Process, until
from tests.support.servers import TestServer, required
from vmpooler_tasks.tasks.observe.liveness import FILE_VARIABLE

pytestmark = pytest.mark.stage(name="deployment")

LINES = {line.words: line for line in command_lines()}
"""Each once: what is said in several places is the same."""

STARTED = {
    "worker": " ready.",
    "beat": "beat: Starting...",
    "flower": "Connected to redis",  # it says "Visit me at" before its loop runs, and may ignore a SIGTERM until then
    "web": "[*] [web] Serving ",
}


@pytest.mark.parametrize("words", LINES, ids=lambda words: LINES[words].where)
def test_it_starts(words: tuple[str, ...], installation: Installation) -> None:
    line = LINES[words]
    program, *options = line.here()
    installation.environment |= {
        "FLOWER_BASIC_AUTH": "operator:s3cr3t",
        "WEB_USERS": "operator:operate:s3cr3t-word",
        "WEB_PORT": str(free_port()),
    }
    log = installation.folder / "log"
    command = [str(installation.programs / program), *options]
    process = Process(command, folder=installation.folder, environment=installation.environment, log=log)
    try:
        process.start().says(STARTED[line.role])
        process.signal(signal.SIGTERM)
        assert process.exit_status() in {0, 143, -signal.SIGTERM}
    finally:
        process.kill()


# --- signs of life ----------------------------------------------------------------------------------------------------


def comes_again(file: Path) -> None:
    """A sign of life that is younger than this question."""
    asked = time.time()
    until(lambda: file.exists() and file.stat().st_mtime > asked, "a sign of life")


@pytest.mark.parametrize("options", [("-P", "threads"), ("-P", "prefork"), ("-P", "solo")], ids=" ".join)
def test_a_worker_lives_while_its_loop_turns_whether_redis_does_or_not(
    options: tuple[str, str], tmp_path: Path
) -> None:
    server, file = TestServer("valkey", tmp_path), tmp_path / "pulse"
    with Installation(server.url, tmp_path) as installation:
        installation.environment[FILE_VARIABLE] = str(file)
        worker = installation.celery("worker", "--loglevel", "INFO", *options, name="worker").start()
        try:
            comes_again(file)  # before it ever had a Redis
            server.start()
            worker.says(" ready.")
            comes_again(file)
            server.kill()
            worker.says("Connection to broker lost")
            comes_again(file)
            server.start()
            worker.says("Connected to ", times=2)
            comes_again(file)
        finally:
            server.stop()


def test_a_beat_lives_while_it_ticks(tmp_path: Path) -> None:
    server, file = TestServer("valkey", tmp_path), tmp_path / "pulse"
    with Installation(server.url, tmp_path) as installation:
        installation.environment[FILE_VARIABLE] = str(file)
        installation.beat()
        comes_again(file)
        comes_again(file)


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(60)
        yield listener


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told_as_well(kind: str, installation: Installation) -> None:
    address = str(installation.folder / "notify") if kind == "path" else f"@vmpooler-tasks-{os.getpid()}"
    with manager(address) as listener:
        installation.environment["NOTIFY_SOCKET"] = address
        installation.worker()
        assert listener.recv(100) == listener.recv(100) == b"READY=1\nWATCHDOG=1"


def test_a_sign_of_life_that_cannot_be_given_ends_nothing(installation: Installation) -> None:
    installation.environment |= {FILE_VARIABLE: "/nonexistent/pulse", "NOTIFY_SOCKET": "/nonexistent/notify"}
    assert installation.worker().running


# --- the image, as far as it goes without an engine ------------------------------------------------------------------


@pytest.mark.stage(name="packaging")
@pytest.mark.timeout(600)
def test_the_images_commands_make_a_program_from_what_the_context_holds(tmp_path: Path) -> None:
    """The build stage's own commands, with its folders under this test's, on what `.dockerignore` lets through."""
    text = CONTAINERFILE.read_text(encoding="utf-8")
    source = tmp_path / "source"
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            found, target = ROOT / line[1:], source / line[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(found, target) if found.is_dir() else shutil.copy(found, target)
    build = text.split("\nFROM ")[1].replace("\\\n", " ")
    environment = {**os.environ, "PROVIDERS": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for run in re.findall(r"^RUN (.*)$", build, re.MULTILINE):
        for folder in ("/build", "/wheels", "/opt/vmpooler-tasks"):
            run = run.replace(f" {folder}", f" {tmp_path}{folder}")  # noqa: PLW2901 - with this test's folders
        done = subprocess.run(
            [required("sh"), "-ec", run], cwd=source, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    programs = tmp_path / "opt/vmpooler-tasks/bin"
    assert not (programs / "pip").exists()
    shown = subprocess.run(
        [programs / "vmpooler-tasks", "config", "show"], cwd=DEPLOY, capture_output=True, text=True, check=True
    )
    assert "dlq_enabled" in shown.stdout
    for name in ("worker", "beat", "flower"):
        subprocess.run([programs / "celery", "-A", "vmpooler_tasks", name, "--help"], capture_output=True, check=True)
