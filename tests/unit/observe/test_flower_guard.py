"""A Flower that is open to everybody is refused."""

import pytest

from vmpooler_tasks.tasks.observe.flower_guard import open_reason


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_loopback_it_needs_no_login(address: str) -> None:
    assert open_reason(address=address, socket=False, login=False, environ={}) is None


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "10.0.0.1", "ops.example.com", "127.0.0.1.example.com"])  # noqa: S104
def test_off_loopback_it_needs_a_login(address: str) -> None:
    said = open_reason(address=address, socket=False, login=False, environ={})
    assert said
    assert (address or "every address") in said
    assert "FLOWER_BASIC_AUTH" in said
    assert open_reason(address=address, socket=False, login=True, environ={}) is None


def test_unix_socket_needs_no_login() -> None:
    assert open_reason(address="", socket=True, login=False, environ={}) is None


def test_an_api_for_everybody_is_refused_on_loopback_too() -> None:
    environ = {"FLOWER_UNAUTHENTICATED_API": "true"}
    said = open_reason(address="127.0.0.1", socket=False, login=False, environ=environ)
    assert said
    assert "FLOWER_UNAUTHENTICATED_API" in said
    assert open_reason(address="127.0.0.1", socket=False, login=True, environ=environ) is None
