"""`make run`, a whole installation in one terminal: how it comes up, what it shows, and that nothing is left of it."""

import base64
import fcntl
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.commands import PROGRAM, clean_copy, reading, terminal
from tests.support.ports import usual_ports
from tests.support.processes import ROOT, Process, until
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.slow(seconds=240)

PURGED = "[*] [purge] Completed purge cycle in "
CHECKED = "[*] [health] Status: HEALTHY | Queues: "
DRY_RUN = re.compile(r"\[purge\]\[dry-run\] Completed purge cycle in \d+\.\d\ds: 0 entries found, nothing changed")
MAKE = ("make", "run")


def environment(**more: str) -> dict[str, str]:
    """A user's, with nothing in it that configures anything."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", **more}


class FirstLook(Process):
    """`make run` in a copy of the repository."""

    def __init__(self, folder: Path, command: tuple[str, ...] = MAKE, **variables: str) -> None:
        log = folder / "first-look.log"
        super().__init__(command, folder=folder, environment=environment(**variables), log=log)

    def ready(self) -> "FirstLook":
        self.says(PURGED).says(CHECKED)
        return self

    @property
    def redis_url(self) -> str:
        return self._shown(r"^Redis: +(\S+)$")

    @property
    def flower_port(self) -> int:
        return int(self._shown(r"^Flower: +http://127\.0\.0\.1:(\d+)  user operator, password \S+$"))

    @property
    def flower_password(self) -> str:
        return self._shown(r"^Flower: .* password (\S+)$")

    def _shown(self, pattern: str) -> str:
        found = re.search(pattern, self.log, re.MULTILINE)
        assert found, self.log
        return found[1]

    def tree(self) -> list[psutil.Process]:
        """Itself and everything that it started."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


@contextmanager
def started(folder: Path, command: tuple[str, ...] = MAKE, **variables: str) -> Iterator[FirstLook]:
    """It, ready; at the test's end whatever is still there of it is killed."""
    look = FirstLook(folder, command, **variables)
    tree: list[psutil.Process] = []
    try:
        with usual_ports():
            look.start().ready()
        tree = look.tree()
        yield look
    finally:
        look.stop()
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def killed_at_last(tree: list[psutil.Process]) -> Iterator[None]:
    """Whatever becomes of the test, no process of ``tree`` outlives it."""
    try:
        yield
    finally:
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def nothing_left_of(tree: list[psutil.Process]) -> None:
    assert len(tree) > 3, "make, the foreman, the worker, beat, Flower"
    until(
        lambda: not [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE], f"all of {tree} ended"
    )


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstLook]:
    """One that runs while these tests look at it."""
    with started(clean_copy(tmp_path_factory.mktemp("clone"))) as running:
        yield running


# --- while it runs -----------------------------------------------------------------------------------------------


def test_it_purges_and_checks_at_once_with_a_prefixed_log(look: FirstLook) -> None:
    lines = look.log.splitlines()
    assert lines[0] == "The database was empty: filled with a sample of 3 pools."
    assert lines[4] == ("Try:     . .vmpooler-tasks/env; vmpooler-tasks health   (in another terminal, in this folder)")
    prefixes = {line.split("|")[0] for line in lines[6:] if line.strip()}
    assert prefixes == {" system ", " worker ", " checks ", " clones ", " beat   ", " web    "}
    assert "[*] [config] Read deploy/demo.yaml; Redis at " in look.log
    assert "worker | " in next(line for line in lines if PURGED in line)
    assert next(line for line in lines if PURGED in line).endswith(": 5 entries purged")
    assert any("beat   | " in line and "[*] [beat] Sent vmpooler_tasks.run_health_check" in line for line in lines)


def test_its_pools_fill_and_live_beside_a_believable_past(look: FirstLook) -> None:
    with closing(Database(look.redis_url)) as db:
        pools = db.client.smembers(keys.POOLS)
        assert pools == {b"centos-7-x86_64", b"ubuntu-2004-x86_64", b"windows-2022-x86_64"}
        for pool in pools:
            until(lambda pool=pool: db.client.scard(b"vmpooler__ready__" + pool) > 0, f"{pool} has a ready VM", 120)  # type: ignore[misc]
        assert db.client.zcard("vmpooler__dlq__clone") >= 8
        assert db.client.hget(keys.CONFIG, "dlq_enabled") == b"true"


def flower(look: FirstLook, method: str, path: str, password: str | None, body: str = "") -> tuple[int, str]:
    login = base64.b64encode(f"operator:{password}".encode()).decode()
    headers = {} if password is None else {"Authorization": f"Basic {login}"}
    with closing(http.client.HTTPConnection("127.0.0.1", look.flower_port, timeout=30)) as line:
        line.request(method, path, body or None, headers)
        answer = line.getresponse()
        return answer.status, answer.read().decode()


def flower_answers(look: FirstLook) -> bool:
    with suppress(OSError):
        return flower(look, "GET", "/healthcheck", None)[0] == 200
    return False


