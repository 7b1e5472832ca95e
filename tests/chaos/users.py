"""The users of the scenarios. They use VMPooler's API, whose server is played by its exact commands."""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush

import redis

from tests.chaos.hypervisors import AWAY, Hypervisor
from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from vmpooler_tasks.store import Database

KEPT_SECONDS, WITH_DISK_SECONDS = 0.5, 4.0
"""The longest time for which a user keeps a VM, and one with a disk that was ordered."""

PAUSE_SECONDS = 0.03
DISK_RATE, REQUEST_RATE, SIZE_RATE = 0.15, 0.02, 0.005
"""How often a user of a VM orders a disk, and how often in each round VMs are requested, and a pool's size changed."""

DISK_GB = range(11, 90)
"""Sizes that no disk of a template has."""

MAX_WAITING_REQUESTS = 2


@dataclass
class Ledger:
    """What the API accepted. Threads add to it and read it; nothing is removed but from `held`."""

    taken: Counter[str] = field(default_factory=Counter)
    """VM → how often it was handed out."""

    homes: dict[str, str] = field(default_factory=dict)
    """VM that was handed out → its pool."""

    held: dict[str, str] = field(default_factory=dict)
    """VM that a user has at this moment → its pool."""

    requests: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """Request → pool → VMs."""

    ended: Counter[str] = field(default_factory=Counter)
    """How requests ended: ready, failed."""

    disks: list[tuple[str, int]] = field(default_factory=list)
    """VM and size of each disk that was ordered."""

    problems: list[str] = field(default_factory=list)
    """What a user saw and must not see."""


class Users(threading.Thread):
    """They take each VM that is ready at once, and return it a moment later.

    Meanwhile they order disks, request VMs on demand, and change the sizes of pools. Where Redis does not reply, they
    come again later. What they ordered then may have been accepted or not: the ledger does not have it.
    """

    def __init__(self, db: Database, chance: random.Random, sizes: Mapping[str, int], hypervisor: Hypervisor) -> None:
        super().__init__(daemon=True)
        self._db, self._chance, self._sizes, self._hypervisor = db, chance, dict(sizes), hypervisor
        self._api = ApiClient(db.client, [ApiPool(name, size) for name, size in sizes.items()])
        self._kept: list[tuple[float, str]] = []
        self._waiting: set[str] = set()
        self._end = threading.Event()
        self.ledger = Ledger()

    def run(self) -> None:
        while not self._end.wait(PAUSE_SECONDS):
            with suppress(redis.RedisError):
                for pool in self._sizes:
                    self._take(pool)
            with suppress(redis.RedisError):
                self._return()
            with suppress(redis.RedisError):
                self._request()
            if self._chance.random() < SIZE_RATE:
                with suppress(redis.RedisError):
                    self._change_size()

    def _take(self, pool: str) -> None:
        while vms := self._api.checkout({pool: 1}).vms:
            self._hold(vms[0], pool)

    def _hold(self, vm: str, pool: str) -> None:
        self.ledger.taken[vm] += 1
        self.ledger.homes[vm] = self.ledger.held[vm] = pool
        wants_disk = self._chance.random() < DISK_RATE
        kept_seconds = self._chance.uniform(0, WITH_DISK_SECONDS if wants_disk else KEPT_SECONDS)
        heappush(self._kept, (time.monotonic() + kept_seconds, vm))
        if wants_disk:
            size = self._chance.choice(DISK_GB)
            if self._api.add_disk(vm, size).ok:
                self.ledger.disks.append((vm, size))

    def _return(self) -> None:
        while self._kept and self._kept[0][0] < time.monotonic():
            _, vm = heappop(self._kept)
            pool = self.ledger.held.pop(vm)
            self._check_disks(pool, vm)
            if not self._api.delete_vm(vm).ok:
                self.ledger.problems.append(f"{vm} of {pool} was taken from its user")

    def _check_disks(self, pool: str, vm: str) -> None:
        """Note a disk that the VM has twice. Each order is for another size.

        Where the hypervisor does not reply, its disks are not known now.
        """
        if ordered := {size for owner, size in self.ledger.disks if owner == vm}:
            try:
                found = Counter(self._hypervisor.disks(pool, vm))
            except AWAY:
                return
            if doubled := [size for size in ordered if found[size] > 1]:
                self.ledger.problems.append(f"{vm} of {pool} has two disks of {doubled} GB")

    def _request(self) -> None:
        for request in sorted(self._waiting):
            shown = self._api.show_request(request)
            if shown.status == 202:
                continue
            self._waiting.discard(request)
            self.ledger.ended["ready" if shown.vms else shown.body.get("message", "lost")] += 1
            if shown.vms and len(shown.vms) != sum(self.ledger.requests[request].values()):
                self.ledger.problems.append(f"request {request} has {shown.vms}")
            for vm in shown.vms:
                self._hold(vm, self._pool_of(request))
        if len(self._waiting) < MAX_WAITING_REQUESTS and self._chance.random() < REQUEST_RATE:
            wanted = {self._chance.choice(sorted(self._sizes)): self._chance.choice((1, 2))}
            reply = self._api.request_vms(wanted)
            if reply.ok:
                self.ledger.requests[reply.body["request_id"]] = wanted
                self._waiting.add(reply.body["request_id"])

    def _pool_of(self, request: str) -> str:
        (pool,) = self.ledger.requests[request]
        return pool

    def _change_size(self) -> None:
        pool = self._chance.choice(sorted(self._sizes))
        if self._chance.random() < 0.5:
            self._api.undo_pool_size(pool)
        else:
            self._api.set_pool_sizes({pool: max(1, self._sizes[pool] + self._chance.choice((-1, 1)))})

    def stop(self) -> None:
        """Let them end, and undo what they changed. They keep the VMs that they have."""
        if not self._end.is_set():
            self._end.set()
            self.join()
            for pool in self._sizes:
                self._api.undo_pool_size(pool)

    def close(self) -> None:
        with suppress(redis.RedisError):
            self.stop()
        self._db.close()
