"""Health follows the facts: with a worker, beat and a provider that fails, as they are deployed."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import failing_provider, servers
from tests.support.commands import CommandLine
from tests.support.failing_provider import NAME
from tests.support.processes import ROOT, Installation, Process, until
from vmpooler_tasks.store import Database, keys

pytestmark = pytest.mark.slow(seconds=120)

FOLLOWS_SECONDS = 15


def configuration() -> str:
    options = {
        "manage_pools": True,
        "dlq_enabled": True,
        "health_check_enabled": True,
        "health_check_interval": 3600,
        "check_loop_delay_min": 1,
        "breaker_failures": 2,
        "breaker_seconds": 5,
    }
    pools = [{"name": pool, "size": 2, "template": "fine"} for pool in ("one", "two")]
    return json.dumps({":config": options, ":providers": {NAME: {}}, ":pools": pools})


class Site:
    """A worker and beat that have filled their pools."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.db = Database(installation.environment["REDIS_URL"])
        self.worker = installation.worker("-P", "threads", worker_concurrency=8)
        self.beat: Process = installation.beat()
        until(self.is_full, "the pools are filled")

    def is_full(self) -> bool:
        return all(self.db.call("SCARD", f"vmpooler__ready__{pool}") == 2 for pool in ("one", "two"))

    def command(self, *words: str) -> Any:
        """Run a command of an operator, and return its JSON."""
        return json.loads(CommandLine(self.installation.folder, self.installation.environment)(*words, "--json").out)

    def health(self) -> dict[str, Any]:
        """Check now."""
        found: dict[str, Any] = self.command("health")
        return found

    def reasons(self) -> dict[str, dict[str, Any]]:
        return {reason["code"]: reason for reason in self.health()["reasons"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with (
        servers.running("valkey", tmp_path / "server") as server,
        Installation(server.url, tmp_path, configuration()) as installation,
    ):
        packages = failing_provider.installed(tmp_path / "packages")
        installation.environment["PYTHONPATH"] = os.pathsep.join((packages, str(ROOT)))
        own = Site(installation)
        yield own
        own.db.close()


def test_a_key_of_the_wrong_type_is_named_by_health_doctor_and_one_line_of_the_log(site: Site) -> None:
    log_before = len(site.worker.log)
    site.db.call("RENAME", keys.CLONES, "elsewhere") if site.db.call("EXISTS", keys.CLONES) else None
    site.db.call("SET", keys.CLONES, "not a sorted set")
    site.worker.says("[!] [redis] vmpooler_tasks__clones is a string, not a sorted set")
    time.sleep(6)  # several inspections
    found = site.health()
    assert found["status"] == "unhealthy"
    assert [(one["code"], one["key"]) for one in found["reasons"]] == [("wrong_type_key", "vmpooler_tasks__clones")]
    log = site.worker.log[log_before:]
    assert log.count("vmpooler_tasks__clones is a string") <= 2, "the line, and that of the one dead letter"
    assert "Traceback" not in log
    assert site.db.call("ZCARD", "vmpooler__dlq__tasks") == 1
    [wrong] = [one for one in site.command("doctor") if one["what"] == "keys"]
    assert (wrong["state"], wrong["found"]) == ("fail", "vmpooler_tasks__clones is a string, not a sorted set")
    site.db.call("RENAME", keys.CLONES, "of-the-wrong-type")
    assert "wrong_type_key" not in site.reasons()
    site.db.call("SPOP", "vmpooler__ready__one")
    until(site.is_full, "clones are made again")
