"""`make run`, a whole installation in one terminal: its start, its output, and its end without remains."""

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

COLUMNS = 80
PURGED = "[*] [purge] Completed purge cycle in "
CHECKED = "[*] [health] Status: HEALTHY | Queues: "
DRY_RUN = re.compile(r"\[purge\]\[dry-run\] Completed purge cycle in \d+\.\d\ds: 0 entries found, nothing changed")
MAKE = ("make", "run")
MAKE_YES = (*MAKE, "ARGS=--yes")
UP = "\nEverything is up.\n"

TAKEN = re.compile(r"Port \d+ is taken")
"""Another test may use the usual ports meanwhile."""


def environment(**more: str) -> dict[str, str]:
    """Return a user's environment without any configuration."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8", **more}


class LocalRun(Process):
    """`make run` in a copy of the repository."""

    def __init__(self, folder: Path, command: tuple[str, ...] = MAKE, **variables: str) -> None:
        log = folder / "run.log"
        super().__init__(command, folder=folder, environment=environment(**variables), log=log)

    def ready(self) -> "LocalRun":
        """Wait until the first cycles have run; on a Redis of your own, until every part is up."""
        lines = [UP] if "REDIS_URL" in self.environment else [PURGED, CHECKED]
        for line in lines:
            self.says(line)
        return self

    @property
    def redis_url(self) -> str:
        return self._printed(r"^Redis: +(\S+)$")

    @property
    def flower_port(self) -> int:
        return int(self._printed(r"^Flower: +http://127\.0\.0\.1:(\d+)  user operator, password \S+$"))

    @property
    def flower_password(self) -> str:
        return self._printed(r"^Flower: .* password (\S+)$")

    def _printed(self, pattern: str) -> str:
        found = re.search(pattern, self.log, re.MULTILINE)
        assert found, self.log
        return found[1]

    def tree(self) -> list[psutil.Process]:
        """Return the process and all its descendants."""
        assert self.process is not None
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]


@contextmanager
def started(folder: Path, command: tuple[str, ...] = MAKE, **variables: str) -> Iterator[LocalRun]:
    """Yield the run when it is ready. Kill what is left of it at the end of the test."""
    local_run = LocalRun(folder, command, **variables)
    tree: list[psutil.Process] = []
    try:
        with usual_ports():
            local_run.start().ready()
        tree = local_run.tree()
        yield local_run
    finally:
        local_run.stop()
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@contextmanager
def killed_at_last(tree: list[psutil.Process]) -> Iterator[None]:
    """Kill the processes of `tree` at the end of the test, also if it fails."""
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
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    """Yield a run for all tests that only read from it."""
    with started(clean_copy(tmp_path_factory.mktemp("clone"))) as running:
        yield running


# --- while it runs -----------------------------------------------------------------------------------------------


def test_first_cycles_run_at_once_with_a_prefixed_log(local_run: LocalRun) -> None:
    for line in ("[*] [beat] Sent vmpooler_tasks.run_health_check", "[*] [web] Serving", "clones | ", "checks | "):
        local_run.says(line)
    lines = [line for line in local_run.log.splitlines() if not TAKEN.match(line)]
    assert lines[0] == "The database was empty: filled with a sample of 3 pools."
    assert lines[5] == "Try:     . .vmpooler-tasks/env; vmpooler-tasks health   (in another terminal)"
    prefixes = {line.split("|")[0] for line in lines if " | " in line}
    assert prefixes == {"system ", "worker ", "checks ", "clones ", "beat   ", "web    "}
    assert "[*] [config] Read deploy/demo.yaml; Redis at " in local_run.log
    assert "worker | " in next(line for line in lines if PURGED in line)
    assert next(line for line in lines if PURGED in line).endswith(": 5 entries purged")
    assert any("beat   | " in line and "[*] [beat] Sent vmpooler_tasks.run_health_check" in line for line in lines)


def test_pools_fill_beside_the_sample(local_run: LocalRun) -> None:
    with closing(Database(local_run.redis_url)) as db:
        pools = db.client.smembers(keys.POOLS)
        assert pools == {b"centos-7-x86_64", b"ubuntu-2004-x86_64", b"windows-2022-x86_64"}
        for pool in pools:
            until(lambda pool=pool: db.client.scard(b"vmpooler__ready__" + pool) > 0, f"{pool} has a ready VM", 120)  # type: ignore[misc]
        assert db.client.zcard("vmpooler__dlq__clone") >= 8
        assert db.client.hget(keys.CONFIG, "dlq_enabled") == b"true"


def flower(local_run: LocalRun, method: str, path: str, password: str | None, body: str = "") -> tuple[int, str]:
    login = base64.b64encode(f"operator:{password}".encode()).decode()
    headers = {} if password is None else {"Authorization": f"Basic {login}"}
    with closing(http.client.HTTPConnection("127.0.0.1", local_run.flower_port, timeout=30)) as line:
        line.request(method, path, body or None, headers)
        answer = line.getresponse()
        return answer.status, answer.read().decode()


def flower_answers(local_run: LocalRun) -> bool:
    with suppress(OSError):
        return flower(local_run, "GET", "/healthcheck", None)[0] == 200
    return False


def test_flower_needs_the_printed_password(local_run: LocalRun) -> None:
    until(lambda: flower_answers(local_run), "Flower answers")
    for path in ("/", "/workers", "/api/workers"):
        assert flower(local_run, "GET", path, None)[0] == 401
        assert flower(local_run, "GET", path, "guessed")[0] == 401
    assert flower(local_run, "GET", "/workers", local_run.flower_password)[0] == 200
    local_run.says(UP)
    assert local_run.log.count(local_run.flower_password) == 4  # for both pages, at the start and when all is up


def test_the_password_is_on_no_command_line(local_run: LocalRun) -> None:
    said = [word for process in local_run.tree() for word in process.cmdline()]
    assert any("flower" in word for word in said)
    assert not any(local_run.flower_password in word for word in said)


def test_every_port_is_on_loopback(local_run: LocalRun) -> None:
    listening = [
        connection
        for process in local_run.tree()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    assert local_run.flower_port in {connection.laddr.port for connection in listening}


def test_a_request_from_a_second_terminal_is_filled(local_run: LocalRun) -> None:
    done = subprocess.run(
        ["sh", "-c", ". .vmpooler-tasks/env; vmpooler-tasks request centos-7=1 ubuntu-2004 --wait --json"],
        cwd=local_run.folder,
        env=local_run.environment,
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


def test_flowers_api_runs_a_dry_run_on_a_worker(local_run: LocalRun) -> None:
    until(lambda: flower_answers(local_run), "Flower answers")
    before = len(DRY_RUN.findall(local_run.log))
    path = "/api/task/async-apply/vmpooler_tasks.purge_stale_entries"
    order = json.dumps({"kwargs": {"dry_run": True}})
    assert flower(local_run, "POST", path, None, order)[0] == 401
    status, answer = flower(local_run, "POST", path, local_run.flower_password, order)
    assert status == 200, answer
    task: dict[str, Any] = json.loads(answer)
    ended = f"vmpooler_tasks.purge_stale_entries[{task['task-id']}] succeeded"
    until(lambda: ended in (local_run.folder / "vmpooler.log").read_text(), ended)
    assert len(DRY_RUN.findall(local_run.log)) == before + 1


def test_a_second_start_says_what_is_in_the_way(local_run: LocalRun) -> None:
    again = subprocess.run(
        MAKE, cwd=local_run.folder, env=local_run.environment, capture_output=True, text=True, timeout=60, check=False
    )
    holder = (local_run.folder / ".vmpooler-tasks" / "run.lock").read_text().strip()
    assert int(holder) in [process.pid for process in local_run.tree()]
    assert again.returncode != 0
    assert again.stdout == ""
    assert again.stderr.splitlines()[0] == (
        f"vmpooler-tasks: It runs already: process {holder} uses {local_run.folder.resolve()}/.vmpooler-tasks; "
        "stop it, or start in another folder"
    )
    assert "Traceback" not in again.stderr


def typed(local_run: LocalRun, line: str) -> "subprocess.CompletedProcess[str]":
    """Return the result of a line in a second terminal."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=local_run.folder,
        env=local_run.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_second_terminal_uses_the_same_redis_and_configuration(local_run: LocalRun) -> None:
    doctor = typed(local_run, ". .vmpooler-tasks/env; vmpooler-tasks doctor")
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert f"{local_run.folder.resolve()}/deploy/demo.yaml is valid" in doctor.stdout
    assert local_run.redis_url in doctor.stdout
    forgotten = typed(local_run, f"{PROGRAM} config show --json")
    assert json.loads(forgotten.stdout)["source"] == "defaults"
    assert forgotten.stderr == (
        "vmpooler-tasks: no configuration is set. `. .vmpooler-tasks/env` sets that of the `run` in this folder\n"
    )


