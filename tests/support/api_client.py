"""VMPooler 3.9's API server, played by its exact Redis commands: a method for each route of API v3.

Source: `lib/vmpooler/api/v3.rb` and `helpers.rb` of VMPooler. What a route writes, in which order and in how many
commands, is VMPooler's, its races included. `before_command` is called before each command, so that a test can act
between any two of them.
"""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.api_pools import PoolRoutes
from tests.support.api_server import Reply, name_of, text_of, to_i

FIFTEEN_DAYS = 1_296_000
NOTHING_FOUND = "no request found for request_id '{}'"


class ApiClient(PoolRoutes):
    """One API server with its own memory, as it is after its start. See ApiServer for what it takes."""

    def checkout(self, wanted: Mapping[str, int], token: str | None = None) -> Reply:
        """POST /vm: check out VMs by pool or alias. Where one is missing, return what was taken: 503."""
        if any(name not in self.names() for name in wanted):
            return Reply(404, {"ok": False})
        if self.auth and token is not None and not self.is_valid(token):
            return Reply(401, {"ok": False})
        taken: list[tuple[str, str]] = []
        for name, count in wanted.items():
            for _ in range(count):
                if (found := self._take(name)) is None:
                    for pool, vm in taken:
                        self._return(pool, vm)
                    return Reply(503, {"ok": False})
                self._account_for(*found, token)
                taken.append(found)
        return Reply(200, {"ok": True}, tuple(vm for _, vm in taken))

    def checkout_vm(self, vm: str, pool: str, token: str | None = None) -> bool:
        """POST /vm/POOL, where the server names this VM last. Return False if another has it."""
        if not self.call("SMOVE", f"vmpooler__ready__{pool}", f"vmpooler__running__{pool}", vm):
            return False
        self._account_for(pool, vm, token)
        return True

    def delete_vm(self, host: str, token: str | None = None) -> Reply:
        """DELETE /vm/HOST: running → completed, in two commands. Its pool is the `template` of its hash."""
        vm = self.short(host)
        metadata = self.hash_of(f"vmpooler__vm__{vm}")
        if not metadata:
            return Reply(404, {"ok": False})
        if "token:token" in metadata and not self.is_valid(token):
            return Reply(401, {"ok": False})
        pool = metadata.get("template", "")
        if not self.call("SREM", f"vmpooler__running__{pool}", vm):
            return Reply(404, {"ok": False})
        self.call("SADD", f"vmpooler__completed__{pool}", vm)
        return Reply(200, {"ok": True})

    def modify(
        self,
        host: str,
        lifetime: int | None = None,
        tags: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Reply:
        """PUT /vm/HOST: set its lifetime (hours) or tags. A tag is kept in the day's statistics too."""
        vm = self.short(host)
        if not self.call("EXISTS", f"vmpooler__vm__{vm}"):
            return Reply(404, {"ok": False})
        if lifetime is not None and not self.may(token):
            return Reply(401, {"ok": False})
        if lifetime is not None and lifetime <= 0:
            return Reply(400, {"ok": False})
        if lifetime is not None:
            self.call("HSET", f"vmpooler__vm__{vm}", "lifetime", lifetime)
        for tag, value in (tags or {}).items():
            if value:
                self.call("HSET", f"vmpooler__vm__{vm}", f"tag:{tag}", value)
                self.call("HSET", f"vmpooler__tag__{self.today()}", f"{vm}:{tag}", value)
        return Reply(200, {"ok": True})

    def show_vm(self, host: str) -> Reply:
        """GET /vm/HOST: its state, and its disks and snapshots where it has some."""
        vm = self.short(host)
        metadata = self.hash_of(f"vmpooler__vm__{vm}")
        if not metadata:
            return Reply(404, {"ok": False})
        states = (("destroy", "destroyed"), ("checkout", "running"), ("check", "ready"))
        shown: dict[str, Any] = {"state": next((state for name, state in states if name in metadata), "pending")}
        if "disk" in metadata:
            shown["disk"] = metadata["disk"].split(":")
        if snapshots := [name.removeprefix("snapshot:") for name in metadata if name.startswith("snapshot:")]:
            shown["snapshots"] = snapshots
        return Reply(200, {"ok": True, vm: shown})

    def add_disk(self, host: str, gigabytes: int | str, token: str | None = None) -> Reply:
        """POST /vm/HOST/disk/SIZE: order another disk: 202."""
        vm = self.short(host)
        if not self.may(token):
            return Reply(401, {"ok": False})
        if to_i(gigabytes) <= 0 or not self.call("EXISTS", f"vmpooler__vm__{vm}"):
            return Reply(404, {"ok": False})
        self.call("SADD", "vmpooler__tasks__disk", f"{vm}:{gigabytes}")
        return Reply(202, {"ok": True, vm: {"disk": f"+{gigabytes}gb"}})

    def snapshot(self, host: str, token: str | None = None) -> Reply:
        """POST /vm/HOST/snapshot: order a snapshot. Its name is in the body: 202."""
        vm = self.short(host)
        if not self.may(token):
            return Reply(401, {"ok": False})
        if not self.call("EXISTS", f"vmpooler__vm__{vm}"):
            return Reply(404, {"ok": False})
        name = uuid.uuid4().hex
        self.call("SADD", "vmpooler__tasks__snapshot", f"{vm}:{name}")
        return Reply(202, {"ok": True, vm: {"snapshot": name}})

    def revert(self, host: str, snapshot: str, token: str | None = None) -> Reply:
        """POST /vm/HOST/snapshot/NAME: order the return to a snapshot that the VM's hash has: 202."""
        vm = self.short(host)
        if not self.may(token):
            return Reply(401, {"ok": False})
        if not to_i(text_of(self.call("HGET", f"vmpooler__vm__{vm}", f"snapshot:{snapshot}")) or ""):
            return Reply(404, {"ok": False})
        self.call("SADD", "vmpooler__tasks__snapshot-revert", f"{vm}:{snapshot}")
        return Reply(202, {"ok": True})

    def request_vms(self, wanted: Mapping[str, int], request: str | None = None, token: str | None = None) -> Reply:
        """POST /ondemandvm: request VMs, counted for each pool of an alias. It is listed before it says what."""
        if not self.may(token):
            return Reply(401, {"ok": False})
        if any(name not in self.names() for name in wanted):
            return Reply(404, {"ok": False})
        if any(count > self.max_instances for count in wanted.values()):
            return Reply(403, {"ok": False})
        request = request or str(uuid.uuid4())
        key = f"vmpooler__odrequest__{request}"
        if self.call("EXISTS", key):
            return Reply(409, {"ok": False, "request_id": request})
        parts = []
        for name, count in wanted.items():
            chosen = Counter(self.random.choice(self.backends_of(name)) for _ in range(count))
            parts += [f"{name}:{pool}:{number}" for pool, number in chosen.items()]
        if not self.call("ZADD", "vmpooler__provisioning__request", int(self.clock()), request):
            return Reply(201, {"ok": False, "request_id": request})
        self.call("HSET", key, "requested", ",".join(parts))
        if self.auth and token is not None:
            user = text_of(self.call("HGET", f"vmpooler__token__{token}", "user"))
            self.call("HSET", key, "token:token", token)
            self.call("HSET", key, "token:user", user or "")
        return Reply(201, {"ok": True, "request_id": request})

    def show_request(self, request: str) -> Reply:
        """GET /ondemandvm/REQUEST: 200 once it is ready (with its VMs), failed or deleted; else 202 with counts."""
        found = self.hash_of(f"vmpooler__odrequest__{request}")
        if not found:
            return Reply(404, {"ok": False, "message": NOTHING_FOUND.format(request)})
        body: dict[str, Any] = {"ok": True, "request_id": request, "ready": found.get("status") == "ready"}
        if found.get("status") in ("failed", "deleted"):
            return Reply(200, {**body, "message": found["status"]})
        vms: list[str] = []
        for alias, pool, count in _parts(found.get("requested", "")):
            delivered = f"vmpooler__{request}__{alias}__{pool}"
            if body["ready"]:
                names = sorted(map(name_of, self.call("SMEMBERS", delivered)))
                body.setdefault(alias, {"hostname": []})["hostname"] += [f"{vm}.{self.domain}" for vm in names]
                vms += names
            else:
                number = int(self.call("SCARD", delivered))
                sums = body.setdefault(alias, {"ready": 0, "pending": 0})
                body[alias] = {"ready": sums["ready"] + number, "pending": sums["pending"] + int(count) - number}
        return Reply(200 if body["ready"] else 202, body, tuple(vms))

    def delete_request(self, request: str, token: str | None = None) -> Reply:
        """DELETE /ondemandvm/REQUEST: mark it deleted, and move its running VMs to completed one by one."""
        if not self.may(token):
            return Reply(401, {"ok": False})
        key = f"vmpooler__odrequest__{request}"
        requested = text_of(self.call("HGET", key, "requested"))
        if requested is None:
            return Reply(404, {"ok": False, "message": NOTHING_FOUND.format(request)})
        if text_of(self.call("HGET", key, "status")) != "deleted":
            self.call("HSET", key, "status", "deleted")
            for alias, pool, _ in _parts(requested):
                delivered = f"vmpooler__{request}__{alias}__{pool}"
                for vm in self.call("SMEMBERS", delivered):
                    self.call("SMOVE", f"vmpooler__running__{pool}", f"vmpooler__completed__{pool}", vm)
                self.call("DEL", delivered)
            self.call("EXPIRE", key, FIFTEEN_DAYS)
        return Reply(200, {"ok": True})

    def create_token(self, user: str) -> str:
        """POST /token: return a new token of this user."""
        token = uuid.uuid4().hex
        self.call("HSET", f"vmpooler__token__{token}", "user", user)
        self.call("HSET", f"vmpooler__token__{token}", "created", self.now())
        return token

    def delete_token(self, token: str) -> Reply:
        """DELETE /token/TOKEN."""
        removed = bool(self.call("DEL", f"vmpooler__token__{token}"))
        return Reply(200 if removed else 401, {"ok": removed})

    def _take(self, name: str) -> tuple[str, str] | None:
        backends = self.backends_of(name)
        self.random.shuffle(backends)
        with self.checkout_lock:
            for pool in backends:
                vms = sorted(map(name_of, self.call("SMEMBERS", f"vmpooler__ready__{pool}")))
                if not vms:
                    continue
                vm = vms[-1]
                if self.call("SMOVE", f"vmpooler__ready__{pool}", f"vmpooler__running__{pool}", vm):
                    return pool, vm
        return None

    def _account_for(self, pool: str, vm: str, token: str | None) -> None:
        user = text_of(self.call("HGET", f"vmpooler__token__{token or ''}", "user"))
        self.call("SADD", f"vmpooler__migrating__{pool}", vm)
        self.call("HSET", f"vmpooler__active__{pool}", vm, self.now())
        self.call("HSET", f"vmpooler__vm__{vm}", "checkout", self.now())
        if self.auth and token is not None:
            self.call("HSET", f"vmpooler__vm__{vm}", "token:token", token)
            self.call("HSET", f"vmpooler__vm__{vm}", "token:user", user or "")
            if self.lifetime_auth > 0:
                self.call("HSET", f"vmpooler__vm__{vm}", "lifetime", self.lifetime_auth)

    def _return(self, pool: str, vm: str) -> None:
        self.call("SREM", f"vmpooler__migrating__{pool}", vm)
        self.call("HDEL", f"vmpooler__active__{pool}", vm)
        self.call("HDEL", f"vmpooler__vm__{vm}", "checkout", "token:token", "token:user")
        self.call("SMOVE", f"vmpooler__running__{pool}", f"vmpooler__ready__{pool}", vm)


def _parts(requested: str) -> Iterator[Sequence[str]]:
    """Read `alias:pool:count,…`."""
    return (part.split(":") for part in requested.split(",") if part)
