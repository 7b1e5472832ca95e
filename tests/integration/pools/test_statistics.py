"""The daily statistics, which VMPooler's API shows."""

import time
from collections.abc import Iterator

import pytest

from tests.support.pool_world import PoolWorld
from tests.support.world import POOL

BOOTS, CLONES = "vmpooler__boot__2024-01-15", "vmpooler__clone__2024-01-15"


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The time zone of this process."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_statistics_of_the_day_have_the_seconds_and_do_not_expire(world: PoolWorld, vm: str) -> None:
    world.provider.before("create", lambda _: world.sleep(42.5))
    world.clone(vm)
    assert world.client.hgetall(BOOTS) == {f"{POOL}:{vm}".encode(): b"42.50"}
    [(field, seconds)] = world.client.hgetall(CLONES).items()
    assert (field.decode(), seconds.decode()) == (f"{POOL}:{vm}", world.metadata(vm)["clone_time"])
    assert [world.client.ttl(key) for key in (BOOTS, CLONES)] == [-1, -1]
    assert world.client.hgetall("vmpooler__lastboot") == {POOL.encode(): b"2024-01-15 10:30:42 +0000"}


@pytest.mark.parametrize(
    ("zone", "day"),
    [("UTC", "2024-01-15"), ("EST5", "2024-01-15"), ("AEST-14", "2024-01-16"), ("HST10:45", "2024-01-14")],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_a_day_is_the_local_day_as_in_the_api(world: PoolWorld, vm: str, day: str) -> None:
    world.clone(vm)
    patterns = ("vmpooler__boot__*", "vmpooler__clone__*")
    found = {key.decode() for pattern in patterns for key in world.client.scan_iter(pattern)}
    assert found == {f"vmpooler__boot__{day}", f"vmpooler__clone__{day}"}
    assert world.metadata(vm)["ready"].endswith("+0000"), "times are in UTC as everywhere"
