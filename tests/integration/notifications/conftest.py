"""A database, a listener, and settings that notify it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.http_listener import HttpListener, http_listener
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.jobs.notifications import observe
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.reasons import ReasonCode, default_reason
from vmpooler_tasks.model.health.status import Status

DLQ_SIZE = replace(default_reason(ReasonCode.DLQ_SIZE, 1200, 1000), severity=Status.UNHEALTHY)
EMPTY_POOL = default_reason(ReasonCode.EMPTY_POOL, 1000, 900, pool="a")


@pytest.fixture
def listener() -> Iterator[HttpListener]:
    with http_listener() as found:
        yield found


class ShownStatus:
    """What readers see; tests set it. How it comes about is the business of other tests."""

    def __init__(self) -> None:
        self.assessment = Assessment(Status.HEALTHY, ())

    def becomes(self, status: Status, *reasons: ReasonCode) -> None:
        made = {ReasonCode.DLQ_SIZE: DLQ_SIZE, ReasonCode.EMPTY_POOL: EMPTY_POOL}
        self.assessment = Assessment(status, tuple(made[code] for code in reasons))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> ShownStatus:
    found = ShownStatus()
    monkeypatch.setattr(observe, "read_report", lambda *_: HealthReport(found.assessment, None, {}))
    return found
