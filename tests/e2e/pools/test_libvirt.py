"""docs/providers/libvirt.md, from nothing to a filled pool, on real guests: its commands, and all workers of Procfile.

Then a VM is checked out, used, returned and replaced, while a person's own domain runs beside the pool.
"""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.api_client import ApiClient
from tests.support.api_server import ApiPool
from tests.support.deployment import procfile
from tests.support.guide import Fence, fences
from tests.support.libvirt_guests import NETWORK, Hypervisor, hypervisor
from tests.support.processes import ROOT, Installation, Process, until
from tests.support.servers import running
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import Database, keys

pytestmark = [pytest.mark.stage(name="guests"), pytest.mark.timeout(1800)]

DOCUMENT = "docs/providers/libvirt.md"
POOL, SIZE = "debian-12-x86_64", 3
TEMPLATE = "debian-12-template"
OWN = "brave-curie"
"""A person's domain, with a name of the pool's form."""

SECONDS = 900
"""Guests start slowly without KVM on a busy machine."""


def blocks(language: str) -> Iterator[Fence]:
    """Yield the blocks of the document's example."""
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    example = text[text.index("## One machine") : text.index("## What belongs")]
    return (fence for fence in fences(example) if fence.language == language)


class Site:
    """The machine of the document. Its commands run in the namespaces of the hypervisor."""

    def __init__(self, host: Hypervisor, installation: Installation, db: Database) -> None:
        self.host, self.installation, self.db = host, installation, db
        self.api = ApiClient(db.client, [ApiPool(POOL)])

    def type(self, commands: str) -> str:
        """Run the commands of a block as a person types them, and return what they print."""
        done = subprocess.run(
            self.host.inside("bash", "-ec", f'cd "{self.installation.folder}"\n{commands}'),
            env=self.installation.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, name: str, text: str) -> None:
        (self.installation.folder / name).write_text(text, encoding="utf-8")

    def add_disk_image(self, name: str) -> None:
        self.type(f"qemu-img create -q -f qcow2 /var/lib/libvirt/images/{name}.qcow2 16M")

    def as_tiny_guest(self, definition: str) -> str:
        """Return the document's definition, for a guest without an operating system on its disk."""
        boot = self.host.guest.boot_definition(with_agent=False)
        for old, new in (
            ("type='kvm'", f"type='{self.host.domain_type}'"),
            ("unit='MiB'>1024<", "unit='MiB'>128<"),
            ("hvm</type></os>", f"hvm</type>{boot}</os>"),
        ):
            assert old in definition
            definition = definition.replace(old, new)
        return definition

    def start(self) -> None:
        """Start the lines of Procfile that a pool needs, in the network of the guests."""
        for line in procfile():
            if line.role in {"worker", "beat"}:
                name = line.where.split()[1]
                command = self.host.inside(str(self.installation.programs / line.words[0]), *line.words[1:])
                process = Process(
                    command,
                    folder=ROOT,
                    environment=dict(self.installation.environment),
                    log=self.installation.folder / f"{name}.log",
                )
                self.installation.keep(process)
                process.start()

    def members(self, queue: Queue) -> set[str]:
        return {vm.decode() for vm in self.db.call("SMEMBERS", keys.queue(queue, POOL))}

    def domains(self, *options: str) -> set[str]:
        return set(self.host.run("virsh", "list", "--name", *options).split())

    def await_full(self, *, without: str = "") -> set[str]:
        def is_full() -> set[str]:
            ready = self.members(Queue.READY)
            return ready if len(ready) == SIZE and without not in ready else set()

        return until(is_full, lambda: f"{POOL} is full:\n{self._logs()}", SECONDS, 0.5)

    def _logs(self) -> str:
        return "\n".join(file.read_text()[-3000:] for file in sorted(self.installation.folder.glob("*.log")))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folders = {name: tmp_path / name for name in ("libvirt", "valkey", "machine")}
    for folder in folders.values():
        folder.mkdir()
    with (
        hypervisor(folders["libvirt"]) as host,
        host.entered(),
        running("valkey", folders["valkey"]) as server,
        Installation(server.url, folders["machine"]) as installation,
    ):
        db = Database(server.url)
        yield Site(host, installation, db)
        db.close()


def replies(ip: str) -> str:
    """Return what the guest at this address says on port 22: its host name."""
    with socket.create_connection((ip, 22), timeout=60) as connection:
        return connection.makefile().read().strip()


def test_a_pool_of_three_is_filled_checked_out_returned_and_filled_again(site: Site) -> None:
    storage, define, check, look = [block.text for block in blocks("bash")]
    [definition] = [block.text for block in blocks("xml")]
    [configuration] = [block.text for block in blocks("yaml")]
    site.host.virsh("net-define", NETWORK)  # Debian's package has defined it
    site.type(storage)
    for image in ("debian-12", OWN):
        site.add_disk_image(image)
    site.write("template.xml", site.as_tiny_guest(definition))
    site.type(define)
    own = site.as_tiny_guest(definition).replace(TEMPLATE, OWN).replace("debian-12.qcow2", f"{OWN}.qcow2")
    site.host.virsh("define", own)
    site.host.run("virsh", "start", OWN)
    before = site.host.run("virsh", "dumpxml", OWN)

    del site.installation.environment["VMPOOLER_CONFIG"]
    site.write("vmpooler.yaml", configuration)
    site.installation.environment["VMPOOLER_CONFIG_FILE"] = str(site.installation.folder / "vmpooler.yaml")
    site.type(check)
    site.start()
    first = site.await_full()
    assert POOL in site.type(look)
    assert site.domains() == first | {OWN}

    [vm] = site.api.checkout({POOL: 1}).vms
    until(lambda: vm in site.members(Queue.RUNNING), "the VM is taken over", SECONDS)
    ip = site.db.call("HGET", keys.vm(vm.encode()), "ip").decode()
    assert replies(ip) == vm
    second = site.await_full(without=vm)
    assert site.domains() == second | {vm, OWN}

    site.api.delete_vm(vm)
    until(lambda: vm not in site.domains("--all"), "the VM is destroyed", SECONDS, 0.5)
    images = {path.name for path in site.host.images.iterdir()}
    assert images == {f"{name}.vda.garage.qcow2" for name in second} | {"debian-12.qcow2", f"{OWN}.qcow2"}
    assert site.host.run("virsh", "dumpxml", OWN) == before, "nothing changes a person's own domain"
    assert site.domains("--all") == second | {TEMPLATE, OWN}
