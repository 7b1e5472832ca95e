"""systemd itself reads the units, and says what they may do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import deployment
from tests.support.deployment import INSTALLED_IN, SYSTEMD, unit, units
from tests.support.processes import ROOT
from tests.support.servers import required
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.tasks.celery import defaults

WORKER = "vmpooler-tasks-worker@.service"
EXPOSED_AT_MOST = 15
"""Tenths: systemd calls 2.0 and less OK."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they are installed, each worker by its name, with the programs where they are here."""
    for path in SYSTEMD.iterdir():
        if path.suffix in {".service", ".target"}:
            text = path.read_text(encoding="utf-8").replace(INSTALLED_IN, f"{Path(sys.executable).parent}/")
            (tmp_path / path.name).write_text(text, encoding="utf-8")
    for options in SYSTEMD.glob("worker-*.conf"):
        name = options.stem.removeprefix("worker-")
        shutil.copy(tmp_path / WORKER, tmp_path / WORKER.replace("@", f"@{name}"))
    return tmp_path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [required("systemd-analyze"), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    names = sorted(path for path in installed.iterdir() if not path.name.endswith("@.service"))
    assert len(names) == 7
    done = analyze("verify", "--man=no", *names)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", [path.name for path in units()])
def test_it_may_do_little(name: str, installed: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSED_AT_MOST}", "--no-pager", installed / name)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("name", [path.name for path in units()])
def test_it_is_restarted_but_not_with_a_configuration_that_is_not_valid(name: str) -> None:
    options = unit(name)
    assert options["Restart"] == ["always"]
    assert options["RestartPreventExitStatus"] == ["78"]
    assert options["PartOf"] == options["WantedBy"] == ["vmpooler-tasks.target"]


def test_a_worker_is_told_alone_and_has_time_to_finish() -> None:
    options = unit(WORKER)
    assert (options["KillSignal"], options["KillMode"]) == (["SIGTERM"], ["mixed"])
    assert int(options["TimeoutStopSec"][0]) > defaults.task_time_limit


def environment_of(name: str) -> dict[str, str]:
    """Return what the samples of a unit's environment files set."""
    paths = [Path(place) for place in unit(name)["EnvironmentFile"] if "%i" not in place]
    found = [deployment.settings_of(SYSTEMD / f"{path.name}.sample") for path in paths]
    return {variable: value for sample in found for variable, value in sample.items()}


def test_only_web_and_flower_get_their_passwords() -> None:
    secrets = {
        path.name: {*environment_of(path.name)} & {"WEB_USERS", "WEB_TOKENS", "FLOWER_BASIC_AUTH"} for path in units()
    }
    assert {name: found for name, found in secrets.items() if found} == {
        "vmpooler-tasks-web.service": {"WEB_USERS", "WEB_TOKENS"},
        "vmpooler-tasks-flower.service": {"FLOWER_BASIC_AUTH"},
    }


def test_files_with_passwords_of_one_unit_are_for_root() -> None:
    """systemd reads them before it changes the user: no unit can read the file of another."""
    for name in ("web", "flower"):
        text = (SYSTEMD / f"environment-{name}.sample").read_text(encoding="utf-8")
        assert text.startswith(f"# /etc/vmpooler-tasks/environment-{name}: root:root, 0600.")
        installed_by = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
        assert f"install -m 0600 deploy/systemd/environment-{name}.sample" in installed_by


def test_every_unit_has_a_limit_of_memory() -> None:
    assert {path.name: unit(path.name)["MemoryMax"] for path in units()} == {
        "vmpooler-tasks-beat.service": ["256M"],
        "vmpooler-tasks-flower.service": ["384M"],
        "vmpooler-tasks-web.service": ["384M"],
        WORKER: ["1G"],
    }


def test_the_sample_of_the_environment_is_valid() -> None:
    sample = environment_of("vmpooler-tasks-web.service")
    sample["VMPOOLER_CONFIG_FILE"] = str(deployment.DEPLOY / "vmpooler.yaml")
    assert load_settings(sample).web.port == 8080


def test_every_queue_has_a_worker() -> None:
    options = [deployment.settings_of(path)["OPTIONS"].split() for path in SYSTEMD.glob("worker-*.conf")]
    taken = [queue for words in options for queue in words[words.index("-Q") + 1].split(",")]
    assert sorted(taken) == sorted(queue.name for queue in defaults.task_queues)


def test_the_users_file_creates_the_users_and_the_group_that_the_units_name() -> None:
    lines = (SYSTEMD / "vmpooler-tasks.sysusers").read_text(encoding="utf-8").splitlines()
    created = {line.split()[1] for line in lines}
    assert {unit(path.name)["User"][0] for path in units()} == created
    assert {unit(path.name)["Group"][0] for path in units()} <= created


def test_no_other_unit_runs_as_the_user_of_one_that_has_passwords() -> None:
    users = {path.name: unit(path.name)["User"] for path in units()}
    for name in ("vmpooler-tasks-web.service", "vmpooler-tasks-flower.service"):
        assert [other for other, user in users.items() if user == users[name]] == [name]


def test_systemd_creates_the_users(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    command = [required("systemd-sysusers"), f"--root={tmp_path}", str(SYSTEMD / "vmpooler-tasks.sysusers")]
    subprocess.run(command, check=True, timeout=60)
    users = [line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text(encoding="utf-8").splitlines()]
    assert set(users) == {unit(path.name)["User"][0] for path in units()}
