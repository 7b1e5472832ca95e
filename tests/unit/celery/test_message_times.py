"""The times in messages are the server's, whatever the clocks of sender and receiver show."""

import time
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.app.task import Context

from vmpooler_tasks.errors import StoreUnavailableError
from vmpooler_tasks.tasks.celery import message_times

HOUR = 3600.0
NOON = "2024-01-15T12:00:00+00:00"


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    """Let this machine's clock be so many seconds ahead of the server's."""
    database = SimpleNamespace(clock=lambda: time.time() - ahead)
    monkeypatch.setattr(message_times, "database", lambda: database)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize("name", ["eta", "expires"])
def test_a_message_has_the_servers_times_and_its_reader_his_own(
    monkeypatch: pytest.MonkeyPatch, ahead: float, name: str
) -> None:
    headers = {"task": "one", name: NOON}
    set_clock(monkeypatch, ahead)
    message_times.to_server_time(headers)
    assert abs(moment(headers[name]) - moment(NOON) + timedelta(seconds=ahead)) < timedelta(seconds=1)
    set_clock(monkeypatch, -ahead)
    message_times.to_local_time(headers)
    assert abs(moment(headers[name]) - moment(NOON) + timedelta(seconds=2 * ahead)) < timedelta(seconds=1)


@pytest.mark.parametrize("text", ["2024-01-15T12:00:00", "2024-01-15T12:00:00Z", "2024-01-15"])
def test_each_form_that_celery_takes_keeps_its_time_zone(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    set_clock(monkeypatch, -HOUR)
    headers = {"eta": text}
    message_times.to_server_time(headers)
    before, after = moment(text), moment(headers["eta"])
    assert (after.tzinfo, round((after - before).total_seconds())) == (before.tzinfo, HOUR)


@pytest.mark.parametrize("value", [None, 5, {}, [], "soon", "", "9999-12-31T23:59:59+00:00", "\udce4"])
def test_what_is_no_time_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    set_clock(monkeypatch, -HOUR)
    headers = {"eta": value, "expires": NOON}
    message_times.to_server_time(headers)
    assert headers["eta"] == value
    assert headers["expires"] != NOON


@pytest.mark.parametrize("ahead", [0.0, 0.9, -0.9])
def test_a_clock_that_health_calls_right_changes_no_message(monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    set_clock(monkeypatch, ahead)
    headers = {"eta": NOON, "expires": NOON}
    message_times.to_local_time(headers)
    assert headers == {"eta": NOON, "expires": NOON}


def test_a_retry_of_a_received_task_is_sent_with_the_same_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, HOUR)
    headers = {"id": "1", "expires": NOON}
    message_times.to_local_time(headers)
    again = {"expires": Context(headers).as_execution_options()["expires"]}
    message_times.to_server_time(again)
    assert abs(moment(again["expires"]) - moment(NOON)) < timedelta(seconds=1)


def test_messages_can_be_sent_and_received_while_redis_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock() -> float:
        raise StoreUnavailableError("redis://localhost:6379")

    monkeypatch.setattr(message_times, "database", lambda: SimpleNamespace(clock=clock))
    headers = {"eta": NOON}
    message_times.to_server_time(headers)
    message_times.to_local_time(headers)
    assert headers == {"eta": NOON}
