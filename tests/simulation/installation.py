"""An installation of any size: the state of up to a hundred pools from `vmpooler_state.py`, as often as it takes.

The pools of the copies have other names, and so have their VMs. Only one state is in memory at any time.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks import states
from tests.benchmarks.target import Target
from tests.reference import vmpooler_state
from vmpooler_tasks.config import Settings, load_settings
from vmpooler_tasks.jobs.inspection.removed import managed_pool
from vmpooler_tasks.jobs.inspection.roster import register
from vmpooler_tasks.jobs.pools.context import PoolContext
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.guards.managed_pools import record_managed_pool
from vmpooler_tasks.tasks.pool_context import build_context

BLOCK_POOLS = 100
VMS_OF_A_POOL = 100
PENDING_OF_A_POOL = 2
PENDING = keys.queue(Queue.PENDING, "").decode()
ORPHANED_AGE = 7 * 24 * 3600
"""Seconds. No orphan is stale: a purge gives each its expiry once, and a quiet cycle finds none."""

INSPECTED = 20
"""Pools whose VMs the provider has. They are inspected."""

AGE_SECONDS = 150.0
"""The state is so old: a VM that has just been made would be the sign of another pool manager."""

CHECK_INTERVAL = 1
"""Seconds. The watch for another pool manager takes two of them."""

OWN_NAMES = {"template", "pool", "pool_alias"}
"""The fields of a VM that hold the name of its pool."""


@dataclass(frozen=True, slots=True)
class Installation:
    """`now` is the time of the state. Purges run at this time, so that no entry becomes stale between two runs."""

    vms: int
    pools: int
    now: float
    config: Path


def make(target: Target, pools: int, hypervisor: str, folder: Path) -> Installation:
    """Fill the server with so many pools as they are in operation.

    `hypervisor` is the address of the Redis that holds the VMs of the dummy provider.
    """
    folder.mkdir(parents=True, exist_ok=True)
    now, block = time.time() - AGE_SECONDS, min(pools, BLOCK_POOLS)
    names = [f"pool-{number}" for number in range(block)]
    state = vmpooler_state.gen_bench(1, names, block * VMS_OF_A_POOL, now)  # type: ignore[no-untyped-call]
    _hand_out_most_pending(state)
    entries = [*state.entries(), *_clones_of_workers(state.d)]
    target.empty()
    copies = range(pools // block)
    for copy in copies:
        states.send(target, states.packed(_renamed(entries, f"-{copy}")))
    config = folder / "vmpooler.yaml"
    config.write_text(_config([name + f"-{copy}" for copy in copies for name in names], hypervisor), encoding="utf-8")
    context = build_context(target.db, load_settings(file=config))
    _record_pools(context)
    _make_machines(context)
    return Installation(vms=block * VMS_OF_A_POOL * len(copies), pools=block * len(copies), now=now, config=config)


def inspected(settings: Settings) -> list[str]:
    """Return the pools whose VMs the provider has, spread over all."""
    step = max(1, len(settings.pools) // INSPECTED)
    return [pool.name for pool in settings.pools[::step][:INSPECTED]]


def _hand_out_most_pending(state: Any) -> None:
    """Let users have most of the pending VMs: a VM boots for minutes, and lives for hours."""
    for pending in [key for key in state.d if key.startswith(PENDING)]:
        vms = sorted(state.d[pending])
        state.d[pending] = set(vms[:PENDING_OF_A_POOL])
        for vm in vms[PENDING_OF_A_POOL:]:
            state.sadd(keys.queue(Queue.RUNNING, pending.removeprefix(PENDING)).decode(), vm)
            fields = state.d[keys.vm(vm.encode()).decode()]
            fields["ready"] = fields["checkout"] = fields["clone"]


def _clones_of_workers(state: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what these workers note of each pending VM that they cloned."""
    for key, vms in state.items():
        if key.startswith(PENDING):
            for vm in sorted(vms):
                yield {"key": keys.work(vm.encode()).decode(), "type": "hash", "value": [["cloned", "1"]]}


def _renamed(entries: Sequence[Any], suffix: str) -> Iterator[dict[str, Any]]:
    """Yield a copy. A key ends with the name of a pool or VM, and a set holds names of VMs."""
    for entry in entries:
        value = (
            [[name, text + suffix if name in OWN_NAMES else text] for name, text in entry["value"]]
            if entry["type"] == "hash"
            else [vm + suffix for vm in entry["value"]]
        )
        yield {**entry, "key": entry["key"] + suffix, "value": value}


def _config(pools: Sequence[str], hypervisor: str) -> str:
    config = yaml.safe_load(vmpooler_state.CONFIG)
    config[":config"] |= {
        "manage_pools": True,
        "check_loop_delay_min": CHECK_INTERVAL,
        "max_orphaned_age": ORPHANED_AGE,
    }
    del config[":redis"]["server"], config[":dns_configs"]
    config[":providers"] = {":dummy": {"redis_url": hypervisor}}
    size = VMS_OF_A_POOL * 2 // 5
    config[":pools"] = [{"name": pool, "size": size, "template": "t", "provider": "dummy"} for pool in pools]
    return json.dumps(config, indent=1)


def _record_pools(context: PoolContext) -> None:
    """Record what the first inspection of each pool records."""
    for pool in context.settings.pools:
        register(context, pool)
        record_managed_pool(context.db, managed_pool(context, pool))


def _make_machines(context: PoolContext) -> None:
    for pool in map(context.configured_pool, inspected(context.settings)):
        provider, spec = context.provider_of(pool), context.spec(pool)
        for queue in Queue:
            for vm in context.db.call("SMEMBERS", keys.queue(queue, pool.name)):
                provider.create_vm(spec, vm.decode())
