"""`vmpooler-tasks web` as a process: its address, its users, and its end."""

import base64
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from tests.support.fleet import beat, keeping_alive, worker
from tests.support.ports import free_port
from tests.support.processes import PATIENCE, ROOT, Installation, Process, until
from tests.support.servers import TestServer
from tests.support.web import OPERATOR, PASSWORD, serving, web_settings
from tests.support.world import World
from vmpooler_tasks.clock import system_clock
from vmpooler_tasks.jobs.health import check as health_check
from vmpooler_tasks.web import identity

USERS = f"olga:operate:{PASSWORD}"


def web(
    installation: Installation, *arguments: str, environment: dict[str, str] | None = None, port: int | None = None
) -> tuple[Process, int]:
    """Return the process, which is not started yet, and its port."""
    port = port or free_port()
    process = Process(
        [str(installation.programs / "vmpooler-tasks"), "web", "--port", str(port), *arguments],
        folder=installation.folder,
        environment={**installation.environment, **(environment or {})},
        log=installation.folder / "web.log",
    )
    installation.keep(process)
    return process, port


def status_of(port: int, path: str, **options: Any) -> int:
    return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE, **options).status_code


def refused(installation: Installation, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    process, _ = web(installation, *arguments, environment=environment)
    status = process.start().exit_status()
    return status, process.log


def test_it_serves_until_a_signal_stops_it(installation: Installation) -> None:
    process, port = web(installation)
    process.start().says(f"Serving http://127.0.0.1:{port}/ for everybody on this machine, without a login")
    until(lambda: status_of(port, "/readyz") == 200, "it is ready")
    process.signal(signal.SIGTERM)
    assert process.exit_status() == 0
    process.says("[*] [web] Stopped")
    assert "Traceback" not in process.log


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com"])  # noqa: S104
def test_off_loopback_it_needs_credentials(installation: Installation, host: str) -> None:
    status, said = refused(installation, "--host", host)
    assert (status, said.count("\n")) == (78, 2)
    assert f"web.host: '{host}' is not loopback: users or tokens are needed (WEB_USERS, WEB_TOKENS)" in said


def test_off_loopback_it_serves_with_credentials(installation: Installation) -> None:
    process, port = web(installation, "--host", "0.0.0.0", environment={"WEB_USERS": USERS})  # noqa: S104
    process.start().says("for 1 user and 0 tokens")
    assert status_of(port, "/api/v1/queue/overview") == 401
    assert status_of(port, "/api/v1/queue/overview", auth=OPERATOR) == 200


def test_a_port_that_is_taken_is_one_line(installation: Installation) -> None:
    first, port = web(installation)
    first.start().says("Serving")
    second, _ = web(installation, port=port)
    assert second.start().exit_status() == 69
    assert second.log.splitlines()[-1] == f"vmpooler-tasks: Cannot listen: 127.0.0.1:{port}: Address already in use"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"WEB_USERS": "olga:boss:secret-1"}, "web.users[0].role: must be read or operate (from WEB_USERS)"),
        ({"WEB_USERS": "olga"}, "web.users[0].secret: is missing"),
        ({"WEB_TLS_KEY": "key.pem"}, "HTTPS needs both"),
        ({"WEB_TLS_KEY": "k.pem", "WEB_TLS_CERTIFICATE": "c.pem"}, "web.tls_certificate: 'c.pem' cannot be read"),
        ({"WEB_TOKENS": "p:read:change-me"}, "web.tokens: 'p' still has the secret of the sample: choose another"),
        ({"WEB_USERS": "a:read:secret-1,a:read:secret-2"}, "web.users: 'a' is given twice"),
    ],
)
def test_wrong_configuration_is_reported(installation: Installation, environment: dict[str, str], problem: str) -> None:
    status, said = refused(installation, environment=environment)
    assert (status, problem in said, "secret-1" in said) == (78, True, False), said


def test_with_a_certificate_it_speaks_https(installation: Installation, tmp_path: Path) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files = {"WEB_TLS_CERTIFICATE": str(tmp_path / "cert.pem"), "WEB_TLS_KEY": str(tmp_path / "key.pem")}
    process, port = web(installation, environment={"WEB_USERS": USERS, **files})
    process.start().says(f"Serving https://127.0.0.1:{port}/")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with httpx.Client(base_url=f"https://localhost:{port}", verify=trusting, timeout=PATIENCE) as client:
        response = client.post("/api/v1/session", json={"user": "olga", "password": PASSWORD})
        assert response.headers["set-cookie"].startswith("__Host-vmpooler_tasks_session=")
        assert "Secure" in response.headers["set-cookie"]
        assert response.headers["strict-transport-security"].startswith("max-age=")
        assert client.get("/api/v1/queue/overview").status_code == 200


def test_invalid_certificate_is_one_line(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("no certificate")
    files = {"WEB_TLS_CERTIFICATE": str(tmp_path / "cert.pem"), "WEB_TLS_KEY": str(tmp_path / "cert.pem")}
    status, said = refused(installation, environment=files)
    assert (status, "Traceback" in said, "Cannot listen" in said) == (69, False, True), said


def test_it_serves_without_redis_and_is_ready_when_redis_comes(installation: Installation, valkey: TestServer) -> None:
    valkey.kill()
    try:
        process, port = web(installation)
        process.start().says("Serving")
        assert status_of(port, "/healthz") == 200
        assert status_of(port, "/readyz") == 503
        assert status_of(port, "/") == 200
    finally:
        valkey.start()
    until(lambda: status_of(port, "/readyz") == 200, "it is ready again")


@pytest.mark.stage(name="api")
@pytest.mark.timeout(600)
def test_api_is_what_its_openapi_document_says(
    valkey: TestServer, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Schemathesis sends what the OpenAPI document allows, and much that it does not allow."""
    monkeypatch.setattr(identity, "FAILURES_A_MINUTE", 1_000_000)
    settings = web_settings(valkey.url)
    login = base64.b64encode(f"olga:{PASSWORD}".encode()).decode()
    with keeping_alive(world.db, worker(), beat()), serving(valkey.url, settings) as address:
        health_check.run(world.db, settings, system_clock)
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "schemathesis"),
                "--config-file",
                str(ROOT / "tests/data/schemathesis.toml"),
                "run",
                f"{address}/openapi.json",
                "--header",
                f"Authorization: Basic {login}",
                "--max-examples",
                "40",
                "--generation-deterministic",
                "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
