"""`REDIS_URL=… make run` on the Redis of a VMPooler: it changes nothing there, and asks before it starts."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.reference import vmpooler_state
from tests.support.commands import PROGRAM, clean_copy, reading, terminal
from tests.support.guide import fences
from tests.support.local_run import MAKE_YES, LocalRun, environment, nothing_left_of, started, typed
from tests.support.processes import PATIENCE, ROOT, until
from tests.support.servers import TestServer, required
from vmpooler_tasks.model.fleet import Heartbeat, ProcessKind
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.fleet import heartbeats

pytestmark = [pytest.mark.stage(name="local"), pytest.mark.slow(seconds=90)]

POOLS = ["centos-7-x86_64", "debian-12-x86_64"]
MAY_APPEAR = re.compile(
    r"vmpooler_tasks__.*|vmpooler\.(clone|check|destroy|maintenance).*|unacked.*|_kombu\..*"
    r"|celery-task-meta-.*|celeryev\..*|.*\.celery\.pidbox.*",
    re.DOTALL,
)
CONFIGURATION = """
:config:
  purge_enabled: true
  purge_interval: 600
  dlq_enabled: true
  dlq_ttl: 1
  health_check_enabled: true
:statsd:
  server: 127.0.0.1
:pools:
  - name: centos-7-x86_64
    size: 3
"""


@pytest.fixture
def production(valkey: TestServer) -> Iterator[Database]:
    """Fill a server as a VMPooler of a thousand VMs does: many are stale, and its health status is fresh."""
    now = time.time()
    with closing(Database(valkey.url)) as db:
        state = vmpooler_state.gen_bench(1, POOLS, 1000, now)  # type: ignore[no-untyped-call]
        vmpooler_state.load(db.client, state.entries())  # type: ignore[no-untyped-call]
        for pool in POOLS:
            db.call("SADD", keys.POOLS, pool)
            db.call("HSET", keys.pool(pool), "size", 5)
        db.call("ZADD", keys.dead_letters(DeadLetterQueue.CLONE), now - 90 * 24 * 3600, "vm:1:{}")
        db.call("HSET", keys.request(b"req-1"), "requested", f"centos:{POOLS[0]}:1")
        db.call("ZADD", keys.PROCESSING_REQUESTS, now - 3 * 24 * 3600, "req-1")
        db.call("SET", keys.ACTIVE_CLONES, 3)
        checked = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        db.call("HSET", keys.HEALTH, "status", "healthy", "last_check", checked, "metrics", "{}")
        db.call("EXPIRE", keys.HEALTH, 3600)
        db.call("HSET", keys.CONFIG, "dlq_enabled", "false")
        yield db


def contents(db: Database) -> dict[bytes, tuple[bytes, int]]:
    """Return key → (its value, its expiry) of every key."""
    found = list(db.client.scan_iter(count=1000))
    pipe = db.client.pipeline(transaction=True)
    for key in found:
        pipe.dump(key)
        pipe.execute_command("PEXPIRETIME", key)
    replies = pipe.execute()
    return dict(zip(found, zip(replies[::2], replies[1::2], strict=True), strict=True))


def assert_unchanged(before: dict[bytes, tuple[bytes, int]], db: Database) -> None:
    after = contents(db)
    assert {key: after.get(key) for key in before} == before
    new = {key.decode() for key in after.keys() - before.keys()}
    assert not [key for key in new if not MAY_APPEAR.fullmatch(key)]


def test_it_observes_and_changes_nothing(production: Database, valkey: TestServer, tmp_path: Path) -> None:
    before = contents(production)
    with started(clean_copy(tmp_path), MAKE_YES, REDIS_URL=valkey.url) as run:
        tree = run.tree()
        assert "VMPooler has registered 2 pools there: centos-7-x86_64," in run.log
        assert "This run only observes (observe_only)." in run.log
        assert "[*] [config] observe only: no key of VMPooler is changed" in run.log
        run.says("[*] [purge][dry-run] Completed purge cycle in ")
        assert re.search(r"\[purge\]\[dry-run\] Completed purge cycle in \S+: [1-9]\d* entries found", run.log)
        assert_orders_are_dry_or_refused(run, valkey.url)
        assert_unchanged(before, production)
        run.stop()
        nothing_left_of(tree)
    assert "SIGKILL" not in run.log
    assert_unchanged(before, production)
    subprocess.run(["bash", "-ec", way_back()], env=environment(REDIS_URL=valkey.url), timeout=60, check=True)
    assert contents(production) == before


def way_back() -> str:
    """Return the commands of docs/beside-vmpooler.md that remove every trace."""
    required("redis-cli")
    text = (ROOT / "docs" / "beside-vmpooler.md").read_text(encoding="utf-8")
    (commands,) = [fence.text for fence in fences(text) if "UNLINK" in fence.text]
    return commands


def assert_orders_are_dry_or_refused(run: LocalRun, url: str) -> None:
    """Order what would change VMPooler's keys: in a second terminal and through the API."""
    source = f". .vmpooler-tasks/env; export REDIS_URL={url}; vmpooler-tasks "
    for order in ("purge", "purge --force"):
        purged = typed(run, source + order)
        assert (purged.returncode, purged.stderr) == (0, "")
        assert "Would purge " in purged.stdout
        assert "Nothing was changed: observe_only is on." in purged.stdout
    for order in ("dlq redrive --all --yes", "dlq delete --all --yes", "request centos-7-x86_64"):
        refused = typed(run, source + order)
        assert (refused.returncode, refused.stdout) == (64, "")
        assert "Refused, because observe_only is on and this would change keys of VMPooler: " in refused.stderr
    web, login = (
        typed(run, f'. .vmpooler-tasks/env; echo "${name}"').stdout.strip()
        for name in ("VMPOOLER_WEB", "VMPOOLER_WEB_LOGIN")
    )
    name, _, password = login.partition(":")
    user = (name, password)
    with httpx.Client(base_url=f"{web}/api/v1/queue", auth=user, headers={"Origin": web}, timeout=PATIENCE) as api:
        report = api.post("/purge", json={"force": True})
        assert report.status_code == 200, report.text
        assert report.json()["dry_run"] is True
        for path in ("/dlq/redrive", "/dlq/delete"):
            refused_order = api.post(path, json={"every": True})
            assert refused_order.status_code == 409, refused_order.text
            assert "observe_only is on" in refused_order.json()["detail"]
        refused_order = api.delete("/requests/req-1")
        assert refused_order.status_code == 409, refused_order.text
        assert api.get("/health").json()["reasons"], "the run's own status, not VMPooler's"


