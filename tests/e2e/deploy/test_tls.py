"""One `rediss://` address for the whole product, on a real server with certificates."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support import days_work
from tests.support.commands import CommandLine
from tests.support.processes import Installation
from tests.support.servers import TestServer
from vmpooler_tasks.store import Database

pytestmark = pytest.mark.stage(name="deployment")

PASSWORD = "s3cr3t-word"


class Certificates:
    """Of an authority, of a server that is 127.0.0.1, of a server that is somebody else, and of a client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        for name, identity in (("server", "127.0.0.1"), ("elsewhere", "example.com"), ("client", "worker")):
            issued = authority.issue_cert(identity)
            issued.private_key_pem.write_to_path(folder / f"{name}.key")
            issued.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")

    def query(self, *, client: bool = True) -> str:
        own = f"&ssl_certfile={self.folder}/client.pem&ssl_keyfile={self.folder}/client.key" if client else ""
        return f"?ssl_ca_certs={self.folder}/ca.pem{own}"


class TlsServer(TestServer):
    """A Redis that speaks TLS alone, and wants a certificate of its clients."""

    __test__ = False

    def __init__(self, folder: Path, certificates: Certificates, name: str = "server") -> None:
        super().__init__("redis", folder, password=PASSWORD)
        self._command += [
            "--port",
            "0",
            "--tls-port",
            str(self.port),
            "--tls-ca-cert-file",
            f"{certificates.folder}/ca.pem",
            "--tls-cert-file",
            f"{certificates.folder}/{name}.pem",
            "--tls-key-file",
            f"{certificates.folder}/{name}.key",
            "--tls-auth-clients",
            "yes",
        ]
        self.bare = self.url.replace("redis://", "rediss://")
        checked = "&ssl_check_hostname=false" if name == "elsewhere" else ""
        self.url = f"{self.bare}{certificates.query()}{checked}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[TlsServer]:
    server = TlsServer(tmp_path_factory.mktemp("tls"), certificates)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_the_whole_product_works(secured: TlsServer, tmp_path: Path) -> None:
    database = Database(secured.url)
    database.call("FLUSHALL")
    with Installation(secured.url, tmp_path) as installation:
        days_work.work(installation, database)
        assert PASSWORD not in "".join(path.read_text() for path in tmp_path.glob("*.log"))
    database.close()


def test_without_verification_any_certificate_will_do(secured: TlsServer, certificates: Certificates) -> None:
    own = certificates.query().replace("?ssl_ca_certs", "?ssl_cert_reqs=none&ssl_ca_certs")
    database = Database(f"{secured.bare}{own}")
    assert database.call("PING")
    database.close()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "certificate verify failed"),
        ("?ssl_cert_reqs=required", "certificate verify failed"),
        ("?ssl_cert_reqs=none", "certificate required"),
        ("?ssl_ca_certs={folder}/server.pem", "certificate verify failed"),
    ],
)
@pytest.mark.parametrize("command", [("health",), ("purge", "--enqueue"), ("doctor",)], ids=" ".join)
def test_a_certificate_that_is_not_good_is_one_line(
    query: str, said: str, command: tuple[str, ...], secured: TlsServer, certificates: Certificates, tmp_path: Path
) -> None:
    url = secured.bare + query.format(folder=certificates.folder)
    done = CommandLine(tmp_path, Installation(url, tmp_path).environment)(*command)
    shown = done.out + done.err
    assert done.status == 69, done
    # The server may close the line while its complaint of a missing certificate is still on the way.
    assert said in shown or (said == "certificate required" and "EOF occurred" in shown), done
    assert f"rediss://127.0.0.1:{secured.port}/0" in shown
    assert PASSWORD not in shown
    assert "Traceback" not in shown
    assert len(done.err.splitlines()) == (0 if command == ("doctor",) else 1)


def test_another_hosts_certificate_is_refused_unless_names_are_not_looked_at(
    certificates: Certificates, tmp_path: Path
) -> None:
    server = TlsServer(tmp_path, certificates, "elsewhere")
    try:
        server.start()
        url = server.url.replace("&ssl_check_hostname=false", "")
        done = CommandLine(tmp_path, Installation(url, tmp_path).environment)("health")
        assert (done.status, "mismatch" in done.err, len(done.err.splitlines())) == (69, True, 1), done
    finally:
        server.stop()


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_a_worker_and_a_beat_say_it_in_a_line(program: str, secured: TlsServer, tmp_path: Path) -> None:
    with Installation(secured.bare, tmp_path) as installation:
        process = installation.celery(program, "--loglevel", "INFO", name=program).start()
        process.says("certificate verify failed")
        assert "Traceback" not in process.log
        assert PASSWORD not in process.log
