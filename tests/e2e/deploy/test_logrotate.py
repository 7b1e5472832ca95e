"""logrotate itself takes its file, and a worker goes on in the new log."""

import getpass
import grp
import os
import re
import subprocess

import pytest

from tests.support.deployment import DEPLOY
from tests.support.processes import Installation, until
from tests.support.servers import required
from vmpooler_tasks.tasks.registry import HEALTH_CHECK

pytestmark = pytest.mark.slow


def test_a_rotated_log_is_gone_on_with(installation: Installation) -> None:
    logs = installation.folder / "logs"
    logs.mkdir(mode=0o755)
    me = f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
    text = (DEPLOY / "logrotate" / "vmpooler-tasks").read_text(encoding="utf-8")
    text = text.replace("/var/log/vmpooler-tasks", str(logs)).replace("vmpooler-tasks vmpooler-tasks", me)
    rules = installation.folder / "rules"
    rules.write_text(text, encoding="utf-8")
    rules.chmod(0o644)
    options = ("--logfile", f"{logs}/%n.log", "--loglevel", "INFO", "-n", "rotated@%h")
    worker = installation.celery("worker", *options, name="worker").start()
    current = logs / "rotated.log"
    until(lambda: current.exists() and " ready." in current.read_text(), "the worker is ready")
    state = installation.folder / "state"
    command = [required("logrotate"), "--force", "--verbose", "--state", str(state), str(rules)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not re.search("^error", done.stderr, re.MULTILINE), done.stderr
    task = installation.call(HEALTH_CHECK)
    until(lambda: current.exists() and f"[{task}] succeeded" in current.read_text(), "it is in the new log")
    (rotated,) = [path for path in logs.iterdir() if path != current]
    assert " ready." in rotated.read_text()
    assert worker.running
