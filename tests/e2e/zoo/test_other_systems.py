"""Sick states that need a system of their own: short intervals, no pools, another database."""

import json
from pathlib import Path

import pytest

from tests.support.http_listener import http_listener
from tests.support.processes import Installation, until
from tests.support.servers import TestServer
from tests.support.zoo import LIMIT_SECONDS, Seen, zoo
from vmpooler_tasks.model.health.assessment import STALE_AFTER_INTERVALS

pytestmark = pytest.mark.stage(name="zoo")

INTERVAL = 6


def is_stale(seen: Seen) -> bool:
    return seen.status == "unhealthy" and seen.codes >= {"no_beat", "stale"}


def test_a_check_by_hand_ends_no_stale_status(tmp_path: Path) -> None:
    """And whoever is not looking is told."""
    with http_listener() as listener:
        targets = f"webhook={listener.url}"
        with zoo(tmp_path, {"NOTIFY_TARGETS": targets}, health_check_interval=INTERVAL, notify_after=5) as living:
            living.kill("beat")
            seconds = STALE_AFTER_INTERVALS * INTERVAL + LIMIT_SECONDS
            until(lambda: is_stale(living.by_api()), "it is stale", seconds=seconds)
            for _ in range(2):
                found = json.loads(living.installation.run("vmpooler-tasks", "health", "--json", status=2))
                assert {reason["code"] for reason in found["reasons"]} >= {"no_beat", "stale"}
                living.shows(is_stale, "it stays stale")
            [told] = listener.gets()
            assert (told.body["status"], told.body["reasons"][0]["code"]) == ("unhealthy", "no_beat")
            living.start("beat")
            living.is_well()
            # The check that ends an outage of three intervals still reports it, as degraded.
            until(lambda: listener.received[-1].body["status"] == "healthy", "the end of it is told")


def test_nothing_to_check_is_not_healthy(installation: Installation, valkey: TestServer) -> None:
    """A typo in the number of the database."""
    installation.environment["REDIS_URL"] = valkey.url.removesuffix("/0") + "/7"
    installation.environment["VMPOOLER_CONFIG"] = json.dumps({":config": {"health_check_enabled": True}})
    for arguments in (("--json",), ("--json", "--no-check")):
        found = json.loads(installation.run("vmpooler-tasks", "health", *arguments, status=2))
        assert "nothing_checked" in {reason["code"] for reason in found["reasons"]}
