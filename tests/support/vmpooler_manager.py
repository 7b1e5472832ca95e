"""VMPooler 3.9's own pool manager, played by its exact Redis commands: a method for each of its own.

Source: `lib/vmpooler/pool_manager.rb` of VMPooler. What it reads and writes, in which order and in how many commands,
is VMPooler's. Its threads are played one after the other: `check_pool` starts clones, and `end_clones` ends them later,
so that a test can act between. Nothing is retried, and no dead letter is written.
"""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.api_server import name_of, text_of, to_i
from vmpooler_tasks.model.timestamps import moment, parse_time, ruby_utc
from vmpooler_tasks.providers import PoolSpec, Provider

CLONES, REQUEST_CLONES = "vmpooler__tasks__clone", "vmpooler__tasks__ondemandclone"
QUEUES = ("running", "ready", "pending", "completed", "discovered", "migrating")
DATA_TTL = 168 * 3600
A_MONTH = 2_592_000
_number = itertools.count(1)


@dataclass
class ManagedPool:
    """An entry of `:pools:` as the manager has it in memory, overrides included."""

    name: str
    size: int = 0
    template: str | None = None
    clone_target: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class CloneThread:
    """A clone that the manager has started and not ended."""

    pool: str
    vm: str
    request: str | None = None
    alias: str | None = None


