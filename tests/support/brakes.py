"""What the tests of the brake share: many VMs at once, a provider that denies them, and the brake itself."""

from tests.support.pool_world import PoolWorld
from tests.support.world import POOL
from vmpooler_tasks.jobs.inspection.strays import DISCOVERY_SECONDS
from vmpooler_tasks.model.guards.brake import Brake
from vmpooler_tasks.store.fleet import audit
from vmpooler_tasks.store.guards import brakes

ROUNDS = 5


def names(count: int, start: int = 0, prefix: str = "pooler") -> list[str]:
    return [f"{prefix}-{index:03}" for index in range(start, start + count)]


def running(world: PoolWorld, count: int, start: int = 0, name: str = POOL) -> list[str]:
    """Running VMs of a pool, a minute after their checkout."""
    return [world.running_vm(vm, 60, name) for vm in names(count, start, name)]


def rounds(world: PoolWorld, count: int = ROUNDS) -> None:
    """Let the workers do all their work again and again, so that a stray would be destroyed."""
    for _ in range(count):
        world.round()
        world.now += DISCOVERY_SECONDS + 1


def brake(world: PoolWorld, name: str = POOL) -> Brake | None:
    return brakes.read_brakes(world.db).get(name)


def engaged(world: PoolWorld, name: str = POOL) -> Brake:
    found = brake(world, name)
    assert found is not None
    assert found.is_engaged
    return found


def actions(world: PoolWorld) -> list[str]:
    """The entries of the audit about brakes, oldest first."""
    return [entry.fields["action"] for entry in reversed(audit.read_newest(world.db, 100))]


def confirm(world: PoolWorld, name: str = POOL) -> None:
    brakes.confirm(world.db, name, {"action": "confirm", "who": "olga", "pool": name})


def hide(world: PoolWorld, vms: list[str]) -> None:
    """Let the provider deny these VMs, in its inventory and by name."""
    for vm in vms:
        world.provider.machines.pop(vm)
        world.provider.pool_of.pop(vm)


def show(world: PoolWorld, vms: list[str]) -> None:
    """Let the provider have these VMs, of which Redis has metadata. Those that are in no queue are strays."""
    world.provider.has(*vms)
    world.has_metadata(*vms)
