"""The files of a local run are for its user alone, and those of other users are not touched."""

import os
from pathlib import Path

import pytest

from vmpooler_tasks.config import load_settings
from vmpooler_tasks.local import foreman
from vmpooler_tasks.local.folder import AlreadyRunningError, ForeignFileError, close_to_others, locked, make_private

ANOTHER_USER = 4242


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_other_users_have_no_rights_to_what_is_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_private(folder)
    file = folder / "env"
    file.touch()
    file.chmod(0o644)
    folder.chmod(0o755)
    make_private(folder)
    assert (rights(folder), rights(file)) == (0o700, 0o600)
    close_to_others(folder / "missing")


def test_what_a_link_leads_to_keeps_its_rights(tmp_path: Path) -> None:
    shared = tmp_path / "shared.log"
    shared.touch()
    shared.chmod(0o664)
    link, broken = tmp_path / "vmpooler.log", tmp_path / "vmpooler.log.1"
    link.symlink_to(shared)
    broken.symlink_to(tmp_path / "missing")
    close_to_others(link)
    close_to_others(broken)
    assert rights(shared) == 0o664


def test_only_rights_that_differ_are_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vmpooler.log"
    file.touch()
    file.chmod(0o600)
    monkeypatch.setattr(Path, "chmod", lambda *_: pytest.fail("the rights are changed"))
    close_to_others(file)


def test_a_file_of_another_user_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of root, as `sudo make run` leaves it."""
    file = tmp_path / "vmpooler.log"
    file.touch()
    monkeypatch.setattr(os, "getuid", lambda: ANOTHER_USER)
    with pytest.raises(ForeignFileError, match=f"{file}: remove it, or start in another folder"):
        close_to_others(file)
    with pytest.raises(ForeignFileError, match=f"{tmp_path}: remove it"):
        make_private(tmp_path)


def test_a_second_start_leaves_the_log_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "umask", lambda _: 0)
    log = tmp_path / "vmpooler.log"
    log.touch()
    log.chmod(0o640)
    with locked(Path("run")), pytest.raises(AlreadyRunningError):
        foreman.run(load_settings({}), lambda _: None, folder=Path("run"))
    assert rights(log) == 0o640
