"""Workers and the command send what a health check found; a metrics server that hangs costs neither anything."""

import pytest

from tests.support import listeners
from tests.support.commands import CommandLine
from tests.support.fleet import let_run
from tests.support.processes import Installation, until
from tests.support.world import World
from vmpooler_tasks.model.names import DeadLetterQueue
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.health import record as health_record
from vmpooler_tasks.tasks.registry import HEALTH_CHECK

LAST = "vmpooler.health.tasks.ondemand.pending:0|g"


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_sends_each_check(installation: Installation, pool: str) -> None:
    with listeners.statsd() as statsd, listeners.graphite() as graphite:
        installation.environment |= {
            "STATSD_SERVER": listeners.LOOPBACK,
            "STATSD_PORT": str(statsd.port),
            "GRAPHITE_SERVER": listeners.LOOPBACK,
            "GRAPHITE_PORT": str(graphite.port),
            "GRAPHITE_PREFIX": "site.vm",
        }
        worker = installation.worker("-P", pool)
        for _ in range(2):
            installation.call(HEALTH_CHECK)
        worker.says("[*] [metrics] Sent 17 metrics to StatsD at 127.0.0.1:", times=2)
        worker.says("[*] [metrics] Sent 17 metrics to Graphite at 127.0.0.1:", times=2)
        until(lambda: statsd.lines.count(LAST) == 2, "both are there")
        assert all(text.startswith("site.vm.health.status ") for text in graphite.gets(2))


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_whose_graphite_hangs_goes_on(installation: Installation, database: Database, pool: str) -> None:
    with listeners.deaf() as port, listeners.statsd() as statsd:
        installation.environment |= {
            "STATSD_SERVER": listeners.LOOPBACK,
            "STATSD_PORT": str(statsd.port),
            "GRAPHITE_SERVER": listeners.LOOPBACK,
            "GRAPHITE_PORT": str(port),
        }
        worker = installation.worker("-P", pool)
        for _ in range(3):
            installation.call(HEALTH_CHECK)
        worker.says(f"Task {HEALTH_CHECK}", times=6)  # received, succeeded
        until(lambda: statsd.lines.count(LAST) == 3, "StatsD gets all three")
        worker.says("Graphite at 127.0.0.1:")
        assert len(health_record.read_history(database, 0)) == 3
        assert database.call("EXISTS", keys.dead_letters(DeadLetterQueue.TASKS)) == 0
        worker.stop()
        assert not worker.running


def test_the_command_sends_before_it_ends(run: CommandLine, world: World) -> None:
    let_run(world)
    with listeners.statsd() as statsd, listeners.graphite() as graphite:
        servers = {
            "STATSD_SERVER": listeners.LOOPBACK,
            "STATSD_PORT": str(statsd.port),
            "GRAPHITE_SERVER": listeners.LOOPBACK,
            "GRAPHITE_PORT": str(graphite.port),
        }
        assert run("health", **servers).status == 0
        statsd.gets(LAST)
        graphite.gets()
        shown = run("--verbose", "health", **servers)
        assert "[*] [metrics] Sent 17 metrics to Graphite at 127.0.0.1:" in shown.err
        assert run("health", "--no-check", **servers).status == 0
        assert len(graphite.texts) == 2, "what is only read is not sent"


@pytest.mark.parametrize("host", [listeners.LOOPBACK, listeners.NO_SUCH_HOST])
def test_the_command_does_not_fail_for_servers_that_are_not_there(run: CommandLine, world: World, host: str) -> None:
    let_run(world)
    port = str(listeners.closed())
    servers = {"STATSD_SERVER": host, "GRAPHITE_SERVER": host, "GRAPHITE_PORT": port}
    shown = run("health", **servers)
    assert (shown.status, shown.err) == (0, "")


def test_the_command_ends_although_graphite_hangs(run: CommandLine, world: World) -> None:
    let_run(world)
    with listeners.deaf() as port:
        shown = run("health", GRAPHITE_SERVER=listeners.LOOPBACK, GRAPHITE_PORT=str(port))
        assert (shown.status, shown.err) == (0, "")
