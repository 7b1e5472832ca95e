"""The connection to a host: one for each process, opened when it is needed, and again when it was lost.

libvirt's connections may be used by many threads at once. A step runs in a thread of its own, which is abandoned at
its time limit together with its connection: a call into libvirt's library cannot be interrupted.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import libvirt

from vmpooler_tasks.errors import TransientProviderError
from vmpooler_tasks.providers.libvirt.errors.faults import as_provider_error
from vmpooler_tasks.providers.libvirt.options import LibvirtOptions

T = TypeVar("T")

KEEPALIVE_SECONDS = 5
"""After this silence a host is queried whether it is there."""

KEEPALIVE_COUNT = 3
"""After so many queries without a reply the connection is lost, and each call on it fails."""


class Host:
    """A host, by the name that the configuration gives it."""

    def __init__(self, name: str, uri: str, options: LibvirtOptions) -> None:
        self.name, self._uri, self._options = name, uri, options
        self._session = _Session()

    def change(self, step: Callable[[Any], T], *, vm: str = "") -> T:
        """Return what the step returns, as `call` does. It changes something, and may take longer than a query."""
        return self.call(step, vm=vm, seconds=self._options.change_seconds)

    def call(self, step: Callable[[Any], T], *, vm: str = "", seconds: float | None = None, repeats: bool = True) -> T:
        """Return what the step returns, which is called with the connection.

        Raise a ProviderError, without the name of the VM. If the connection was lost, open another one and repeat the
        step, unless it must not be repeated.
        """
        session = self._session
        try:
            return self._call_within(session, step, seconds or self._options.call_seconds)
        except libvirt.libvirtError as error:
            lost = session.is_lost()
            if lost:
                self._renew(session)
            if not (lost and repeats):
                raise as_provider_error(error, self.name, vm) from error
        try:
            return self._call_within(self._session, step, seconds or self._options.call_seconds)
        except libvirt.libvirtError as error:
            raise as_provider_error(error, self.name, vm) from error

    def close(self) -> None:
        self._session.close()

    def _call_within(self, session: "_Session", step: Callable[[Any], T], seconds: float) -> T:
        outcome: list[Any] = []
        done, given_up = threading.Event(), threading.Event()

        def run() -> None:
            try:
                with session.in_use():
                    connection = session.connection(self._open)
                    if given_up.is_set():  # the connection came too late: the caller may have repeated the step
                        return
                    outcome.extend((True, step(connection)))
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
                outcome.extend((False, error))
            done.set()

        threading.Thread(target=run, name=f"libvirt-{self.name}", daemon=True).start()
        if not done.wait(seconds):
            given_up.set()
            self._renew(session)
            raise TransientProviderError(f"{self.name}: libvirt did not reply within {seconds:g} seconds")
        succeeded, result = outcome
        if not succeeded:
            raise result
        return result  # type: ignore[no-any-return]  # it is what the step returned

    def _renew(self, session: "_Session") -> None:
        if self._session is session:
            self._session = _Session()

    def _open(self) -> Any:
        _handle_events()
        connection = libvirt.openAuth(self._uri, [CREDENTIAL_TYPES, self._fill_in, None], 0)
        with suppress(libvirt.libvirtError):  # the driver has no keepalive: it does not leave this process
            connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
        return connection

    def _fill_in(self, credentials: list[list[Any]], _: object) -> int:
        """Put the login into libvirt's questions. Return -1 if one of them is about something else."""
        password = self._options.password
        for credential in credentials:
            if credential[0] in NAME_TYPES and self._options.username:
                credential[4] = self._options.username
            elif credential[0] in PASSWORD_TYPES and password:
                credential[4] = password.get_secret_value()
            else:
                return -1
        return 0


NAME_TYPES = (libvirt.VIR_CRED_USERNAME, libvirt.VIR_CRED_AUTHNAME)
PASSWORD_TYPES = (libvirt.VIR_CRED_PASSPHRASE, libvirt.VIR_CRED_NOECHOPROMPT)
CREDENTIAL_TYPES = [*NAME_TYPES, *PASSWORD_TYPES]


class _Session:
    """A connection that is opened once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._uses: set[object] = set()
        self._is_closed = False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the connection from being closed meanwhile. Raise TransientProviderError if it is closed."""
        use = object()
        self._uses.add(use)
        try:
            if self._is_closed:
                raise TransientProviderError("the connection is closed")
            yield
        finally:
            self._uses.discard(use)

    def connection(self, open_connection: Callable[[], Any]) -> Any:
        with self._lock:
            if self._connection is None:
                self._connection = open_connection()
            return self._connection

    def is_lost(self) -> bool:
        """Return whether there was a connection, and it is of no more use."""
        connection = self._connection
        if connection is None:
            return False
        try:
            return not connection.isAlive()
        except libvirt.libvirtError:
            return True

    def close(self) -> None:
        """Close the connection. One that is in use ends with the process: libvirt would free it under its calls."""
        self._is_closed = True
        with suppress(libvirt.libvirtError):
            if self._connection is not None and not self._uses:
                self._connection.close()


_events = threading.Lock()
_events_started = threading.Event()


def require_threads() -> None:
    """Raise ValueError in a worker with greenlets, which all stand still during a call of libvirt's library."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey and monkey.is_module_patched("threading"):
        raise ValueError("libvirt's library blocks greenlets: start the worker with -P threads or -P prefork")


def _handle_events() -> None:
    """Start the thread that sends and receives keepalive messages, once in each process.

    Keep libvirt from writing its errors to stderr: they are raised, too.
    """
    with _events:
        if _events_started.is_set():
            return
        libvirt.registerErrorHandler(lambda *_: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_events, name="libvirt-events", daemon=True).start()
        _events_started.set()


def _run_events() -> None:
    while True:
        with suppress(libvirt.libvirtError):
            libvirt.virEventRunDefaultImpl()
