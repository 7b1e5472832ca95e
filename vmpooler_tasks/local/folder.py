"""The folder of a local run: its lock, the environment for other terminals, and the addresses for `run --show`."""

import fcntl
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vmpooler_tasks.config.redis_address import read_address
from vmpooler_tasks.errors import VmpoolerTasksError
from vmpooler_tasks.local.parent_death import KILL_AFTER_SECONDS, is_running, wait_until

ENVIRONMENT_FILE = "env"
"""Shell `export` lines. A second terminal sources it to use the same Redis and configuration."""

ADDRESSES_FILE = "addresses"
"""What was printed at the start."""

PROGRAMS_FOLDER = "bin"
LOCK_FILE = "run.lock"

REDIS_CLI = """\
#!/bin/sh
# redis-cli for the Redis of the `run` in this folder, so that the guide's commands work as they are printed.
# Its password is in REDISCLI_AUTH: other users can read a command line.
exec {program} --no-auth-warning -h {host} -p {port} "$@"
"""

_OWN_RIGHTS = 0o700
"""The rights of the owner, without those of anybody else."""


class ForeignFileError(VmpoolerTasksError):
    """A file or folder belongs to another user"""

    exit_status = os.EX_CONFIG


class AlreadyRunningError(VmpoolerTasksError):
    """It runs already"""

    exit_status = os.EX_TEMPFAIL


class NotRunningError(VmpoolerTasksError):
    """Nothing runs here"""

    exit_status = 1


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder during the block, so that it has one run at a time. Raise AlreadyRunningError.

    The watcher holds the lock as well: it is free when every process has ended.
    """
    make_private(folder)
    with (folder / LOCK_FILE).open("a+") as lock:
        # After a run was killed, its watcher still stops what it had started.
        if not _try_lock(lock) and (
            _is_holder_running(lock) or not wait_until(lambda: _try_lock(lock), 3 * KILL_AFTER_SECONDS)
        ):
            raise AlreadyRunningError(
                f"process {_read_holder(lock) or '?'} uses {folder.resolve()}; stop it, or start in another folder"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def make_private(folder: Path) -> None:
    """Create the folder, and take all rights to it and what is in it from other users. Raise ForeignFileError.

    It holds passwords, dead letters and the data of Redis. What an earlier version left there may be readable.
    """
    folder.mkdir(mode=_OWN_RIGHTS, exist_ok=True)
    _refuse_foreign(folder, folder.stat())
    for path in (folder, *folder.rglob("*")):
        close_to_others(path)


def close_to_others(path: Path) -> None:
    """Take all rights to a file or folder from other users. It may be missing. Raise ForeignFileError.

    What a link leads to is not changed: it may be a device, or shared on purpose.
    """
    with suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            return
        _refuse_foreign(path, found)
        rights = stat.S_IMODE(found.st_mode)
        if rights & ~_OWN_RIGHTS:
            path.chmod(rights & _OWN_RIGHTS)


def _refuse_foreign(path: Path, found: os.stat_result) -> None:
    """Raise ForeignFileError if this user may not change the rights: only the owner and root may."""
    if os.getuid() not in (found.st_uid, 0):
        raise ForeignFileError(f"{path.absolute()}: remove it, or start in another folder")


def read_addresses(folder: Path) -> str:
    """Return what the run in this folder printed at its start. Raise NotRunningError."""
    if not is_locked(folder):
        raise NotRunningError(f"no run uses {folder.resolve()}; start one with `vmpooler-tasks run`, or make run")
    try:
        return (folder / ADDRESSES_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise NotRunningError(f"the run in {folder.resolve()} is starting or stopping") from error


def is_locked(folder: Path) -> bool:
    """Return whether a run uses the folder."""
    try:
        with (folder / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def files_for_terminals(folder: Path, exports: Mapping[str, str | None], addresses: str) -> Iterator[None]:
    """Keep the environment, the addresses and the programs for other terminals in the folder during the block.

    A variable that is None is not exported. All of them are readable by this user alone.
    """
    programs = folder / PROGRAMS_FOLDER
    path = f"{shlex.quote(str(programs.resolve()))}:{shlex.quote(str(Path(sys.executable).parent))}"
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in exports.items() if value]
    lines.append(f'export PATH={path}:"$PATH"\n')
    _write_redis_cli(programs, exports.get("REDIS_URL"))
    written = {ENVIRONMENT_FILE: "".join(lines), ADDRESSES_FILE: addresses}
    for name, text in written.items():
        (folder / name).unlink(missing_ok=True)  # whoever has it open does not read the new one
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text, encoding="utf-8")
    try:
        yield
    finally:
        for name in written:
            (folder / name).unlink(missing_ok=True)


def _write_redis_cli(programs: Path, url: str | None) -> None:
    """Write a redis-cli for the server at this address; remove it if there is none."""
    programs.mkdir(exist_ok=True)
    wrapper = programs / "redis-cli"
    path = os.pathsep.join(part for part in os.get_exec_path() if Path(part).resolve() != programs.resolve())
    found = shutil.which("redis-cli", path=path) or shutil.which("valkey-cli", path=path)
    if url and found:
        host, port = read_address(url).hosts[0]
        wrapper.write_text(REDIS_CLI.format(program=shlex.quote(found), host=host, port=port), encoding="utf-8")
        wrapper.chmod(_OWN_RIGHTS)
    else:
        wrapper.unlink(missing_ok=True)


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read_holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip()


def _is_holder_running(lock: IO[str]) -> bool:
    holder = _read_holder(lock)
    return not holder.isdecimal() or is_running(int(holder))
