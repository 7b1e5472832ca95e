"""A listener, and a status that a test sets."""

from collections.abc import Iterator

import pytest

from tests.support.http_listener import HttpListener, http_listener
from tests.support.notifications import ShownStatus
from vmpooler_tasks.jobs.health.report import HealthReport
from vmpooler_tasks.jobs.notifications import observe


@pytest.fixture
def listener() -> Iterator[HttpListener]:
    with http_listener() as found:
        yield found


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> ShownStatus:
    found = ShownStatus()
    monkeypatch.setattr(observe, "read_report", lambda *_: HealthReport(found.assessment, None, {}))
    return found
