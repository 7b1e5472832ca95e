"""An environment with what `requirements.txt` lists and no extra, made of links to the packages of this one."""

import re
import subprocess
import sysconfig
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tests.support.processes import PATIENCE, ROOT

PACKAGES = Path(sysconfig.get_path("purelib"))


class BareEnvironment:
    """Runs Python with the dependencies of every installation, and the SDK of no provider."""

    def __init__(self, home: Path) -> None:
        venv.create(home, with_pip=False, symlinks=True)
        self.python = home / "bin" / "python"
        site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
        [own] = PACKAGES.glob("vmpooler_tasks-*.dist-info")
        (site / own.name).symlink_to(own)
        (site / "vmpooler_tasks").symlink_to(ROOT / "vmpooler_tasks")
        for name in {name for requirement in _requirements() for name in _top_level(requirement)}:
            (site / name).symlink_to(PACKAGES / name)

    def run(self, *arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def _requirements() -> list[str]:
    return re.findall(r"^([\w.-]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)


def _top_level(name: str) -> set[str]:
    """Return the files and folders of this package; nothing if another platform has it alone."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return set()
    return {file.parts[0] for file in files} - {"..", "__pycache__"}
