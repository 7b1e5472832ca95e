"""The tiny system that real guests start: Debian's cloud kernel, and an initramfs of busybox."""

import fcntl
import gzip
import lzma
import os
import re
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

from tests.support.servers import required

KVM_SECONDS = 20
"""A kernel that prints nothing for so long will not."""

MODULES = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/char/virtio_console",
)
"""In the order in which they can be loaded. A kernel may have some of them built in."""

INIT = """#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod "$module"; done
serial=$(cat /sys/class/dmi/id/product_serial)
name=${serial#*h=}
hostname "${name%%;*}"
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -s /lease -x "hostname:$(hostname)" -t 60 -T 1 -f &
if [ -x /bin/qemu-ga ]; then
  until [ -e /dev/vport*p1 ]; do sleep 1; done
  qemu-ga --method=virtio-serial --path="$(echo /dev/vport*p1)" --statedir=/ &
fi
while :; do nc -l -p 22 -e /bin/hostname; done
"""

LEASE = """#!/bin/sh
[ -z "$ip" ] || { ip addr flush dev eth0; ip addr add "$ip/24" dev eth0; ip route add default via "$router"; }
"""


class Guest:
    """A kernel, and an initramfs that takes an address by DHCP and replies with its host name on port 22.

    Another initramfs has QEMU's guest agent as well.
    """

    def __init__(self, folder: Path) -> None:
        self.kernel, self.initramfs = folder / "vmlinuz", folder / "initramfs.gz"
        self.initramfs_with_agent = folder / "initramfs-with-agent.gz"

    @classmethod
    @cache
    def built(cls) -> "Guest":
        """Return the guest of Debian's cloud kernel, which is downloaded once for each of its versions."""
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vmpooler-tasks-tests"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "guest.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            package = _kernel_package()
            kernel, agent = _downloaded(package, folder), _downloaded("qemu-guest-agent", folder)
            own = cls(kernel)
            if not own.kernel.exists():
                shutil.copy(next((kernel / "boot").glob("vmlinuz-*")), own.kernel)
            system = _system(kernel)
            own.initramfs.write_bytes(system)
            own.initramfs_with_agent.write_bytes(system + _agent(agent))  # the kernel unpacks both, one after the other
        return own

    @property
    @cache  # noqa: B019 - there is one guest
    def has_kvm(self) -> bool:
        """Return whether this guest starts with KVM. Its device may be there, and guests hang all the same."""
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            return False
        arguments = ["-m", "128", "-nographic", "-no-reboot", "-append", "console=ttyS0 panic=-1 rdinit=/none"]
        image = ["-kernel", str(self.kernel)]
        with suppress(subprocess.TimeoutExpired):
            command = ["qemu-system-x86_64", "-accel", "kvm", *image, *arguments]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=KVM_SECONDS, check=False
            )
            return b"Linux version" in done.stdout
        return False

    def boot_definition(self, *, with_agent: bool) -> str:
        """Return the elements of `<os>` that start it."""
        initramfs = self.initramfs_with_agent if with_agent else self.initramfs
        return (
            f"<kernel>{self.kernel}</kernel><initrd>{initramfs}</initrd>"
            "<cmdline>console=ttyS0 quiet panic=1 mitigations=off nokaslr no_timer_check cryptomgr.notests</cmdline>"
        )


def _kernel_package() -> str:
    listed = subprocess.run(
        ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, timeout=60, check=False
    ).stdout
    names = [line.split()[1] for line in listed.splitlines() if line.strip().startswith("Depends:")]
    if names:
        return names[0]
    if os.environ.get("CI"):
        pytest.fail("apt does not know linux-image-cloud-amd64; .ci/run should have called apt-get update")
    return pytest.skip("apt does not know linux-image-cloud-amd64")


def _downloaded(package: str, folder: Path) -> Path:
    """Return the folder of the unpacked package. It is not installed: that would change what the machine starts."""
    target = folder / package
    if target.exists():
        return target
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for command in (["apt-get", "download", "-qq", package], ["sh", "-c", "dpkg-deb -x *.deb . && rm *.deb"]):
        done = subprocess.run(command, cwd=part, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            pytest.fail(f"{command}: {done.stderr}")
    return part.rename(target)


def _system(kernel: Path) -> bytes:
    root = _emptied(kernel / "initramfs")
    for name in ("bin", "proc", "sys", "dev", "modules"):
        (root / name).mkdir()
    shutil.copy(required("busybox"), root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    for name, text in (("init", INIT), ("lease", LEASE)):
        (root / name).write_text(text, encoding="utf-8")
        (root / name).chmod(0o755)
    modules = next((kernel / "lib" / "modules").iterdir()) / "kernel"
    for number, module in enumerate(MODULES):
        own = root / "modules" / f"{number:02}.ko"
        if (plain := modules / f"{module}.ko").exists():
            shutil.copy(plain, own)
        elif (packed := modules / f"{module}.ko.xz").exists():
            own.write_bytes(lzma.decompress(packed.read_bytes()))
    return _archive(root)


def _agent(package: Path) -> bytes:
    """Return the agent with the libraries that it needs, which are those of this machine."""
    root, program = _emptied(package / "initramfs"), package / "usr" / "sbin" / "qemu-ga"
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "not found" not in listed, listed
    for library in re.findall(r"(/\S+) \(0x", listed):
        (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library[1:])
    (root / "bin").mkdir()
    shutil.copy(program, root / "bin")
    return _archive(root)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _archive(root: Path) -> bytes:
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    command = ["busybox", "cpio", "-o", "-H", "newc"]
    archive = subprocess.run(command, cwd=root, input=names.encode(), capture_output=True, check=True).stdout
    return gzip.compress(archive, 1)
