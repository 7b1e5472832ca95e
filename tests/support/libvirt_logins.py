"""Logins to a hypervisor over ssh, each with its own permissions: a real sshd, and libvirt's access control by polkit.

All of it runs in the namespaces of the hypervisor: its users are no users of the machine.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from time import monotonic, sleep

from tests.support.libvirt_guests import START_SECONDS, Hypervisor, hypervisor

CONFIGURATION = """unix_sock_rw_perms = "0777"
access_drivers = [ "polkit" ]"""

TOOLS = ("sshd", "ssh", "ssh-keygen", "dbus-daemon", "virt-ssh-helper")
POLKITD = "/usr/lib/polkit-1/polkitd"

SETUP = r"""
cd "FOLDER"
mkdir -p /run/dbus /run/sshd /run/keys "$PWD/rules"
cp /etc/passwd "$PWD/passwd"
cat "$PWD/users" >> "$PWD/passwd"
mount --bind "$PWD/passwd" /etc/passwd
mount --bind "$PWD/rules" /etc/polkit-1/rules.d
chmod 755 "$PWD/rules"
for name in host login stranger; do ssh-keygen -q -t ed25519 -N '' -f "$PWD/$name"; done
cp "$PWD/login.pub" /run/keys/authorized
cat > "$PWD/sshd_config" <<END
ListenAddress 127.0.0.1
HostKey $PWD/host
AuthorizedKeysFile /run/keys/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
MaxStartups 100
END
echo "localhost $(cat "$PWD/host.pub")" > "$PWD/known_hosts"
dbus-daemon --system --fork --nopidfile --nosyslog
POLKITD > "$PWD/polkitd.log" 2>&1 < /dev/null &
"$(command -v sshd)" -f "$PWD/sshd_config" -E "$PWD/sshd.log"
"""
"""FOLDER has the rules and the users, and takes the keys."""

SSH = """#!/bin/sh
exec ssh -F none -o UserKnownHostsFile="{folder}/known_hosts" -o GlobalKnownHostsFile=none "$@"
"""
"""As a user whose `known_hosts` has the host."""


class Logins:
    """The users of a hypervisor."""

    def __init__(self, host: Hypervisor, folder: Path) -> None:
        self.host, self.folder = host, folder

    def uri(self, user: str, *, key: str = "login") -> str:
        """Return the URI with which libvirt's library reaches the hypervisor as this user."""
        options = f"command={quote(str(self.folder / 'ssh'))}&keyfile={quote(str(self.folder / key))}"
        return f"qemu+ssh://{user}@localhost/system?{options}"

    @contextmanager
    def changed_host_key(self) -> Iterator[None]:
        """Know another key of the host than it has."""
        known = self.folder / "known_hosts"
        before = known.read_text(encoding="utf-8")
        known.write_text(f"localhost {(self.folder / 'stranger.pub').read_text(encoding='utf-8')}", encoding="utf-8")
        try:
            yield
        finally:
            known.write_text(before, encoding="utf-8")

    def await_polkit(self) -> None:
        deadline = monotonic() + START_SECONDS
        while "Acquired the name" not in (text := (self.folder / "polkitd.log").read_text(encoding="utf-8")):
            assert monotonic() < deadline, text
            sleep(0.05)


@contextmanager
def hypervisor_with_logins(folder: Path, rules: Mapping[str, str]) -> Iterator[Logins]:
    """Yield the logins to a hypervisor with nothing on it. `rules`: user → JavaScript for polkit."""
    for name in ("libvirt", "rules"):
        (folder / name).mkdir()
    for user, text in rules.items():
        (folder / "rules" / f"50-{user}.rules").write_text(text, encoding="utf-8")
    users = (f"{user}:*:{5000 + number}:65534::/:/bin/sh\n" for number, user in enumerate(rules))
    (folder / "users").write_text("".join(users), encoding="utf-8")
    (folder / "ssh").write_text(SSH.format(folder=folder), encoding="utf-8")
    (folder / "ssh").chmod(0o755)
    before = SETUP.replace("FOLDER", str(folder)).replace("POLKITD", POLKITD)
    with hypervisor(folder / "libvirt", configuration=CONFIGURATION, before=before, tools=(*TOOLS, POLKITD)) as host:
        own = Logins(host, folder)
        own.await_polkit()
        yield own