@dataclass
class VmpoolerManager:
    """One manager with its own memory, as it is after its start. `start` is `execute!` without its loops."""

    client: Any
    provider: Provider
    pools: Iterable[ManagedPool]
    clock: Callable[[], float] = time.time
    task_limit: int = 10
    ondemand_clone_limit: int = 10
    ondemand_request_ttl: int = 5
    timeout: int = 15
    ready_ttl: int = 60
    vm_lifetime: int = 24
    prefix: str = "vmp-"
    cloning: list[CloneThread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_name = {pool.name: pool for pool in self.pools}
        self.at_startup = {pool.name: (pool.size, pool.template) for pool in self.by_name.values()}

    # --- its start --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.call("SET", CLONES, 0)
        self.call("SET", REQUEST_CLONES, 0)
        self.call("DEL", "vmpooler__migration")
        former = {name_of(name) for name in self.call("SMEMBERS", "vmpooler__pools")}
        for pool in self.by_name.values():
            self.call("SADD", "vmpooler__pools", pool.name)
            fields = {
                "name": pool.name,
                "size": pool.size,
                "template": pool.template,
                "clone_target": pool.clone_target,
            }
            words = [word for name, value in fields.items() if value is not None for word in (name, value)]
            self.call("HMSET", f"vmpooler__pool__{pool.name}", *words, "alias", ",".join(pool.aliases))
            if template := text_of(self.call("HGET", "vmpooler__config__template", pool.name)):
                pool.template = template  # sync_pool_template
        for name in former - self.by_name.keys():
            self.call("SREM", "vmpooler__pools", name)
            self.call("DEL", f"vmpooler__pool__{name}")

    def round(self) -> None:
        """Check every pool and process all requests once; end the clones."""
        for name in self.by_name:
            self.check_pool(name)
        self.process_ondemand_requests()
        self.end_clones()

    # --- _check_pool ------------------------------------------------------------------------------------------------

    def check_pool(self, name: str) -> None:
        pool = self.by_name[name]
        inventory = self._create_inventory(name)
        self._check_running(name, inventory)
        self._check_ready(name, inventory)
        self._check_pending(name, inventory)
        self._check_completed(name, inventory)
        for vm in self.members("discovered", name):
            for queue in ("pending", "ready", "running", "completed"):
                if self.call("SISMEMBER", f"vmpooler__{queue}__{name}", vm):
                    self.call("SREM", f"vmpooler__discovered__{name}", vm)
            if self.call("SISMEMBER", f"vmpooler__discovered__{name}", vm):
                self.move(name, vm, "discovered", "completed")
        for vm in self.members("migrating", name):
            if vm in inventory:
                self.call("SREM", f"vmpooler__migrating__{name}", vm)
        self._evaluate_template(pool)
        self._update_overrides(pool)
        self._repopulate(pool)
        self._remove_excess(pool)
        self._reset_and_undo(pool)

    def _create_inventory(self, name: str) -> set[str]:
        inventory = set(self.provider.list_vms(self.spec(name)))
        for vm in inventory:
            if not any(self.call("SISMEMBER", f"vmpooler__{queue}__{name}", vm) for queue in QUEUES):
                self.call("SADD", f"vmpooler__discovered__{name}", vm)
        return inventory

    def _check_running(self, name: str, inventory: set[str]) -> None:
        for vm in self.members("running", name):
            if vm not in inventory:
                self.move(name, vm, "running", "completed")
                continue
            lifetime = to_i(text_of(self.call("HGET", f"vmpooler__vm__{vm}", "lifetime")) or self.vm_lifetime)
            checkout = self.call("HGET", f"vmpooler__active__{name}", vm)
            if checkout is None or (lifetime and int(self._age(checkout) / 3600) >= lifetime):
                self.move(name, vm, "running", "completed")
            if not self.call("HGET", f"vmpooler__vm__{vm}", "user_tagged"):
                self.call("HSET", f"vmpooler__vm__{vm}", "user_tagged", "true")

    def _check_ready(self, name: str, inventory: set[str]) -> None:
        for vm in self.members("ready", name):
            if vm not in inventory:
                self.move(name, vm, "ready", "completed")
                continue
            check = self.call("HGET", f"vmpooler__vm__{vm}", "check")
            if check is not None and self._age(check) < 60:
                continue
            self.call("HSET", f"vmpooler__vm__{vm}", "check", self.now())
            boot = self.call("HGET", f"vmpooler__vm__{vm}", "ready")
            is_old = boot is None or self._age(boot) > self.ready_ttl * 60
            if is_old or not self.provider.is_ready(self.spec(name), vm).ready:
                self.move(name, vm, "ready", "completed")

    def _check_pending(self, name: str, inventory: set[str]) -> None:
        for vm in self.members("pending", name):
            if any(clone.vm == vm for clone in self.cloning):
                continue  # its mutex is locked
            started = self.call("HGET", f"vmpooler__vm__{vm}", "clone")
            is_late = started is not None and self._age(started) > self.timeout * 60
            if vm not in inventory:
                if is_late:
                    self.call("SREM", f"vmpooler__pending__{name}", vm)
            elif self.provider.is_ready(self.spec(name), vm).ready:
                self._move_pending_to_ready(name, vm)
            elif is_late:
                self.move(name, vm, "pending", "completed")

    def _move_pending_to_ready(self, name: str, vm: str) -> None:
        request = text_of(self.call("HGET", f"vmpooler__vm__{vm}", "request_id"))
        if request:
            wanted = self.hash_of(f"vmpooler__odrequest__{request}")
            if wanted.get("status") in {"failed", "deleted"}:
                self.move(name, vm, "pending", "completed")
                return
            alias = text_of(self.call("HGET", f"vmpooler__vm__{vm}", "pool_alias"))
            self.call("HSET", f"vmpooler__active__{name}", vm, self.now())
            self.call("HSET", f"vmpooler__vm__{vm}", "checkout", self.now())
            self.call("SADD", f"vmpooler__{request}__{alias}__{name}", vm)
            self.move(name, vm, "pending", "running")
            self._check_request_ready(request, self.call("ZSCORE", "vmpooler__provisioning__processing", request))
        else:
            self.move(name, vm, "pending", "ready")
        self.call("HSET", f"vmpooler__boot__{self.now()[:10]}", f"{name}:{vm}", "1.00")
        self.call("HSET", f"vmpooler__vm__{vm}", "ready", self.now())
        self.call("HSET", "vmpooler__lastboot", name, self.now())

    def _check_completed(self, name: str, inventory: set[str]) -> None:
        for vm in self.members("completed", name):
            self.call("HDEL", f"vmpooler__active__{name}", vm)
            if vm in inventory:
                self.call("HSET", f"vmpooler__vm__{vm}", "destroy", self.now())
                self.call("EXPIRE", f"vmpooler__vm__{vm}", DATA_TTL)
                self.provider.destroy_vm(self.spec(name), vm)
            else:
                self.call("DEL", f"vmpooler__vm__{vm}")
            self.call("SREM", f"vmpooler__completed__{name}", vm)

    def _evaluate_template(self, pool: ManagedPool) -> None:
        prepared = text_of(self.call("HGET", "vmpooler__template__prepared", pool.name))
        configured = text_of(self.call("HGET", "vmpooler__config__template", pool.name))
        if prepared is None or (prepared != pool.template and configured is None):
            self.call("HSET", "vmpooler__template__prepared", pool.name, pool.template or "")
        elif configured is not None and configured != prepared:
            self._use_template(pool, configured)

    def _use_template(self, pool: ManagedPool, template: str | None) -> None:
        pool.template = template
        self._drain(pool.name)
        self.call("HSET", "vmpooler__template__prepared", pool.name, template or "")

    def _update_overrides(self, pool: ManagedPool) -> None:
        size = text_of(self.call("HGET", "vmpooler__config__poolsize", pool.name))
        pool.size = pool.size if size is None else to_i(size)
        target = text_of(self.call("HGET", "vmpooler__config__clone_target", pool.name))
        if target is not None and target != pool.clone_target:
            pool.clone_target = target
            self._drain(pool.name)

    def _repopulate(self, pool: ManagedPool) -> None:
        ready = self.call("SCARD", f"vmpooler__ready__{pool.name}")
        total = ready + self.call("SCARD", f"vmpooler__pending__{pool.name}")
        if pool.size and not ready:
            self.call("SET", f"vmpooler__empty__{pool.name}", "true")
        elif pool.size:
            self.call("DEL", f"vmpooler__empty__{pool.name}")
        for _ in range(pool.size - total):
            if to_i(text_of(self.call("GET", CLONES)) or 0) < self.task_limit:
                self.call("INCR", CLONES)
                self._start_clone(pool.name)

    def _remove_excess(self, pool: ManagedPool) -> None:
        ready, pending = self.members("ready", pool.name), self.members("pending", pool.name)
        if len(ready) <= pool.size:
            return
        for vm in ready[pool.size :]:
            self.move(pool.name, vm, "ready", "completed")
        for vm in pending:
            self.move(pool.name, vm, "pending", "completed")

    def _reset_and_undo(self, pool: ManagedPool) -> None:
        size, template = self.at_startup[pool.name]
        if self.call("SREM", "vmpooler__poolreset", pool.name):
            self._drain(pool.name)
        if self.call("SREM", "vmpooler__pool__undo_template_override", pool.name):
            self._use_template(pool, template)
        if self.call("SREM", "vmpooler__pool__undo_size_override", pool.name):
            pool.size = size

    # --- clones -----------------------------------------------------------------------------------------------------

    def _start_clone(self, name: str, request: str | None = None, alias: str | None = None) -> None:
        vm = f"{self.prefix}{next(_number)}"
        pipe = self.client.pipeline(transaction=True)
        pipe.sadd(f"vmpooler__pending__{name}", vm)
        fields = {"clone": self.now(), "template": name, "pool": name, "domain": "", "request_id": request}
        for field_name, value in {**fields, "pool_alias": alias}.items():
            if value is not None:
                pipe.hset(f"vmpooler__vm__{vm}", field_name, value)
        pipe.execute()
        self.cloning.append(CloneThread(name, vm, request, alias))

    def end_clones(self, count: int | None = None) -> None:
        """End so many clones, the oldest first; all of them by default."""
        for clone in self.cloning[:count]:
            self.provider.create_vm(self.spec(clone.pool), clone.vm)
            self.call("HSET", f"vmpooler__clone__{self.now()[:10]}", f"{clone.pool}:{clone.vm}", "1.00")
            self.call("HSET", f"vmpooler__vm__{clone.vm}", "clone_time", "1.00")
            self.call("HSET", f"vmpooler__vm__{clone.vm}", "ip", "10.0.0.1")
            self.call("DECR", REQUEST_CLONES if clone.request else CLONES)
        self.cloning[:count] = []

    def kill(self) -> None:
        """Kill it: the clones that it made end nowhere, and its counters stay."""
        self.cloning.clear()

    # --- requests ---------------------------------------------------------------------------------------------------

    def process_ondemand_requests(self) -> None:
        for request in map(name_of, self.call("ZRANGE", "vmpooler__provisioning__request", 0, -1)):
            self._accept(request)
        self._process_ondemand_vms()
        for raw, score in self.client.zrange("vmpooler__provisioning__processing", 0, -1, withscores=True):
            self._check_request_ready(name_of(raw), score)

    def _accept(self, request: str) -> None:
        requested = text_of(self.call("HGET", f"vmpooler__odrequest__{request}", "requested"))
        score = self.call("ZSCORE", "vmpooler__provisioning__request", request)
        for part in (requested or "").split(",") if requested else ():
            self.call("ZADD", "vmpooler__odcreate__task", int(self.clock()), f"{part}:{request}")
        self.call("ZREM", "vmpooler__provisioning__request", request)
        if requested:
            self.call("ZADD", "vmpooler__provisioning__processing", score, request)

    def _process_ondemand_vms(self) -> None:
        for raw, score in self.client.zrange("vmpooler__odcreate__task", 0, -1, withscores=True):
            in_flight = to_i(text_of(self.call("GET", REQUEST_CLONES)) or 0)
            if in_flight >= self.ondemand_clone_limit:
                break
            alias, name, count, request = name_of(raw).split(":")
            started = min(self.ondemand_clone_limit - in_flight, to_i(count))
            for _ in range(started):
                self.call("INCR", REQUEST_CLONES)
                self._start_clone(name, request, alias)
            self.call("ZREM", "vmpooler__odcreate__task", raw)
            if rest := to_i(count) - started:
                self.call("ZADD", "vmpooler__odcreate__task", score, f"{alias}:{name}:{rest}:{request}")

    def _check_request_ready(self, request: str, score: Any) -> None:
        key = f"vmpooler__odrequest__{request}"
        parts = [part.split(":") for part in self.hash_of(key).get("requested", "").split(",") if part]
        if int(self.clock()) - int(float(score or 0)) > self.ondemand_request_ttl * 60:
            self.call("ZREM", "vmpooler__provisioning__processing", request)
            self.call("HSET", key, "status", "failed")
            self.call("EXPIRE", key, DATA_TTL)
            for alias, name, _ in parts:
                for vm in map(name_of, self.call("SMEMBERS", f"vmpooler__{request}__{alias}__{name}")):
                    self.move(name, vm, "running", "completed")
                self.call("EXPIRE", f"vmpooler__{request}__{alias}__{name}", DATA_TTL)
        elif all(self.call("SCARD", f"vmpooler__{request}__{a}__{name}") == to_i(count) for a, name, count in parts):
            self.call("HSET", key, "status", "ready")
            self.call("EXPIRE", key, A_MONTH)
            self.call("ZREM", "vmpooler__provisioning__processing", request)

    # --- what they share --------------------------------------------------------------------------------------------

    def _drain(self, name: str) -> None:
        for queue in ("ready", "pending"):
            for vm in self.members(queue, name):
                self.move(name, vm, queue, "completed")

    def move(self, name: str, vm: str, source: str, target: str) -> None:
        self.call("SMOVE", f"vmpooler__{source}__{name}", f"vmpooler__{target}__{name}", vm)

    def members(self, queue: str, name: str) -> list[str]:
        return sorted(map(name_of, self.call("SMEMBERS", f"vmpooler__{queue}__{name}")))

    def spec(self, name: str) -> PoolSpec:
        pool = self.by_name[name]
        return PoolSpec(name=name, template=pool.template, clone_target=pool.clone_target)

    def hash_of(self, key: str) -> dict[str, str]:
        return {name_of(name): name_of(value) for name, value in self.call("HGETALL", key).items()}

    def call(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    def now(self) -> str:
        return ruby_utc(moment(self.clock())).decode()

    def _age(self, raw: bytes) -> float:
        time_read = parse_time(raw)
        return self.clock() - (time_read.timestamp() if time_read else 0)
