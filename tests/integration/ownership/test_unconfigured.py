"""`purge_unconfigured_resources`: VMs of this installation whose pool is in no configuration."""

import logging
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from tests.support.fleet import record_processes
from tests.support.marking_provider import OTHER_MARK, MarkingScripted
from tests.support.pool_world import PoolWorld, Scripted
from tests.support.world import POOL
from vmpooler_tasks.cli.doctor.pools import find_watched_pools
from vmpooler_tasks.errors import ConfigurationError, InvalidInputError, PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.ownership import unconfigured
from vmpooler_tasks.jobs.ownership.unconfigured import MAX_DESTROYED, ROUND_SECONDS
from vmpooler_tasks.jobs.pools.control import Operator, PoolControl
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.guards.unconfigured import read_unconfigured

pytestmark = pytest.mark.both_servers

GONE = "windows-2003"
SCRIPTED = "scripted"


@pytest.fixture
def world(world: PoolWorld, provider: MarkingScripted) -> PoolWorld:
    """The switch is on. The provider has two VMs of a pool that nobody configures, and others that are left alone."""
    world.config["purge_unconfigured_resources"] = True
    record_processes(world.db)
    provider.has_own("old-a", "old-b", pool=GONE)
    provider.has_own("in-use", pool=POOL)
    provider.has("person", "theirs", pool=GONE)
    provider.marks["theirs"] = OTHER_MARK
    return world


def one_round(world: PoolWorld, count: int = 1) -> list[str]:
    done = []
    for _ in range(count):
        done.append(unconfigured.run(world.context, SCRIPTED))
        world.now += ROUND_SECONDS
    return done


def confirm(world: PoolWorld, name: str = SCRIPTED) -> Any:
    return PoolControl(world.db, world.settings, world.clock, Operator(who="olga", why="old")).confirm_provider(name)


