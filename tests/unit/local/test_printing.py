"""The output of a local run: each line of a process is one line of text, on the terminal and in the file."""

from pathlib import Path

import pytest

from tests.support.hostile_names import HOSTILE_NAMES
from vmpooler_tasks.local.printing import Log

CELERY = "[2026-11-27 10:00:00,123: WARNING/MainProcess] "


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("before", ["", CELERY])
def test_text_of_a_process_cannot_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, name: str
) -> None:
    log = Log(["clones"], tmp_path / "vmpooler.log")
    log.line("clones", f"{before}VM {HOSTILE_NAMES[name]} failed")
    log.close()
    for shown in (capsys.readouterr().out, (tmp_path / "vmpooler.log").read_text(encoding="utf-8")):
        assert shown.endswith("failed\n")
        assert shown[:-1].isprintable()