def test_flower_wants_the_password_that_was_printed(look: FirstLook) -> None:
    until(lambda: flower_answers(look), "Flower answers")
    for path in ("/", "/workers", "/api/workers"):
        assert flower(look, "GET", path, None)[0] == 401
        assert flower(look, "GET", path, "guessed")[0] == 401
    assert flower(look, "GET", "/workers", look.flower_password)[0] == 200
    assert look.log.count(look.flower_password) == 2  # for both pages


def test_the_password_is_on_no_command_line(look: FirstLook) -> None:
    said = [word for process in look.tree() for word in process.cmdline()]
    assert any("flower" in word for word in said)
    assert not any(look.flower_password in word for word in said)


def test_nothing_of_it_can_be_reached_from_another_machine(look: FirstLook) -> None:
    listening = [
        connection
        for process in look.tree()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    assert look.flower_port in {connection.laddr.port for connection in listening}


def test_a_request_from_a_second_terminal_is_filled(look: FirstLook) -> None:
    done = subprocess.run(
        ["sh", "-c", ". .vmpooler-tasks/env; vmpooler-tasks request centos-7=1 ubuntu-2004 --wait --json"],
        cwd=look.folder,
        env=look.environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    story = json.loads(done.stdout)
    assert story["status"] == "ready"
    assert sorted(story["delivered"]) == ["centos-7:centos-7-x86_64:1", "ubuntu-2004:ubuntu-2004-x86_64:1"]
    assert all(len(names) == 1 for names in story["delivered"].values())


def test_flowers_api_runs_a_dry_run_on_a_worker(look: FirstLook) -> None:
    until(lambda: flower_answers(look), "Flower answers")
    before = len(DRY_RUN.findall(look.log))
    path = "/api/task/async-apply/vmpooler_tasks.purge_stale_entries"
    order = json.dumps({"kwargs": {"dry_run": True}})
    assert flower(look, "POST", path, None, order)[0] == 401
    status, answer = flower(look, "POST", path, look.flower_password, order)
    assert status == 200, answer
    task: dict[str, Any] = json.loads(answer)
    look.says(f"vmpooler_tasks.purge_stale_entries[{task['task-id']}] succeeded")
    assert len(DRY_RUN.findall(look.log)) == before + 1


def test_a_second_start_says_what_is_in_the_way(look: FirstLook) -> None:
    again = subprocess.run(
        MAKE, cwd=look.folder, env=look.environment, capture_output=True, text=True, timeout=60, check=False
    )
    holder = (look.folder / ".vmpooler-tasks" / "run.lock").read_text().strip()
    assert int(holder) in [process.pid for process in look.tree()]
    assert again.returncode != 0
    assert again.stdout == ""
    assert again.stderr.splitlines()[0] == (
        f"vmpooler-tasks: It runs already: process {holder} uses {look.folder.resolve()}/.vmpooler-tasks; "
        "stop it, or start in another folder"
    )
    assert "Traceback" not in again.stderr


def test_another_terminal_means_the_same_redis_and_configuration(look: FirstLook) -> None:
    def typed(line: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-c", line],
            cwd=look.folder,
            env=look.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    doctor = typed(". .vmpooler-tasks/env; vmpooler-tasks doctor")
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert f"{look.folder.resolve()}/deploy/demo.yaml is valid" in doctor.stdout
    assert look.redis_url in doctor.stdout
    forgotten = typed(f"{PROGRAM} config show --json")
    assert json.loads(forgotten.stdout)["source"] == "defaults"
    assert forgotten.stderr == (
        "vmpooler-tasks: no configuration is set. `. .vmpooler-tasks/env` sets that of the `run` in this folder\n"
    )


# --- how it ends -------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_all_of_it_and_its_data_is_there_the_next_time(tmp_path: Path) -> None:
    with started(clean_copy(tmp_path)) as look:
        tree = look.tree()
        with closing(Database(look.redis_url)) as db:
            db.call("SET", "mine", "kept")
            dead_letters = db.call("ZRANGE", "vmpooler__dlq__clone", 0, -1)
        assert look.process is not None
        os.killpg(look.process.pid, signal.SIGINT)  # as a terminal does it: to all in the foreground
        assert look.exit_status() in (-signal.SIGINT, 2)  # what make makes of an interrupted recipe
        nothing_left_of(tree)
        assert "system | worker stopped (rc=0)" in look.log
        assert not (tmp_path / ".vmpooler-tasks" / "env").exists()
        with usual_ports():
            look.start().says(" ready.")  # its next cycles are due when they would have been
        assert "filled with a sample" not in look.log
        with closing(Database(look.redis_url)) as db:
            assert db.call("GET", "mine") == b"kept"
            assert set(dead_letters) <= set(db.call("ZRANGE", "vmpooler__dlq__clone", 0, -1))


def test_sigterm_to_make_ends_all_of_it_and_leaves_your_redis_as_it_is(valkey: TestServer, tmp_path: Path) -> None:
    with started(clean_copy(tmp_path), REDIS_URL=valkey.url) as look:
        tree = look.tree()
        assert look.redis_url == valkey.url
        assert not [process for process in tree if "valkey" in process.name()]
        assert look.process is not None
        look.process.terminate()
        assert look.exit_status() != 0
        nothing_left_of(tree)
        assert "filled with a sample" not in look.log
        assert not (tmp_path / ".vmpooler-tasks" / "appendonlydir").exists()
    with closing(Database(valkey.url)) as db:
        assert set(db.call("KEYS", "vmpooler__*")) == {keys.CONFIG, keys.HEALTH}


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody listens there: we, unless somebody else does already."""
    with socket.socket() as own:
        with suppress(OSError):
            own.bind(("127.0.0.1", port))
            own.listen()
        yield


def test_a_closed_terminal_ends_all_of_it_also_on_other_ports_than_the_usual(tmp_path: Path) -> None:
    shown = b""
    with usual_ports(), taken(6379), taken(5555), terminal() as (ours, theirs):
        process = subprocess.Popen(
            MAKE,
            cwd=clean_copy(tmp_path),
            env=environment(TERM="xterm"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(theirs)
        for piece in reading(ours):
            shown += piece
            if PURGED.encode() in shown and CHECKED.encode() in shown:
                break
        top = psutil.Process(process.pid)
        tree = [top, *top.children(recursive=True)]
    with killed_at_last(tree):
        process.wait(60)
        nothing_left_of(tree)
    text = shown.decode()
    assert re.search(r"^Redis: +redis://127\.0\.0\.1:(?!6379/)\d+/0\r$", text, re.MULTILINE)
    assert re.search(r"^Flower: +http://127\.0\.0\.1:(?!5555 )\d+ ", text, re.MULTILINE)
    assert "\x1b[" in text, "the prefixes are coloured on a terminal"


def test_it_ends_when_nobody_reads_its_log_any_more(valkey: TestServer, tmp_path: Path) -> None:
    with subprocess.Popen(
        [str(PROGRAM), "--config", str(ROOT / "deploy" / "vmpooler.yaml"), "run"],
        cwd=tmp_path,
        text=True,
        env=environment(REDIS_URL=valkey.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        until(lambda: CHECKED in process.stdout.readline(), "a health check")  # type: ignore[union-attr]
        top = psutil.Process(process.pid)
        tree = [top, *top.children(recursive=True)]
        process.stdout.close()
        with closing(Database(valkey.url)) as db:
            db.call("LPUSH", "vmpooler.maintenance", "no message: the worker will say so")
        with killed_at_last(tree):
            assert "Traceback" not in process.stderr.read()
            process.wait(60)
            nothing_left_of(tree)


def test_a_part_that_ends_takes_the_others_along(tmp_path: Path) -> None:
    with started(clean_copy(tmp_path)) as look:
        tree = look.tree()
        next(process for process in tree if "beat" in process.cmdline()).kill()
        assert look.exit_status() != 0
        nothing_left_of(tree)
        assert "system | beat stopped (rc=-9)" in look.log


def test_killed_outright_it_leaves_nothing_running_and_its_data_is_there_the_next_time(tmp_path: Path) -> None:
    with started(clean_copy(tmp_path)) as look:
        tree = look.tree()
        with closing(Database(look.redis_url)) as db:
            db.call("SET", "mine", "kept")
        holder = int((tmp_path / ".vmpooler-tasks" / "run.lock").read_text())
        psutil.Process(holder).kill()
        assert look.exit_status() != 0
        with usual_ports():
            look.start().says(" ready.")  # without waiting until the rest of it has ended
        nothing_left_of(tree)
        with closing(Database(look.redis_url)) as db:
            assert db.call("GET", "mine") == b"kept"
    assert "User requested shutdown" in (tmp_path / ".vmpooler-tasks" / "valkey.log").read_text()


def test_killed_with_its_whole_group_it_leaves_nothing_running_either(valkey: TestServer, tmp_path: Path) -> None:
    with started(clean_copy(tmp_path), REDIS_URL=valkey.url) as look:
        tree = look.tree()
        look.kill()
        nothing_left_of(tree)


def test_the_pages_are_served_to_whoever_has_the_password_that_is_printed(look: FirstLook) -> None:
    printed = re.search(r"^Web:     (http://127\.0\.0\.1:\d+)  user operator, password (\S+)$", look.log, re.MULTILINE)
    assert printed is not None
    address, password = printed.groups()
    until(lambda: "[*] [web] Serving" in look.log, "the web process serves")
    assert httpx.get(f"{address}/api/v1/queue/overview").status_code == 401
    told = httpx.get(f"{address}/api/v1/queue/overview", auth=("operator", password)).json()
    assert [row["pool"] for row in told["pools"]] == ["centos-7-x86_64", "ubuntu-2004-x86_64", "windows-2022-x86_64"]


def test_another_terminal_finds_the_pages_and_nobody_else_the_password(look: FirstLook) -> None:
    env = look.folder / ".vmpooler-tasks" / "env"
    told = env.read_text()
    assert "export VMPOOLER_WEB=http://127.0.0.1:" in told
    assert "export VMPOOLER_FLOWER=http://127.0.0.1:" in told
    assert "export VMPOOLER_WEB_LOGIN=operator:" in told
    assert env.stat().st_mode & 0o077 == 0
