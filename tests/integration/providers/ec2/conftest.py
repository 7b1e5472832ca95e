"""Moto's server, and a lab on it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support import moto_server
from tests.support.ec2_lab import Ec2Lab
from tests.support.moto_server import MotoServer


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with moto_server.running(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def lab(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ec2Lab]:
    moto.reset()
    for name, value in moto_server.environment().items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        yield Ec2Lab(moto, stack)
