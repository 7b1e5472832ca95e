"""A worker with gevent lets its greenlets run while it waits for messages."""

import subprocess
import sys

from tests.support.processes import ROOT, configuration

CHECK = """
import sys
sys.argv = ["celery", "-A", "vmpooler_tasks", "worker", "-P", "gevent"]
import celery
celery.maybe_patch_concurrency()
assert "celeryconfig" in sys.modules, "nothing was imported while gevent patched Python: this test shows nothing"
import select, time
from vmpooler_tasks.tasks.celery.app import app
app.connection_for_read().transport
from kombu.utils import eventio, functional
from redis import retry
import gevent, gevent.select
assert select.select is gevent.select.select and time.sleep.__module__.startswith("gevent")
print(eventio._selectf is select.select, functional.sleep is time.sleep, retry.sleep is time.sleep)
"""


def test_a_worker_waits_with_the_functions_of_gevent() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHECK],
        cwd=ROOT,
        env={"VMPOOLER_CONFIG": configuration()},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "True True True\n"
