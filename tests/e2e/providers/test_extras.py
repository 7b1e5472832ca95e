"""A provider costs nothing where no pool uses it. Its missing extra is reported with the command that installs it."""

import json
import os
import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from tests.support.bare_environment import BareEnvironment
from tests.support.processes import Installation, configuration

pytestmark = pytest.mark.stage(name="providers")

NOWHERE = "redis://127.0.0.1:1/0"
ENTRIES = sorted(
    (entry for entry in entry_points(group="vmpooler_tasks.providers") if entry.extras), key=lambda entry: entry.name
)
SDKS = {"boto3", "botocore", "dns", "libvirt", "pyVim", "pyVmomi"}


def configured(provider: str, **section: Any) -> str:
    whole = json.loads(configuration(manage_pools=True, check_loop_delay_min=1))
    whole[":providers"] = {provider: section}
    whole[":pools"] = [{"name": "small", "template": "small", "size": 1, "provider": provider}]
    return json.dumps(whole)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> BareEnvironment:
    return BareEnvironment(tmp_path_factory.mktemp("bare"))


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_a_missing_extra_is_reported_with_the_command_that_installs_it(
    bare: BareEnvironment, tmp_path: Path, entry: EntryPoint
) -> None:
    told = bare.run(
        *("-m", "vmpooler_tasks.cli", "config", "check"),
        folder=tmp_path,
        VMPOOLER_CONFIG=configured("mine", provider_class=entry.name),
        REDIS_URL=NOWHERE,
    )
    assert told.returncode == os.EX_CONFIG, told
    head, line = told.stderr.splitlines()
    assert head.endswith("1 problem in VMPOOLER_CONFIG")
    assert re.fullmatch(
        rf"  providers\.mine: provider '{entry.name}' needs the Python module \S+, which is not installed: "
        rf"pip install 'vmpooler-tasks\[{entry.extras[0]}\]'",
        line,
    ), line


def test_a_worker_without_the_extra_does_not_start_and_says_the_same(bare: BareEnvironment, tmp_path: Path) -> None:
    entry = ENTRIES[0]
    told = bare.run(
        *("-m", "celery", "-A", "vmpooler_tasks", "worker"),
        folder=tmp_path,
        VMPOOLER_CONFIG=configured(entry.name),
        REDIS_URL=NOWHERE,
    )
    assert told.returncode == os.EX_CONFIG, told
    assert f"which is not installed: pip install 'vmpooler-tasks[{entry.extras[0]}]'\n" in told.stderr
    assert "Traceback" not in told.stderr


def test_without_any_extra_the_dummy_can_be_used(bare: BareEnvironment, tmp_path: Path) -> None:
    told = bare.run(
        *("-m", "vmpooler_tasks.cli", "config", "check"),
        folder=tmp_path,
        VMPOOLER_CONFIG=configured("dummy"),
        REDIS_URL=NOWHERE,
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_a_worker_imports_no_provider_that_it_does_not_use(installation: Installation) -> None:
    """Python reports each import of the worker, which fills a pool of the dummy."""
    installation.environment |= {"VMPOOLER_CONFIG": configured("dummy"), "PYTHONPROFILEIMPORTTIME": "1"}
    worker = installation.worker()
    installation.beat()
    worker.says("cloned in")
    imported = set(re.findall(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", worker.log, re.MULTILINE))
    assert "vmpooler_tasks.providers.dummy.options" in imported, "the imports are reported"
    unused = (*SDKS, *(entry.module for entry in ENTRIES))
    assert {name for name in imported if any(f"{name}.".startswith(f"{module}.") for module in unused)} == set()
