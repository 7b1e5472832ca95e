"""How `make run` ends: every process is gone, and the data stays."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.commands import PROGRAM, clean_copy, reading, terminal
from tests.support.local_run import (
    CHECKED,
    COLUMNS,
    MAKE,
    MAKE_YES,
    PURGED,
    UP,
    environment,
    killed_at_last,
    nothing_left_of,
    started,
)
from tests.support.ports import usual_ports
from tests.support.processes import ROOT, until
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="local"), pytest.mark.slow(seconds=140)]


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
        assert local_run.redis_address == valkey.url
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
