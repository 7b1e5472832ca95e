"""Health follows the facts: with a worker, beat and a provider that fails, as they are deployed."""

import json
import os
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

    def recorded(self) -> tuple[str, dict[str, dict[str, Any]]]:
        """Return the status and the reasons that stand in Redis: nobody asks for a check."""
        status, reasons = self.db.call("HMGET", keys.HEALTH, "status", "reasons")
        return (status or b"").decode(), {reason["code"]: reason for reason in json.loads(reasons or b"[]")}

    def follows(self, status: str, *codes: str) -> dict[str, dict[str, Any]]:
        """Wait until health has this status and these reasons. The next check is due much later. Return the reasons."""

        def is_so() -> bool:
            found, reasons = self.recorded()
            return found == status and set(codes) <= reasons.keys()

        until(is_so, lambda: f"{status} for {codes}: {self.recorded()}")
        return self.recorded()[1]

    def use_template(self, template: str, *pools: str) -> None:
        """Let the provider fail in this way from now on, or work again (`fine`)."""
        for pool in pools:
            self.db.call("HSET", keys.POOL_TEMPLATES, pool, template)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("facts")
    with (
        servers.running("valkey", folder / "server") as server,
        Installation(server.url, folder, configuration()) as installation,
    ):
        packages = failing_provider.installed(folder / "packages")
        installation.environment["PYTHONPATH"] = os.pathsep.join((packages, str(ROOT)))
        own = Site(installation)
        yield own
        own.db.close()


def test_a_provider_that_is_down_is_unhealthy_with_its_error_and_healthy_again_after_the_repair(site: Site) -> None:
    site.follows("healthy")
    site.use_template("transient", "one", "two")
    until(lambda: site.db.call("HEXISTS", keys.breaker(NAME), "open_until"), "the provider is suspended")
    found = site.follows("unhealthy", "breaker_open", "all_pools_empty")
    assert (found["breaker_open"]["provider"], found["breaker_open"]["error"]) == (NAME, "the line broke")
    assert found["breaker_open"]["next_attempt_at"].endswith("Z")
    site.use_template("fine", "one", "two")
    until(site.is_full, "the pools are filled again")
    site.follows("healthy")


def test_a_pool_whose_template_is_gone_degrades_at_once_and_says_why(site: Site) -> None:
    site.use_template("permanent", "one")
    until(lambda: site.db.call("HEXISTS", keys.pool_breaker("one"), "open_until"), "the pool is suspended")
    found = site.follows("degraded", "pool_broken", "empty_pool")
    assert (found["pool_broken"]["pool"], found["pool_broken"]["error"]) == ("one", "template x does not exist")
    assert found["empty_pool"]["pool"] == "one"
    assert "all_pools_empty" not in found
    site.use_template("fine", "one")
    until(site.is_full, "the pool is filled again")
    site.follows("healthy")


def test_overwritten_keys_stop_nothing_and_are_named_by_health_doctor_and_the_log(site: Site) -> None:
    log_before = len(site.worker.log)
    for key in (keys.CLONES, keys.FENCES, keys.breaker(NAME), keys.MANAGED_POOLS, keys.PROGRESS):
        site.db.call("DEL", key)
        site.db.call("RPUSH", key, "not this project's")
    site.db.call("SPOP", "vmpooler__ready__one")
    until(site.is_full, "clones are made all the same")
    found = site.follows("degraded", "key_set_aside")
    assert found["key_set_aside"]["error"].startswith("a list, not a ")
    log = site.worker.log[log_before:]
    line = "[!] [redis] vmpooler_tasks__clones is a list, not a sorted set: renamed to"
    # Whichever process sees it first writes it, and no other.
    until(lambda: line in site.worker.log + site.beat.log, "the log names the key")
    assert (site.worker.log + site.beat.log).count(line) == 1
    assert "Traceback" not in log
    assert site.db.call("ZCARD", "vmpooler__dlq__tasks") == 0
    named = [one["found"] for one in site.command("doctor") if (one["what"], one["state"]) == ("keys", "warn")]
    assert any(text.startswith("vmpooler_tasks__clones was a list, not a sorted set") for text in named)
    site.db.call("DEL", keys.SET_ASIDE)
    site.follows("healthy")
