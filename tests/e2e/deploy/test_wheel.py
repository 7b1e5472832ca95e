"""What `pip install` gives: the wheel alone, in an empty folder, far from the repository."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.commands import clean_copy
from tests.support.processes import PATIENCE, ROOT, Process, configuration
from tests.support.servers import TestServer
from vmpooler_tasks import __version__

pytestmark = pytest.mark.stage(name="packaging")

PURGE = "vmpooler_tasks.purge_stale_entries"


class Installed:
    """An environment that the wheel is installed in, and an empty folder to work in."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "VMPOOLER_CONFIG": configuration()}

    def run(self, *command: str, url: str = "", status: int = 0) -> str:
        done = subprocess.run(
            [str(self.programs / command[0]), *command[1:]],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**self.environment, "REDIS_URL": url},
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clean_copy(tmp_path_factory.mktemp("source"), ready=False)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    subprocess.run(build, cwd=folder, check=True, capture_output=True, timeout=PATIENCE)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The dependencies are this environment's, by a path file; our package is there from the wheel alone."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python = home / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed", wheel]
    subprocess.run([*map(str, install)], check=True, timeout=PATIENCE, cwd=home)
    (home / "bin" / "celery").write_text(f"#!{python}\nfrom celery.__main__ import main\nmain()\n")
    (home / "bin" / "celery").chmod(0o755)
    return Installed(home / "bin", tmp_path_factory.mktemp("empty"))


def test_it_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = ROOT / "vmpooler_tasks"
    ours = {
        str(path.relative_to(ROOT)) for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == ours
    assert sum(name.endswith(".lua") for name in inside) > 10


def test_the_pages_and_their_documents_come_with_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as built:
        assert b"<!doctype html>" in built.read("vmpooler_tasks/web/static/index.html")
        for name in ("runbooks.md", "operator-guide.md"):
            document = built.read(f"vmpooler_tasks/web/{name}")
            assert document == (ROOT / "docs" / name).read_bytes(), "not a link that leads nowhere"


def test_the_package_is_imported_from_the_wheel(installed: Installed) -> None:
    where = installed.run("python", "-c", "import vmpooler_tasks; print(vmpooler_tasks.__file__)").strip()
    assert Path(where).is_relative_to(installed.programs.parent)
    assert installed.run("vmpooler-tasks", "--version") == f"vmpooler-tasks, version {__version__}\n"


def test_every_script_loads_from_the_wheel_and_redis_accepts_it(installed: Installed, valkey: TestServer) -> None:
    program = (
        "import sys, pathlib; from vmpooler_tasks import store; from vmpooler_tasks.store.redis import scripts;"
        "db = store.Database(sys.argv[1]); folder = pathlib.Path(store.__file__).parent / 'lua';"
        "names = sorted(str(path.relative_to(folder).with_suffix('')) for path in folder.rglob('*.lua'));"
        "[scripts.load(db.client, name) for name in names if name != 'redis/type_guard']; print(*names)"  # each has it
    )
    loaded = installed.run("python", "-c", program, valkey.url).split()
    scripts = ROOT / "vmpooler_tasks" / "store" / "lua"
    assert loaded == sorted(str(path.relative_to(scripts).with_suffix("")) for path in scripts.rglob("*.lua"))


def test_the_command_purges_from_an_empty_folder(installed: Installed, valkey: TestServer) -> None:
    report = json.loads(installed.run("vmpooler-tasks", "purge", "--dry-run", "--json", url=valkey.url))
    assert (report["dry_run"], report["total"]) == (True, 0)
    assert "no beat is alive" in installed.run("vmpooler-tasks", "health", url=valkey.url, status=2)


def test_celery_knows_the_application_from_an_empty_folder(installed: Installed, valkey: TestServer) -> None:
    report = installed.run("celery", "-A", "vmpooler_tasks", "report", url=valkey.url)
    assert "task_acks_late: True" in report
    assert "vmpooler.maintenance" in report


def test_a_worker_of_the_wheel_runs_what_celery_call_sends(
    installed: Installed, valkey: TestServer, tmp_path: Path
) -> None:
    worker = Process(
        [str(installed.programs / "celery"), "-A", "vmpooler_tasks", "worker", "--loglevel", "INFO"],
        folder=installed.folder,
        environment={**installed.environment, "REDIS_URL": valkey.url},
        log=tmp_path / "worker.log",
    )
    try:
        worker.start().says(" ready.")
        sent = installed.run(
            "celery", "-A", "vmpooler_tasks", "call", PURGE, "--kwargs", '{"dry_run": true}', url=valkey.url
        )
        worker.says(f"{PURGE}[{sent.strip()}] succeeded").says("[*] [purge][dry-run] Completed purge cycle")
    finally:
        worker.stop()
    assert list(installed.folder.iterdir()) == [], "it leaves nothing in the folder that it was started in"