def test_the_addresses_are_shown_again(local_run: LocalRun) -> None:
    local_run.says(UP)
    again = local_run.log.partition(UP)[2].partition("\n\n")[0]
    assert local_run.log.count(again) == 2
    assert all(len(line) <= COLUMNS for line in again.splitlines())
    shown = typed(local_run, ". .vmpooler-tasks/env; vmpooler-tasks run --show")
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, f"{again}\n", "")


def test_nothing_to_show_where_nothing_runs(tmp_path: Path) -> None:
    shown = subprocess.run(
        [str(PROGRAM), "run", "--show"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == (
        f"vmpooler-tasks: Nothing runs here: no run uses {tmp_path.resolve()}/.vmpooler-tasks; "
        "start one with `vmpooler-tasks run`, or make run\n"
    )


# --- how it ends -------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_everything_and_keeps_the_data(tmp_path: Path) -> None:
    with started(clean_copy(tmp_path)) as local_run:
        tree = local_run.tree()
        with closing(Database(local_run.redis_url)) as db:
            db.call("SET", "mine", "kept")
            dead_letters = db.call("ZRANGE", "vmpooler__dlq__clone", 0, -1)
        assert local_run.process is not None
        os.killpg(local_run.process.pid, signal.SIGINT)  # as a terminal does it: to all in the foreground
        assert local_run.exit_status() in (-signal.SIGINT, 2)  # what make makes of an interrupted recipe
        nothing_left_of(tree)
        assert "system | worker stopped (rc=0)" in local_run.log
        assert not (tmp_path / ".vmpooler-tasks" / "env").exists()
        assert "SIGKILL" not in local_run.log
        with usual_ports():
            local_run.start().says(" ready.")  # its next cycles are due when they would have been
        assert "filled with a sample" not in local_run.log
        with closing(Database(local_run.redis_url)) as db:
            assert db.call("GET", "mine") == b"kept"
            assert set(dead_letters) <= set(db.call("ZRANGE", "vmpooler__dlq__clone", 0, -1))


def test_sigterm_to_make_ends_everything_but_your_redis(valkey: TestServer, tmp_path: Path) -> None:
    with started(clean_copy(tmp_path), MAKE_YES, REDIS_URL=valkey.url) as local_run:
        tree = local_run.tree()
        assert local_run.redis_url == valkey.url
        assert not [process for process in tree if "valkey" in process.name()]
        with closing(Database(valkey.url)) as db:
            until(lambda: db.call("EXISTS", keys.HEALTH), "health was checked")
        assert local_run.process is not None
        local_run.process.terminate()
        assert local_run.exit_status() != 0
        nothing_left_of(tree)
        assert "filled with a sample" not in local_run.log
        assert not (tmp_path / ".vmpooler-tasks" / "appendonlydir").exists()
    with closing(Database(valkey.url)) as db:
        assert set(db.call("KEYS", "vmpooler__*")) == {keys.HEALTH}


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Listen on the port, unless another process does already."""
    with socket.socket() as own:
        with suppress(OSError):
            own.bind(("127.0.0.1", port))
            own.listen()
        yield


def test_closed_terminal_ends_everything_on_other_ports_too(tmp_path: Path) -> None:
    shown = b""
    with usual_ports(), taken(6379), taken(5555), terminal(COLUMNS) as (ours, theirs):
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
    assert re.search(r"^Port 6379 is taken by \S.*\. The private Redis uses \d+ instead\.\r$", text, re.MULTILINE)
    assert re.search(r"^Port 5555 is taken by \S.*\. Flower uses \d+ instead\.\r$", text, re.MULTILINE)
    assert re.search(r"^Redis: +redis://127\.0\.0\.1:(?!6379/)\d+/0\r$", text, re.MULTILINE)
    assert re.search(r"^Flower: +http://127\.0\.0\.1:(?!5555 )\d+ ", text, re.MULTILINE)
    assert "\x1b[" in text, "the prefixes are coloured on a terminal"
    plain = re.sub(r"\x1b\[\d*m", "", text)
    too_long = [line for line in plain.splitlines() if " | " in line and len(line) > COLUMNS]
    assert not too_long, "a line of the log fits the terminal"
    assert "…" in plain


def test_it_ends_when_nobody_reads_its_log_any_more(valkey: TestServer, tmp_path: Path) -> None:
    with subprocess.Popen(
        [str(PROGRAM), "--config", str(ROOT / "deploy" / "vmpooler.yaml"), "run", "--yes"],
        cwd=tmp_path,
        text=True,
        env=environment(REDIS_URL=valkey.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        until(lambda: UP.strip() in process.stdout.readline(), UP)  # type: ignore[union-attr]
        top = psutil.Process(process.pid)
        tree = [top, *top.children(recursive=True)]
        process.stdout.close()
        with closing(Database(valkey.url)) as db:
            db.call("LPUSH", "vmpooler.maintenance", "no message: the worker will say so")
        with killed_at_last(tree):
            assert "Traceback" not in process.stderr.read()
            process.wait(60)
            nothing_left_of(tree)


def test_end_of_one_part_ends_the_others(tmp_path: Path) -> None:
    with started(clean_copy(tmp_path)) as local_run:
        tree = local_run.tree()
        next(process for process in tree if "beat" in process.cmdline()).kill()
        assert local_run.exit_status() != 0
        nothing_left_of(tree)
        assert "system | beat stopped (rc=-9)" in local_run.log


def test_sigkill_leaves_no_process_and_keeps_the_data(tmp_path: Path) -> None:
    with started(clean_copy(tmp_path)) as local_run:
        tree = local_run.tree()
        with closing(Database(local_run.redis_url)) as db:
            db.call("SET", "mine", "kept")
        holder = int((tmp_path / ".vmpooler-tasks" / "run.lock").read_text())
        psutil.Process(holder).kill()
        assert local_run.exit_status() != 0
        with usual_ports():
            local_run.start().says(" ready.")  # without waiting until the rest of it has ended
        nothing_left_of(tree)
        with closing(Database(local_run.redis_url)) as db:
            assert db.call("GET", "mine") == b"kept"
    assert "User requested shutdown" in (tmp_path / ".vmpooler-tasks" / "valkey.log").read_text()


def test_sigkill_of_the_group_leaves_no_process(valkey: TestServer, tmp_path: Path) -> None:
    with started(clean_copy(tmp_path), MAKE_YES, REDIS_URL=valkey.url) as local_run:
        tree = local_run.tree()
        local_run.kill()
        nothing_left_of(tree)


def test_pages_need_the_printed_password(local_run: LocalRun) -> None:
    printed = re.search(
        r"^Web:     (http://127\.0\.0\.1:\d+)  user operator, password (\S+)$", local_run.log, re.MULTILINE
    )
    assert printed is not None
    address, password = printed.groups()
    until(lambda: "[*] [web] Serving" in local_run.log, "the web process serves")
    assert httpx.get(f"{address}/api/v1/queue/overview").status_code == 401
    told = httpx.get(f"{address}/api/v1/queue/overview", auth=("operator", password)).json()
    assert [row["pool"] for row in told["pools"]] == ["centos-7-x86_64", "ubuntu-2004-x86_64", "windows-2022-x86_64"]


def test_environment_file_names_the_pages_and_is_private(local_run: LocalRun) -> None:
    env = local_run.folder / ".vmpooler-tasks" / "env"
    told = env.read_text()
    assert "export VMPOOLER_WEB=http://127.0.0.1:" in told
    assert "export VMPOOLER_FLOWER=http://127.0.0.1:" in told
    assert "export VMPOOLER_WEB_LOGIN=operator:" in told
    assert env.stat().st_mode & 0o077 == 0