def test_nothing_is_destroyed_until_an_operator_confirms_it(
    world: PoolWorld, provider: MarkingScripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vmpooler_tasks.pools")
    assert one_round(world, 3) == ["2 VMs found, 0 destroyed"] * 3
    text = "2 VMs of provider scripted have the mark of this installation and no configured pool"
    found = f"{text}: old-a ({GONE}), old-b ({GONE})"
    assert f"{found}; if they are to be destroyed: vmpooler-tasks pools confirm --provider scripted" in caplog.text
    report = confirm(world)
    assert (report.changed, report.provider) == (True, SCRIPTED)
    assert one_round(world, 2) == ["2 VMs found, 2 destroyed", "0 VMs found, 0 destroyed"]
    assert set(provider.machines) == {"in-use", "person", "theirs"}
    assert read_unconfigured(world.db, [SCRIPTED]) == {}
    [entry] = [one.fields for one in audit.read_newest(world.db, 5) if one.fields["action"] == "confirm"]
    assert entry == {"action": "confirm", "who": "olga", "why": "old", "provider": SCRIPTED, "count": "2"}


def test_later_ones_need_no_confirmation_up_to_the_limit(world: PoolWorld, provider: MarkingScripted) -> None:
    one_round(world)
    confirm(world)
    one_round(world, 2)
    provider.has_own("old-c", "old-d", pool=GONE)
    assert one_round(world, 2) == ["2 VMs found, 0 destroyed", "2 VMs found, 2 destroyed"]
    many = [f"old-{number}" for number in range(MAX_DESTROYED + 5)]
    provider.has_own(*many, pool=GONE)
    assert one_round(world, 3) == ["25 VMs found, 0 destroyed"] * 3
    assert read_unconfigured(world.db, [SCRIPTED])[SCRIPTED].is_held
    assert confirm(world).changed
    assert one_round(world, 2) == ["25 VMs found, 20 destroyed", "5 VMs found, 5 destroyed"]


@pytest.mark.parametrize("name", ["resources_allowlist", "folder_whitelist"])
@pytest.mark.parametrize("entry", [GONE.upper(), "old-a"])
def test_the_allow_lists_are_honoured(world: PoolWorld, monkeypatch: pytest.MonkeyPatch, name: str, entry: str) -> None:
    settings = world.settings.model_copy(update={"providers": {SCRIPTED: {name: [entry]}}})
    monkeypatch.setattr(PoolWorld, "settings", settings)
    left = {"old-a": 1}.get(entry, 0)
    assert one_round(world) == [f"{left} VMs found, 0 destroyed"]


def test_an_allow_list_may_be_one_text(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = world.settings.model_copy(update={"providers": {SCRIPTED: {"resources_allowlist": "old-b, old-a"}}})
    monkeypatch.setattr(PoolWorld, "settings", settings)
    assert one_round(world) == ["0 VMs found, 0 destroyed"]


def test_a_confirmation_is_used_up(world: PoolWorld, provider: MarkingScripted) -> None:
    """As many as were confirmed are destroyed, and no others later."""
    first, second = ([f"{name}-{number}" for number in range(MAX_DESTROYED)] for name in ("one", "two"))
    provider.has_own(*first, pool=GONE)
    one_round(world, 2)
    confirm(world)
    assert one_round(world, 3)[-1] == "0 VMs found, 0 destroyed"
    provider.has_own(*second, pool=GONE)
    assert one_round(world, 3) == [f"{MAX_DESTROYED} VMs found, 0 destroyed"] * 3


def test_a_provider_that_cannot_be_loaded_is_named(world: PoolWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> NoReturn:
        raise ConfigurationError("the configuration", [f"no provider {name!r} is installed"])

    context = replace(world.context, provider=load)
    assert unconfigured.run(context, SCRIPTED).startswith("the provider cannot be loaded: ")


@pytest.mark.parametrize("queue", list(Queue)[:4])
def test_a_vm_in_a_queue_or_of_a_pool_that_is_drained_is_left_out(world: PoolWorld, queue: Queue) -> None:
    world.client.sadd(keys.queue(queue, GONE), "old-a")
    assert one_round(world) == ["1 VMs found, 0 destroyed"]
    world.client.hset(keys.MANAGED_POOLS, GONE, "{}")
    assert one_round(world) == ["0 VMs found, 0 destroyed"]


def test_a_provider_that_fails_is_asked_again(world: PoolWorld, provider: MarkingScripted) -> None:
    one_round(world)
    confirm(world)
    provider.raises("list_marked", TransientProviderError("reset"))
    with pytest.raises(TransientProviderError):
        one_round(world)
    provider.raises("destroy_marked", PermanentProviderError("no permission"))
    assert one_round(world, 2) == ["2 VMs found, 1 destroyed", "1 VMs found, 1 destroyed"]


def test_it_is_switched_off_by_default_without_a_name_and_without_marks(world: PoolWorld) -> None:
    assert unconfigured.due_rounds(world.context) == [SCRIPTED]
    assert unconfigured.due_rounds(world.context) == [], "each provider has its turn"
    world.provider, provider = Scripted(), world.provider
    assert one_round(world) == ["the provider cannot mark VMs"]
    world.provider = provider
    world.config["installation"] = ""
    assert one_round(world) == ["switched off"]
    world.config |= {"installation": "prague", "purge_unconfigured_resources": False}
    assert one_round(world) == ["switched off"]
    world.config["purge_unconfigured_folders"] = True
    assert one_round(world) == ["2 VMs found, 0 destroyed"]


@pytest.mark.parametrize(
    "off", [{"purge_unconfigured_resources": False}, {"installation": ""}, {"manage_pools": False}]
)
def test_after_the_switch_is_off_nothing_of_it_is_shown_or_kept(
    world: PoolWorld, provider: MarkingScripted, off: dict[str, Any]
) -> None:
    def shown() -> list[str]:
        return [one.found for one in find_watched_pools(world.settings, world.db) if one.what == "VMs of no pool"]

    one_round(world, 2)
    assert len(shown()) == 1
    world.config |= off
    assert shown() == [], "at once, whether a worker runs or not"
    if "manage_pools" not in off:
        assert confirm(world).text.startswith("nothing to confirm: purge_unconfigured_resources is not set")
    assert unconfigured.due_rounds(world.context) == []
    assert not world.client.exists(keys.UNCONFIGURED_VMS)


def test_a_confirmation_does_not_survive_the_switch(world: PoolWorld, provider: MarkingScripted) -> None:
    one_round(world, 2)
    confirm(world)
    world.config["purge_unconfigured_resources"] = False
    assert unconfigured.due_rounds(world.context) == []
    world.config["purge_unconfigured_resources"] = True
    assert one_round(world, 2) == ["2 VMs found, 0 destroyed"] * 2


def test_a_confirmation_without_anything_to_confirm(world: PoolWorld) -> None:
    report = confirm(world)
    assert (report.changed, report.text) == (False, "no VM waits for a confirmation")
    with pytest.raises(InvalidInputError, match="no provider 'scipted'"):
        confirm(world, "scipted")
    assert audit.read_newest(world.db, 5) == []
