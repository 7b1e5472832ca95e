"""`make run`, a whole installation in one terminal: its start and its output."""

import base64
import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.support.commands import PROGRAM, clean_copy
from tests.support.local_run import (
    COLUMNS,
    DRY_RUN,
    PURGED,
    TAKEN,
    UP,
    LocalRun,
    environment,
    started,
    typed,
)
from tests.support.processes import PATIENCE, until
from vmpooler_tasks.config.redis_address import read_address
from vmpooler_tasks.errors import StoreDeniedError
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="local"), pytest.mark.slow(seconds=140)]


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRun]:
    """Yield a run for all tests that only read from it. An earlier version has left files that all users can read."""
    folder = clean_copy(tmp_path_factory.mktemp("clone"))
    left = folder / ".vmpooler-tasks"
    left.mkdir(mode=0o755)
    for file in (left / "env", left / "valkey.log", folder / "vmpooler.log"):
        file.touch(mode=0o644)
    with started(folder) as running:
        yield running


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
    with closing(http.client.HTTPConnection("127.0.0.1", local_run.flower_port, timeout=PATIENCE)) as line:
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


def redis_password(local_run: LocalRun) -> str:
    password = read_address(local_run.redis_url).password
    assert password is not None
    return password


def test_no_password_is_on_a_command_line(local_run: LocalRun) -> None:
    said = [word for process in local_run.tree() for word in process.cmdline()]
    assert any("flower" in word for word in said)
    assert any("valkey" in word for word in said)
    for password in (local_run.flower_password, redis_password(local_run)):
        assert not any(password in word for word in said)


def test_only_the_processes_of_the_pages_have_their_login(local_run: LocalRun) -> None:
    having = [process for process in local_run.tree() if local_run.flower_password in str(process.environ())]
    assert {"flower" if "flower" in process.cmdline() else process.cmdline()[-5] for process in having} == {
        "flower",
        "web",
    }


def test_the_private_redis_needs_its_password(local_run: LocalRun) -> None:
    with closing(Database(local_run.redis_address)) as db, pytest.raises(StoreDeniedError, match="wants a password"):
        db.call("PING")
    assert redis_password(local_run) not in local_run.log
    guides = typed(local_run, ". .vmpooler-tasks/env; redis-cli zcard vmpooler__dlq__clone")
    assert int(guides.stdout.split()[0]) >= 8
    assert guides.stderr == ""


def test_no_other_user_can_read_its_files(local_run: LocalRun) -> None:
    folder = local_run.folder / ".vmpooler-tasks"
    files = [folder, *folder.rglob("*"), local_run.folder / "vmpooler.log"]
    names = {file.name for file in files}
    assert {"env", "addresses", "run.lock", "valkey.log", "appendonlydir", "bin", "vmpooler.log"} <= names
    assert [file for file in files if file.stat().st_mode & 0o077] == []


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
    line = ". .vmpooler-tasks/env; vmpooler-tasks request centos-7=1 ubuntu-2004 --wait --json"
    done = typed(local_run, line, seconds=150)
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
    again = typed(local_run, "make run")
    holder = (local_run.folder / ".vmpooler-tasks" / "run.lock").read_text().strip()
    assert int(holder) in [process.pid for process in local_run.tree()]
    assert again.returncode != 0
    assert again.stdout == ""
    assert again.stderr.splitlines()[0] == (
        f"vmpooler-tasks: It runs already: process {holder} uses {local_run.folder.resolve()}/.vmpooler-tasks; "
        "stop it, or start in another folder"
    )
    assert "Traceback" not in again.stderr


def test_second_terminal_uses_the_same_redis_and_configuration(local_run: LocalRun) -> None:
    doctor = typed(local_run, ". .vmpooler-tasks/env; vmpooler-tasks doctor")
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert f"{local_run.folder.resolve()}/deploy/demo.yaml is valid" in doctor.stdout
    assert local_run.redis_address in doctor.stdout
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


def test_pages_need_the_printed_password(local_run: LocalRun) -> None:
    printed = re.search(
        r"^Web:     (http://127\.0\.0\.1:\d+)  user operator, password (\S+)$", local_run.log, re.MULTILINE
    )
    assert printed is not None
    address, password = printed.groups()
    until(lambda: "[*] [web] Serving" in local_run.log, "the web process serves")
    assert httpx.get(f"{address}/api/v1/queue/overview", timeout=PATIENCE).status_code == 401
    told = httpx.get(f"{address}/api/v1/queue/overview", auth=("operator", password), timeout=PATIENCE).json()
    assert [row["pool"] for row in told["pools"]] == ["centos-7-x86_64", "ubuntu-2004-x86_64", "windows-2022-x86_64"]


def test_environment_file_names_the_pages_and_is_private(local_run: LocalRun) -> None:
    env = local_run.folder / ".vmpooler-tasks" / "env"
    told = env.read_text()
    assert "export VMPOOLER_WEB=http://127.0.0.1:" in told
    assert "export VMPOOLER_FLOWER=http://127.0.0.1:" in told
    assert "export VMPOOLER_WEB_LOGIN=operator:" in told
    assert env.stat().st_mode & 0o077 == 0
