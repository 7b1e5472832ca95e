"""Workers that can be stopped in the middle of what they ask of a provider: for a while, or for ever."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.order_world import WithOrders
from tests.support.pool_world import ManualRenewer
from vmpooler_tasks.errors import PermanentProviderError
from vmpooler_tasks.jobs.pools.context import Work
from vmpooler_tasks.providers import PoolSpec, VirtualMachine


class PowerFailureError(PermanentProviderError):
    """What ends the thread of a worker that is dead already, when a test is over."""


class Gate:
    """`still` is set when the worker waits at the gate, or has ended without coming to it."""

    def __init__(self) -> None:
        self.still, self.opened = threading.Event(), threading.Event()
        self.reached = False
        self.error: Exception | None = None

    def wait(self) -> None:
        self.reached = True
        self.still.set()
        self.opened.wait()
        if self.error:
            raise self.error


@dataclass(frozen=True, slots=True)
class Turn:
    """How one call goes: it waits at the gate, or raises, before or after the provider did its work."""

    after: bool
    gate: Gate | None = None
    error: Exception | None = None
    addressless: bool = False

    def take(self) -> None:
        if self.gate:
            self.gate.wait()
        if self.error:
            raise self.error


class Staged(WithOrders):
    """A provider whose next calls for one VM go as they were staged; every other does what it should."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: dict[tuple[str, str], deque[Turn]] = {}
        self.made_from: dict[str, tuple[str | None, str]] = {}

    def stage(self, operation: str, vm: str, *turns: Turn) -> None:
        self.turns[operation, vm] = deque(turns)

    def create_vm(self, pool: PoolSpec, vm: str) -> VirtualMachine:
        with self._staged("create", vm) as turn:
            made = super().create_vm(pool, vm)
            self.made_from.setdefault(vm, (pool.template, pool.clone_target or ""))
        return VirtualMachine(name=vm) if turn and turn.addressless else made

    def destroy_vm(self, pool: PoolSpec, vm: str) -> bool:
        with self._staged("destroy", vm):
            return super().destroy_vm(pool, vm)

    @contextmanager
    def _staged(self, operation: str, vm: str) -> Iterator[Turn | None]:
        turns = self.turns.get((operation, vm))
        turn = turns.popleft() if turns else None
        if turn and not turn.after:
            turn.take()
        yield turn
        if turn and turn.after:
            turn.take()


@dataclass(eq=False)
class Holder:
    """A worker at work on one VM, in a thread of its own, until it waits at its gate or has ended."""

    work: Work
    owner: str
    leases: ManualRenewer
    run: Callable[[], str]
    gate: Gate = field(default_factory=Gate)
    outcome: str = ""
    error: Exception | None = None
    leased_until: float = 0.0

    def start(self) -> None:
        """Comes back when the worker waits or has ended: so everything happens in an order that can be repeated."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.gate.still.wait(30)

    def _run(self) -> None:
        try:
            self.outcome = self.run()
        except Exception as error:  # noqa: BLE001 - the test that started it checks it
            self.error = error
        self.gate.still.set()

    @property
    def waits(self) -> bool:
        return self.gate.reached and not self.gate.opened.is_set()

    def release(self, error: Exception | None = None) -> None:
        """It goes on, and to its end; with `error` the provider raises it."""
        self.gate.error = error
        self.gate.opened.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
