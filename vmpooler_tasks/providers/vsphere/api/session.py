"""One login for all threads of a process. An expired session is renewed, and the call repeated."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from pyVmomi import SoapStubAdapter, vim, vmodl

from vmpooler_tasks.errors import PermanentProviderError, ProviderError, TransientProviderError
from vmpooler_tasks.providers.vsphere.api.faults import BROKEN, ConnectionCutError, SessionEndedError, error_of
from vmpooler_tasks.providers.vsphere.api.references import id_of
from vmpooler_tasks.providers.vsphere.options import VsphereOptions

API_VERSION = "vim.version.version11"
"""vSphere 6.5: every later vCenter understands it, and nothing newer is used."""

IDLE_CONNECTION_SECONDS = 60
"""A connection that was not used for so long is closed: the vCenter, or a firewall, may have closed it already."""

REPEATABLE = frozenset({"RetrievePropertiesEx", "FindByInventoryPath", "FindChild", "FetchUserPrivilegeOnEntities"})
"""Calls that change nothing: they are repeated once if the connection is cut."""


@dataclass(frozen=True, slots=True)
class VcenterLogin:
    """A connection pool with a session, and the vCenter's own objects."""

    stub: Any
    content: Any
    username: str


class VcenterSession:
    """Makes calls on behalf of many threads. Each call is bounded by `call_timeout_seconds`."""

    def __init__(self, options: VsphereOptions) -> None:
        self._options = options
        self._slots = threading.BoundedSemaphore(options.connection_pool_size)
        self._lock = threading.Lock()
        self._login: VcenterLogin | None = None
        self._failure: tuple[float, ProviderError] | None = None

    @property
    def content(self) -> Any:
        """Return the vCenter's own objects: root folder, search index, property collector and so on."""
        return self._logged_in().content

    @property
    def username(self) -> str:
        """Return the name of the login as the vCenter knows it."""
        return self._logged_in().username

    def call(self, managed: Any, method: str, *arguments: Any, renew: bool = True, **named: Any) -> Any:
        """Call a method of a managed object and return its result. Raise a ProviderError.

        If the session has expired, log in again and repeat the call once. With `renew` off raise SessionEndedError.
        """
        login = self._logged_in()
        try:
            return self._invoke(login, managed, method, arguments, named)
        except vim.fault.NotAuthenticated as fault:
            self._forget(login)
            if not renew:
                raise SessionEndedError("the session ended before all pages were read") from fault
        except ConnectionCutError:
            if method not in REPEATABLE:
                raise
        try:
            return self._invoke(self._logged_in(), managed, method, arguments, named)
        except vim.fault.NotAuthenticated as fault:
            raise TransientProviderError("the vCenter does not accept the new session") from fault

    def forget(self, content: Any) -> None:
        """Log in again before the next call, unless another thread did so since it had this content."""
        login = self._login
        if login is not None and login.content is content:
            self._forget(login)

    def close(self) -> None:
        """Log out. A vCenter that does not reply is left to end the session by itself."""
        with self._lock:
            login, self._login = self._login, None
        if login is not None:
            with suppress(vmodl.MethodFault, *BROKEN):
                login.content.sessionManager.Logout()
            login.stub.DropConnections()

    def _invoke(
        self, login: VcenterLogin, managed: Any, method: str, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        bound = type(managed)(id_of(managed), login.stub)  # a reference may come from an earlier session
        with self._slot():
            try:
                return getattr(bound, method)(*arguments, **named)
            except vim.fault.NotAuthenticated:
                raise
            except (vmodl.MethodFault, *BROKEN) as fault:
                raise error_of(fault) from fault
            finally:
                if self._login is not login:  # it ended meanwhile, and its connections were closed before this one
                    login.stub.DropConnections()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        seconds = self._options.connection_pool_timeout
        if not self._slots.acquire(timeout=seconds):
            raise TransientProviderError(f"all connections to the vCenter were busy for {seconds:g} s")
        try:
            yield
        finally:
            self._slots.release()

    def _logged_in(self) -> VcenterLogin:
        """Return the login. One thread logs in; those that waited for it share its result, also a failure."""
        login = self._login
        if login is not None:
            return login
        arrived = monotonic()
        if not self._lock.acquire(timeout=4 * self._options.call_timeout_seconds):
            raise TransientProviderError("the login to the vCenter takes too long")
        try:
            if self._login is not None:
                return self._login
            if self._failure is not None and self._failure[0] > arrived:
                failure = self._failure[1]
                raise type(failure)(str(failure))
            try:
                self._login = self._log_in()
            except ProviderError as error:
                self._failure = monotonic(), error
                raise
            return self._login
        finally:
            self._lock.release()

    def _forget(self, login: VcenterLogin) -> None:
        with self._lock:
            if self._login is login:
                self._login = None
        login.stub.DropConnections()

    def _log_in(self) -> VcenterLogin:
        host, port = self._options.address
        password = self._options.read_password()
        stub = SoapStubAdapter(
            host=host,
            port=port,
            version=API_VERSION,
            poolSize=self._options.connection_pool_size,
            connectionPoolTimeout=IDLE_CONNECTION_SECONDS,
            httpConnectionTimeout=self._options.call_timeout_seconds,
            sslContext=self._tls(),
        )
        try:
            content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
            session = content.sessionManager.Login(self._options.username, password)
        except (vmodl.MethodFault, *BROKEN) as fault:
            stub.DropConnections()
            raise error_of(fault) from fault
        return VcenterLogin(stub, content, session.userName)

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._options.ca_file)
        except OSError as error:
            raise PermanentProviderError(f"ca_file cannot be read: {error}") from error
        if self._options.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
