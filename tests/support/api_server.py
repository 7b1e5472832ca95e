"""What every route of VMPooler 3.9's API server shares: its connection, its memory of the pools, and its tokens."""

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from vmpooler_tasks.model.timestamps import moment, ruby_utc


@dataclass(frozen=True, slots=True)
class Reply:
    """The status and the JSON body of a response. `vms`: the short names of the VMs that it hands out."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    vms: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return bool(self.body.get("ok"))


@dataclass
class ApiPool:
    """An entry of `:pools:` as the API server has it in memory, overrides included."""

    name: str
    size: int = 0
    template: str | None = None
    clone_target: str | None = None
    aliases: tuple[str, ...] = ()


class ApiServer:
    """One API server with its own memory, as it is after its start.

    `client` is a connection that replies in bytes. With `auth` the routes that need a token reply 401 without one.
    `lifetime_auth` is the `vm_lifetime_auth` of its configuration.
    """

    def __init__(
        self,
        client: Any,
        pools: Iterable[ApiPool],
        *,
        clock: Callable[[], float] = time.time,
        auth: bool = False,
        lifetime_auth: int = 0,
        max_instances: int = 10,
        domain: str = "example.com",
        before_command: Callable[[tuple[Any, ...]], object] | None = None,
    ) -> None:
        self.client, self.clock, self.before_command = client, clock, before_command
        self.auth, self.lifetime_auth, self.max_instances, self.domain = auth, lifetime_auth, max_instances, domain
        self.pools = {pool.name: pool for pool in pools}
        self.at_startup = {pool.name: (pool.size, pool.template) for pool in self.pools.values()}
        self.checkout_lock = threading.Lock()
        self.random = random.Random(0)

    def sync(self, what: str, key: str) -> None:
        for name, value in self.hash_of(key).items():
            if name in self.pools:
                setattr(self.pools[name], what, to_i(value) if what == "size" else value)

    def names(self) -> set[str]:
        return {*self.pools, *(alias for pool in self.pools.values() for alias in pool.aliases)}

    def backends_of(self, name: str) -> list[str]:
        """Return the pool of this name and those that have it as an alias."""
        return [pool.name for pool in self.pools.values() if name == pool.name or name in pool.aliases]

    def may(self, token: str | None) -> bool:
        return not self.auth or self.is_valid(token)

    def is_valid(self, token: str | None) -> bool:
        """Return whether the token exists. If so, record its use."""
        if token is None or not self.call("EXISTS", f"vmpooler__token__{token}"):
            return False
        self.call("HSET", f"vmpooler__token__{token}", "last", self.now())
        return True

    def hash_of(self, key: str) -> dict[str, str]:
        return {name_of(name): name_of(value) for name, value in self.call("HGETALL", key).items()}

    def call(self, *command: Any) -> Any:
        if self.before_command:
            self.before_command(command)
        return self.client.execute_command(*command)

    def now(self) -> str:
        return ruby_utc(moment(self.clock())).decode()

    def today(self) -> str:
        return self.now()[:10]

    @staticmethod
    def short(host: str) -> str:
        return host.split(".", 1)[0]


def to_i(text: int | str) -> int:
    """Convert as Ruby's `to_i`: the digits at the start, else 0."""
    digits = str(text).strip()
    length = next((i for i, letter in enumerate(digits) if not letter.isdigit()), len(digits))
    return int(digits[:length] or 0)


def name_of(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def text_of(raw: bytes | None) -> str | None:
    return None if raw is None else name_of(raw)