def test_your_own_configuration_counts_and_still_only_observes(
    production: Database, valkey: TestServer, tmp_path: Path
) -> None:
    before = contents(production)
    (clean_copy(tmp_path) / "vmpooler.yaml").write_text(CONFIGURATION, encoding="utf-8")
    with started(tmp_path, MAKE_YES, REDIS_URL=valkey.url) as run:
        assert "Pools:   those of vmpooler.yaml: centos-7-x86_64\n" in run.log
        assert "It sends   as your configuration says: metrics to StatsD on 127.0.0.1\n" in run.log
        assert "REDIS_URL=… vmpooler-tasks health   (in another terminal)\n" in run.log
        run.says("[*] [purge][dry-run] Completed purge cycle in ")
    assert_unchanged(before, production)


def test_a_second_fleet_is_refused(production: Database, valkey: TestServer, tmp_path: Path) -> None:
    db = production
    heartbeats.record(
        db, Heartbeat(kind=ProcessKind.BEAT, name="elsewhere:1", host="elsewhere", pid=1, configuration="")
    )
    before = contents(db)
    refused = ordered(tmp_path, valkey.url, "--yes")
    assert refused.returncode == 75
    assert refused.stderr.startswith("vmpooler-tasks: Other workers use this Redis: elsewhere:1. ")
    assert contents(db) == before


def ordered(folder: Path, url: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(PROGRAM), "run", *options],
        cwd=folder,
        env=environment(REDIS_URL=url),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_terminal_it_does_not_start(production: Database, valkey: TestServer, tmp_path: Path) -> None:
    before = contents(production)
    refused = ordered(tmp_path, valkey.url)
    assert refused.returncode == 78
    assert refused.stderr == (
        "vmpooler-tasks: Nobody confirmed this run: stdin is not a terminal: "
        "start it with --yes (make run ARGS=--yes)\n"
    )
    assert "It writes  vmpooler_tasks__*" in refused.stdout
    assert max(map(len, refused.stdout.splitlines())) <= 80
    assert contents(production) == before


def test_no_is_an_answer(production: Database, valkey: TestServer, tmp_path: Path) -> None:
    before = contents(production)
    with terminal(80) as (ours, theirs):
        process = subprocess.Popen(
            [str(PROGRAM), "run"],
            cwd=tmp_path,
            env=environment(REDIS_URL=valkey.url, TERM="xterm"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown = b""
        for piece in reading(ours):
            shown += piece
            if b"Start? [y/N]: " in shown:
                os.write(ours, b"n\n")
                break
        assert process.wait(30) == 130
    until(lambda: contents(production) == before, "nothing was changed")
