"""A vCenter for the tests: govmomi's simulator, compiled once for each version of `tests/support/vcenter`."""

import fcntl
import hashlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.servers import required

SOURCES = Path(__file__).with_name("vcenter")
LIBRARY = Path("/usr/share/gocode")
"""Where Debian's package golang-github-vmware-govmomi-dev puts the library."""

BUILD_SECONDS = 900
USER, PASSWORD = "vmpooler@vsphere.local", "s3cret-of-vcenter"
DATACENTER, CLUSTER, DATASTORE = "DC0", "DC0_C0", "LocalDS_0"
TEMPLATE = "Templates/debian-12-x86_64"
FOLDER = "Pooled VMs/debian-12-x86_64"
"""What the simulator has at its start, and an empty folder `Pooled VMs/other`."""


@dataclass
class Vcenter:
    """A running simulator. Its control page says how calls go, and shows what is there without the API."""

    port: int
    control: str
    certificate_authority: Path
    datastores: Path
    process: "subprocess.Popen[str]" = field(repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """A section of `:providers:` for this server."""
        return {
            "server": f"127.0.0.1:{self.port}",
            "username": USER,
            "password": PASSWORD,
            "ca_file": str(self.certificate_authority),
            "datacenter": DATACENTER,
            "ready_port": self.guest_port,
        }

    def ask(self, **request: Any) -> dict[str, Any]:
        body = json.dumps(request).encode()
        with urllib.request.urlopen(self.control, body, timeout=120) as response:  # noqa: S310
            result: dict[str, Any] = json.load(response)
        return result

    @property
    def guest_port(self) -> int:
        """The TCP port that is open on every guest with an address."""
        port: int = self.ask()["guest_port"]
        return port

    def configure(self, **settings: Any) -> None:
        """Set how the next calls go. What is not named is as usual: no delay, no fault."""
        self.ask(settings=settings)

    def fail(self, method: str, fault: str, message: str = "", *, count: int = 1, **more: Any) -> None:
        """Let the next calls of this method fail with this fault."""
        named = {"method": method, "name": fault, "message": message, "count": count, **more}
        self.configure(faults=[named])

    def calls(self) -> Mapping[str, int]:
        """Return how often each method was called since the last call of `forget_calls`."""
        found: dict[str, int] = self.ask()["calls"]
        return found

    def forget_calls(self) -> None:
        self.ask(forget_calls=True)

    def vms(self, folder: str = FOLDER) -> list[dict[str, Any]]:
        """Return what the simulator knows of the VMs in a folder."""
        found: list[dict[str, Any]] = self.ask(folder=_path(folder))["vms"]
        return found

    def vm(self, name: str, folder: str = FOLDER) -> dict[str, Any]:
        [found] = [vm for vm in self.vms(folder) if vm["name"] == name]
        return found

    def add(self, names: Sequence[str], *, folder: str = FOLDER, annotation: str = "", on: bool = False) -> None:
        """Put VMs into a folder that somebody else made."""
        self.ask(folder=_path(folder), names=list(names), annotation=annotation, on=on)

    def empty(self, folder: str = FOLDER) -> None:
        """Destroy all VMs in a folder."""
        self.ask(folder=_path(folder), empty=True)

    def files(self) -> set[str]:
        """Return the files in all datastores."""
        return {str(path) for path in self.datastores.rglob("*") if path.is_file()}

    def change(self, path: str, **properties: Any) -> None:
        """Change properties of the object at this path of the inventory. `__` in a name stands for a dot."""
        self.ask(change={path: {name.replace("__", "."): value for name, value in properties.items()}})

    def expire_sessions(self) -> None:
        self.ask(expire=True)


def _path(folder: str) -> str:
    return f"/{DATACENTER}/vm/{folder}"


@contextmanager
def running(folder: Path) -> Iterator[Vcenter]:
    """Start a simulator. Skip the test if Go or the library is missing; in CI, fail it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    command = [str(_program()), "-certificate", str(folder / "server.pem"), "-user", USER, "-password", PASSWORD]
    datastores = folder / "datastores"
    datastores.mkdir()
    with (folder / "vcenter.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # its end ends the simulator, also if the tests die
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "TMPDIR": str(datastores)},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / "vcenter.log").read_text()
        address = json.loads(line)
        yield Vcenter(address["port"], address["control"], folder / "authority.pem", datastores, process)
    finally:
        process.communicate(timeout=60)


def _program() -> Path:
    """Return the compiled simulator. The first call on a machine compiles it, which takes half a minute or more."""
    go = required("go")
    if not (LIBRARY / "src/github.com/vmware/govmomi/simulator").is_dir():
        if os.environ.get("CI"):
            pytest.fail("govmomi's library is not installed; .ci/run should have done that")
        pytest.skip("govmomi's library is not installed (on Debian: apt install golang-github-vmware-govmomi-dev)")
    sources = b"".join(path.read_bytes() for path in sorted(SOURCES.glob("*.go")))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmpooler-tasks-tests"
    program = cache / f"vcenter-{hashlib.sha256(sources).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "vcenter.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may share a machine
        if not program.exists():
            made = program.with_suffix(".new")
            environment = {
                **os.environ,
                "GO111MODULE": "off",
                "GOPATH": f"{LIBRARY}:{cache / 'go'}",
                "GOCACHE": str(cache / "go-build"),
            }
            subprocess.run(
                [go, "build", "-o", str(made), "."], cwd=SOURCES, env=environment, check=True, timeout=BUILD_SECONDS
            )
            made.rename(program)
    return program
