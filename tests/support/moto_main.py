"""Moto's server with what AWS has and moto lacks: `python -m tests.support.moto_main PORT`.

- A repeated RunInstances or CreateVolume with the same client token returns what the first one made, alive or not. With
  other parameters it fails (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html).
- Instances may be pending for a while. No volume can be attached to one that has ended.
- Quotas of EC2, as a test sets them.
- Calls fail, hang or lose their connection, as `Fault` says.
"""

import io
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

os.environ.update(
    MOTO_ENABLE_AMI_VALIDATION="true",
    MOTO_ENABLE_KEYPAIR_VALIDATION="true",
    MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
)

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_block_store import EBSBackend
from moto.ec2.models.instances import Instance, InstanceBackend, Reservation
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.ec2.utils import random_instance_id, random_reservation_id
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend
from werkzeug.serving import run_simple

from tests.support.moto_server import IMAGE, REGION

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]

NO_TOKEN = "ABCDE"
"""What moto takes for a request without a client token."""

ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>
<RequestID>test</RequestID></Response>"""


@dataclass
class Fault:
    """Calls of `action` (`*`: all) fail with `code`, or after `seconds`, or lose their connection (`cut`).

    The code `garbled` is a reply that is no XML.
    """

    action: str
    code: str = ""
    message: str = "refused by the test"
    status: int = 400
    times: int = 1_000_000
    seconds: float = 0.0
    cut: str = ""
    """`before`: the call is not carried out. `after`: it is carried out, and the reply is lost."""
    where: str = ""
    """Text that the body of the request contains, e.g. the id of a subnet."""

    def hits(self, action: str, body: str) -> bool:
        return self.times > 0 and self.action in {"*", action} and self.where in body


class Application:
    """Moto's application, behind the faults."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._calls: list[str] = []

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        path = environ["PATH_INFO"]
        if path.startswith("/test/"):
            return self._order(path, body, start_response)
        if path.startswith("/moto-api/"):
            return self._moto(environ, start_response)  # type: ignore[no-any-return]
        fields = parse_qs(body.decode())
        action = fields.get("Action", [f"{environ['REQUEST_METHOD']} {path}"])[0]
        fault = self._count(action, body.decode(), is_dry=fields.get("DryRun") == ["true"])
        return self._moto(environ, start_response) if fault is None else self._fail(fault, environ, start_response)

    def _count(self, action: str, body: str, *, is_dry: bool) -> Fault | None:
        with self._lock:
            if not is_dry:
                self._calls.append(action)
            fault = next((fault for fault in self._faults if fault.hits(action, body)), None)
            if fault:
                fault.times -= 1
            return fault

    def _fail(self, fault: Fault, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        time.sleep(fault.seconds)
        if fault.code == "garbled":
            start_response("502 Bad Gateway", [("Content-Type", "text/html")])
            return [b"<!doctype html><title>502 Bad Gateway</title>"]
        if fault.code:
            start_response(f"{fault.status} Error", [("Content-Type", "text/xml")])
            return [ERROR.format(code=fault.code, message=fault.message).encode()]
        if fault.cut != "before":
            reply: Iterable[bytes] = list(self._moto(environ, start_response))
        if fault.cut:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            start_response("200 OK", [])
            return []
        return reply

    def _order(self, path: str, body: bytes, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            match path:
                case "/test/faults":
                    self._faults = [Fault(**fields) for fields in json.loads(body)]
                case "/test/pending":
                    PENDING.seconds = json.loads(body)
                case "/test/fill":
                    fill(*json.loads(body))
                case "/test/quota":
                    code, QUOTAS[code] = json.loads(body)
                case "/test/forget":
                    self._calls = []
                case "/test/reset":
                    self._faults, self._calls, PENDING.seconds = [], [], 0.0
                    REQUESTS.clear()
                    QUOTAS.clear()
            reply = json.dumps(self._calls).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [reply]


class Pending:
    """How long a new instance is pending."""

    seconds = 0.0


PENDING = Pending()
REQUESTS: dict[tuple[int, str], tuple[str, Any]] = {}
"""Backend and client token → the request, and what it made."""

QUOTAS: dict[str, float] = {}
"""Code → value of the quotas of EC2 that there are."""

_making = threading.Lock()
_ending = threading.Lock()


def once(backend: Any, token: str, request: str, make: Callable[[], Any]) -> Any:
    """Return what an earlier request with this token made, else make it."""
    with _making:
        known = REQUESTS.get((id(backend), token))
        if known and known[0] != request:
            raise EC2ClientError("IdempotentParameterMismatch", "The client token was used with other parameters")
        made = known[1] if known else make()
        REQUESTS[id(backend), token] = request, made
        return made


_get_service_quota = ServiceQuotasBackend.get_service_quota
_run_instances = InstanceBackend.run_instances
_create_volume = EBSBackend.create_volume
_attach_volume = EBSBackend.attach_volume
_terminate = Instance.terminate
_create_volume_response = ElasticBlockStore.create_volume
_of_thread = threading.local()


def run_instances(self: Any, *arguments: Any, **options: Any) -> Any:
    def make() -> Any:
        reservation = _run_instances(self, *arguments, **options)
        for instance in reservation.instances if PENDING.seconds else ():
            instance._state.name, instance._state.code = "pending", 0
            threading.Timer(PENDING.seconds, started, [instance]).start()
        return reservation

    token = options["client_token"]
    return make() if token == NO_TOKEN else once(self, token, repr((arguments, sorted(options.items()))), make)


def fill(names: list[str], tags: dict[str, str]) -> None:
    """Start one instance, and put copies of it beside it: a thousand starts would take a minute."""
    backend = ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
    [first] = _run_instances(
        backend,
        IMAGE,
        1,
        None,
        [],
        tags={},
        client_token=NO_TOKEN,
        instance_type="t3.micro",
        is_instance_type_default=False,
        region_name=REGION,
        nics=[],
    ).instances
    for name in names:
        instance, reservation = copy(first), Reservation(random_reservation_id(), DEFAULT_ACCOUNT_ID)
        instance.id = random_instance_id()
        reservation.instances = [instance]
        backend.reservations[reservation.id] = reservation
        instance.add_tags({**tags, "vm_name": name, "Name": name})


def get_service_quota(self: Any, service_code: str, quota_code: str) -> dict[str, Any]:
    if service_code != "ec2":
        return _get_service_quota(self, service_code, quota_code)
    if quota_code not in QUOTAS:
        raise NoSuchResource
    return {"QuotaCode": quota_code, "Value": QUOTAS[quota_code]}


def get_tags(self: Any) -> list[dict[str, str]]:
    """Return the tags of one resource. Moto's own method reads those of all resources: minutes for 2,500 instances."""
    return [{"key": key, "value": value} for key, value in dict(self.ec2_backend.tags.get(self.id, {})).items()]


def started(instance: Any) -> None:
    if instance._state.name == "pending":
        instance._state.name, instance._state.code, instance.launch_time = "running", 16, utcnow()


def create_volume_response(self: Any) -> Any:
    _of_thread.token = self._get_param("ClientToken")
    return _create_volume_response(self)


def create_volume(self: Any, *arguments: Any, **options: Any) -> Any:
    token, _of_thread.token = getattr(_of_thread, "token", None), None

    def make() -> Any:
        return _create_volume(self, *arguments, **options)

    return once(self, token, repr((arguments, sorted(options.items()))), make) if token else make()


def attach_volume(self: Any, volume_id: str, instance_id: str, *arguments: Any, **options: Any) -> Any:
    with _ending:
        if self.get_instance(instance_id).state not in ("running", "stopping", "stopped"):
            raise EC2ClientError("IncorrectState", f"Instance '{instance_id}' is not 'running'.")
        return _attach_volume(self, volume_id, instance_id, *arguments, **options)


def terminate(self: Any) -> Any:
    with _ending:
        return _terminate(self)


def main(port: int) -> None:
    os.environ["MOTO_PORT"] = str(port)
    InstanceBackend.run_instances = run_instances  # type: ignore[method-assign]
    TaggedEC2Resource.get_tags = get_tags  # type: ignore[method-assign]
    ServiceQuotasBackend.get_service_quota = get_service_quota  # type: ignore[method-assign]
    Instance.terminate = terminate  # type: ignore[method-assign]
    EBSBackend.attach_volume = attach_volume  # type: ignore[method-assign]
    EBSBackend.create_volume = create_volume  # type: ignore[method-assign]
    ElasticBlockStore.create_volume = create_volume_response  # type: ignore[method-assign]
    run_simple("127.0.0.1", port, Application(), threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main(int(sys.argv[1]))
