"""A worker with gevent lets its greenlets run while it waits for messages."""

import subprocess
import sys

from tests.support.processes import ROOT, configuration

CHECK = """
import sys
sys.argv = ["celery", "-A", "vmpooler_tasks", "worker", "-P", "gevent"]
import celery
celery.maybe_patch_concurrency()
from vmpooler_tasks.tasks.celery.configuration import prepare_process
prepare_process()
import gevent.select
from kombu.utils import eventio
print(eventio._selectf is gevent.select.select)
"""


def test_kombu_waits_with_the_select_of_gevent() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHECK],
        cwd=ROOT,
        env={"VMPOOLER_CONFIG": configuration()},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "True\n"
