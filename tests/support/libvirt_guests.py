"""Real guests: a libvirtd of the test's own, in a network of its own, and a tiny system that its VMs start.

libvirtd runs in a network and a mount namespace: its networks, sockets and files are not those of the machine. Whatever
talks to the guests enters the network (`Hypervisor.entered`): this thread, those that it starts, and its processes.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest
import trustme

from tests.support.guest_image import Guest
from tests.support.libvirt_hosts import require_library
from tests.support.servers import required

TOOLS = (
    "unshare",
    "nsenter",
    "libvirtd",
    "virsh",
    "qemu-system-x86_64",
    "qemu-img",
    "dnsmasq",
    "iptables",
    "ip",
    "busybox",
)
START_SECONDS = 120
CLONE_NEWNET = 0x40000000

SETUP = r"""
set -e
mount --make-rprivate /
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/libvirt "$1/sockets" "$1/lib/images" "$1/cache" "$1/etc"
cp -a /etc/libvirt/. "$1/etc/"
rm -rf "$1/etc/qemu"
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/cache" /var/cache/libvirt
mkdir /run/libvirt/sockets
mount --bind "$1/sockets" /run/libvirt/sockets
cat > /etc/libvirt/libvirtd.conf <<END
unix_sock_dir = "$1/sockets"
auth_unix_rw = "none"
auth_unix_ro = "none"
listen_tls = 1
listen_tcp = 0
listen_addr = "127.0.0.1"
ca_file = "$1/pki/cacert.pem"
cert_file = "$1/pki/servercert.pem"
key_file = "$1/pki/serverkey.pem"
$2
END
cat > /etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
remember_owner = 0
END
ln -s sockets/libvirt-sock sockets/libvirt-sock-ro /run/libvirt
sh -ec "$3"
exec libvirtd --listen
"""
"""$1 is the folder that takes the files of libvirtd, $2 more of its configuration, $3 what is started before it."""


NETWORK = """
<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='off' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp><range start='192.168.122.2' end='192.168.122.254'/></dhcp>
  </ip>
</network>"""
"""As Debian's package libvirt-daemon-config-network defines it, but its bridge forwards at once."""

TEMPLATE = """
<domain type='{kind}'>
  <name>{name}</name>
  <memory unit='MiB'>128</memory>
  <os><type arch='x86_64'>hvm</type>{boot}</os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/var/lib/libvirt/images/{name}.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'><source network='default'/><model type='virtio'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='pty'/>
  </devices>
</domain>"""


class Hypervisor:
    """A running libvirtd. Its files are in `folder`; `guest` has the kernel and the system that guests start."""

    def __init__(self, folder: Path, guest: Guest, configuration: str = "", before: str = "") -> None:
        self.folder, self.guest = folder, guest
        self.images = folder / "lib" / "images"
        self.socket = folder / "sockets" / "libvirt-sock"
        self._write_certificates()
        with (folder / "libvirtd.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--net", "sh", "-c", SETUP, "libvirtd", str(folder), configuration, before],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await_socket()

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def tls_options(self) -> str:
        """The part of a URI after the path, for a connection over TLS with a certificate of this authority."""
        return f"?pkipath={self.folder / 'pki'}"

    @property
    def domain_type(self) -> str:
        return "kvm" if self.guest.has_kvm else "qemu"

    def inside(self, *command: str) -> list[str]:
        """Return this command line as one that runs in both namespaces."""
        return ["nsenter", "--mount", "--net", f"--target={self.process.pid}", *command]

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in both namespaces, and return its stdout."""
        done = subprocess.run(self.inside(*command), capture_output=True, text=True, timeout=START_SECONDS, check=False)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread use the network of the guests, and what it starts meanwhile: threads and processes."""
        with Path("/proc/thread-self/ns/net").open() as before, Path(f"/proc/{self.process.pid}/ns/net").open() as own:
            _enter(own.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def add_network_and_storage(self) -> None:
        """Define and start a NAT network and a storage pool, both with the name `default`."""
        self.virsh("net-define", NETWORK)
        self.run("virsh", "net-start", "default")
        self.run("virsh", "pool-define-as", "default", "dir", "--target", "/var/lib/libvirt/images")
        self.run("virsh", "pool-start", "default")

    def add_template(self, name: str, *, with_agent: bool = False) -> None:
        """Define a domain with a disk, which starts the guest, with QEMU's agent in it if that is wanted."""
        self.run("virsh", "vol-create-as", "default", f"{name}.qcow2", "16M", "--format", "qcow2")
        boot = self.guest.boot_definition(with_agent=with_agent)
        self.virsh("define", TEMPLATE.format(name=name, kind=self.domain_type, boot=boot))

    def virsh(self, command: str, definition: str) -> None:
        """Call a command of virsh that reads a definition from a file."""
        file = self.folder / "definition.xml"
        file.write_text(definition, encoding="utf-8")
        self.run("virsh", command, str(file))

    def stop(self) -> None:
        """Kill libvirtd and what it started, which are the processes in its network."""
        network = Path(f"/proc/{self.process.pid}/ns/net").readlink()
        deadline = monotonic() + START_SECONDS
        while (left := _processes_in(network)) and monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)
        self.process.wait()

    def _write_certificates(self) -> None:
        """Write certificates for libvirtd and for a client, in the files in which libvirt looks for them."""
        pki, authority = self.folder / "pki", trustme.CA()
        pki.mkdir()
        authority.cert_pem.write_to_path(str(pki / "cacert.pem"))
        for role in ("server", "client"):
            issued = authority.issue_cert("localhost")
            issued.cert_chain_pems[0].write_to_path(str(pki / f"{role}cert.pem"))
            issued.private_key_pem.write_to_path(str(pki / f"{role}key.pem"))

    def _await_socket(self) -> None:
        deadline = monotonic() + START_SECONDS
        while not self.socket.exists():
            if self.process.poll() is not None or monotonic() > deadline:
                self.process.kill()
                pytest.fail(f"libvirtd does not start:\n{(self.folder / 'libvirtd.log').read_text()[-4000:]}")
            sleep(0.05)


@contextmanager
def hypervisor(
    folder: Path, *, configuration: str = "", before: str = "", tools: Sequence[str] = ()
) -> Iterator[Hypervisor]:
    """Yield a hypervisor with nothing on it. Skip the test without the tools or rights for it, and fail it in CI.

    `configuration` is more of `libvirtd.conf`. `before` is a shell script that starts what libvirtd needs.
    """
    require_library()
    for tool in (*TOOLS, *tools):
        required(tool)
    if os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("real guests need root")
        pytest.skip("real guests need root")
    own = Hypervisor(folder, Guest.built(), configuration, before)
    try:
        yield own
    finally:
        own.stop()


def _enter(network: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(network, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _processes_in(network: Path) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "ns" / "net").readlink() == network and (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]
