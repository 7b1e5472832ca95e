"""On-demand requests as VMPooler's API server leaves them, and what became of them."""

from tests.support.pool_world import HOUR, PoolWorld
from tests.support.world import POOL
from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.jobs.requests import fulfil as job
from vmpooler_tasks.model.pools.lifecycle import Step

ID = "req-1"
HASH = "vmpooler__odrequest__req-1"
ITEMS, WAITING = "vmpooler__odcreate__task", "vmpooler__provisioning__request"
PROCESSING = "vmpooler__provisioning__processing"
OTHER = "ubuntu-2004-x86_64"
RESET = TransientProviderError("the connection was reset")
MISSING = PermanentProviderError("template templates/one does not exist")

DELIVERED = f"vmpooler__{ID}__centos__{POOL}"
MONTH = 30 * 24 * HOUR


def submit(world: PoolWorld, text: str | bytes, request: str = ID, **fields: str) -> None:
    """As the API server does."""
    world.client.hset(f"vmpooler__odrequest__{request}", mapping={"requested": text, **fields})
    world.client.zadd(WAITING, {request: int(world.now)})


def run(world: PoolWorld) -> list[Work]:
    return job.run(world.context)


def status(world: PoolWorld, request: str = ID) -> tuple[str | None, str | None]:
    """(status, reason for its failure)"""
    found = world.client.hmget(f"vmpooler__odrequest__{request}", "status", "failure_reason")
    first, second = (None if value is None else value.decode() for value in found)
    return first, second


def members(world: PoolWorld, key: str) -> dict[str, float]:
    return {name.decode(): score for name, score in world.client.zrange(key, 0, -1, withscores=True)}


def delivered(world: PoolWorld, alias: str = "centos", name: str = POOL, request: str = ID) -> set[str]:
    return {vm.decode() for vm in world.client.smembers(f"vmpooler__{request}__{alias}__{name}")}


def clones_of(world: PoolWorld) -> list[Work]:
    return [work for work in run(world) if work.step is Step.CLONE]
