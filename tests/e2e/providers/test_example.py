"""docs/writing-a-provider.md: its example is installed into an environment, keeps the contract, and fills a pool."""

import json
import os
import re
import signal
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE, ROOT, until
from tests.support.servers import TestServer

pytestmark = [pytest.mark.stage(name="providers"), pytest.mark.timeout(600)]

DOCUMENT = (ROOT / "docs" / "writing-a-provider.md").read_text(encoding="utf-8")
EXAMPLE = Path("tests/data/example-provider")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
CONFIGURATION = next(text for language, text in BLOCKS if language == "yaml")
INSTALL, START = [text for _, text in BLOCKS if re.match(r"python -m pip|celery", text)]
DOCUMENTED_REDIS = "redis://127.0.0.1:6379/0"
PROGRAMS = {"celery": "from celery.__main__ import main", "vmpooler-tasks": "from vmpooler_tasks.cli import main"}


class Shell:
    """Runs lines of the document in a folder that has a copy of the example, with an environment of its own."""

    def __init__(self, programs: Path, folder: Path, redis: str) -> None:
        self.folder, self._redis = folder, redis
        self._environment = {
            **{name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            # Nothing is fetched: what the package needs is there.
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # the value is that of the option `build isolation`
        }

    def run(self, lines: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", lines.replace(DOCUMENTED_REDIS, self._redis)],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{lines}{done.stdout}{done.stderr}"
        return done.stdout

    def start(self, lines: str) -> "subprocess.Popen[bytes]":
        """Start a shell in a process group of its own, and return it. Its output is in shell.log."""
        with (self.folder / "shell.log").open("wb") as log:
            return subprocess.Popen(
                ["bash", "-ec", f"{lines.replace(DOCUMENTED_REDIS, self._redis)}\nwait"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has what this one has, and none of its scripts."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n", encoding="utf-8")
    for name, line in PROGRAMS.items():
        program = home / "bin" / name
        program.write_text(f"#!{home / 'bin' / 'python'}\n{line}\nmain()\n", encoding="utf-8")
        program.chmod(0o755)
    return home / "bin"


@pytest.fixture
def shell(programs: Path, tmp_path: Path, valkey: TestServer) -> Shell:
    copy = tmp_path / EXAMPLE
    copy.parent.mkdir(parents=True)
    subprocess.run(["cp", "-r", str(ROOT / EXAMPLE), str(copy)], check=True)
    (tmp_path / "folders.yaml").write_text(CONFIGURATION, encoding="utf-8")
    return Shell(programs, tmp_path, valkey.url)


def test_each_block_of_code_is_in_the_example() -> None:
    files = [
        path.read_text(encoding="utf-8") for path in (ROOT / EXAMPLE).rglob("*") if path.suffix in (".py", ".toml")
    ]
    code = [text for language, text in BLOCKS if language == "text" and text not in (INSTALL, START)]
    assert len(code) >= 5
    for text in code:
        assert any(text.strip() in file for file in files), text


def test_it_is_installed_keeps_the_contract_and_fills_a_pool(shell: Shell) -> None:
    assert shell.run(INSTALL).splitlines()[-1].strip() == "providers.folders: tried with 1 pool: no problem"
    # `python` is that of the environment; the package comes from there, not from the copy.
    told = shell.run(f"cd {EXAMPLE} && python -m pytest -q -p no:cacheprovider tests")
    assert re.search(r"^\d+ passed, \d+ skipped in ", told, re.MULTILINE), told
    exports = "".join(f"{line}\n" for line in INSTALL.splitlines() if line.startswith("export"))
    running = shell.start(exports + START)
    machines = shell.folder / "storage" / "machines" / "small"
    try:
        until(
            lambda: [pool["ready"] for pool in json.loads(shell.run(f"{exports}vmpooler-tasks pools --json"))] == [3],
            lambda: f"the pool is full:\n{(shell.folder / 'shell.log').read_text(encoding='utf-8')[-4000:]}",
        )
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    made = [json.loads(path.read_text(encoding="utf-8")) for path in machines.glob("*/machine.json")]
    assert [machine["installation"] for machine in made] == ["example"] * 3
    assert list(shell.folder.glob("storage/scratch/*/*/*")) == [], "nothing is left of a clone"


def test_its_problems_are_told_before_a_worker_starts(shell: Shell) -> None:
    shell.run(INSTALL)
    wrong = CONFIGURATION.replace("template: small", "template: large").replace("boot_seconds: 1", "boot_seconds: -1")
    (shell.folder / "folders.yaml").write_text(wrong, encoding="utf-8")
    check = [line for line in INSTALL.splitlines() if not line.startswith("python")]
    told = shell.run("\n".join([*check[:-1], f"{check[-1]} 2>&1 || echo status $?"]))
    assert "  providers.folders: pool small: template large does not exist\n" in told
    assert "  providers.folders: pool small: boot_seconds: Input should be greater than or equal to 0\n" in told
    assert told.endswith("status 78\n")
