"""The guide's dotted names, exactly."""

import re

import pytest

from tests.support import guide
from vmpooler_tasks.metrics.dotted import dotted, path_part
from vmpooler_tasks.metrics.push import DATAGRAM_BYTES, datagrams
from vmpooler_tasks.model.health.assessment import Assessment
from vmpooler_tasks.model.health.metrics import HealthMetrics, PoolMetrics, QueueMetrics
from vmpooler_tasks.model.health.status import Status
from vmpooler_tasks.model.names import DeadLetterQueue

POOL = "centos-7-x86_64"
METRICS = HealthMetrics(
    pools={POOL: PoolMetrics(QueueMetrics(5, 7200, 300, 2), QueueMetrics(9, 86400, 500), 3)},
    dead_letters={DeadLetterQueue.CLONE: 4, DeadLetterQueue.TASKS: 1},
    orphaned_metadata=6,
    active_clones=7,
    active_ondemand_clones=8,
    pending_ondemand_clones=10,
)
DEGRADED = Assessment(Status.DEGRADED, ())


def test_each_measure_has_the_name_that_the_guide_gives_it() -> None:
    assert dotted(METRICS, DEGRADED, "vmpooler") == {
        "vmpooler.health.status": 1,
        "vmpooler.health.dlq.total_size": 5,
        "vmpooler.health.stuck_vms.count": 2,
        "vmpooler.health.orphaned_metadata.count": 6,
        f"vmpooler.health.queue.{POOL}.pending.size": 5,
        f"vmpooler.health.queue.{POOL}.pending.oldest_age": 7200,
        f"vmpooler.health.queue.{POOL}.pending.stuck_count": 2,
        f"vmpooler.health.queue.{POOL}.ready.size": 9,
        f"vmpooler.health.queue.{POOL}.ready.oldest_age": 86400,
        f"vmpooler.health.queue.{POOL}.completed.size": 3,
        "vmpooler.health.dlq.pending.size": 0,
        "vmpooler.health.dlq.clone.size": 4,
        "vmpooler.health.dlq.ready.size": 0,
        "vmpooler.health.dlq.tasks.size": 1,
        "vmpooler.health.tasks.clone.active": 7,
        "vmpooler.health.tasks.ondemand.active": 8,
        "vmpooler.health.tasks.ondemand.pending": 10,
    }


def test_these_are_the_names_in_the_guide_and_no_others() -> None:
    section = guide.TEXT.partition("**Exposed Metrics:**")[2]
    listed = set(re.findall(r"^vmpooler\.\S+", section.split("```")[1], re.MULTILINE))
    queue_type = "vmpooler.health.dlq.<queue_type>.size"
    sent = {name.replace(POOL, "<pool_name>") for name in dotted(METRICS, DEGRADED, "vmpooler")}
    of_queues = {queue_type.replace("<queue_type>", queue) for queue in DeadLetterQueue}
    assert sent - of_queues == listed - {queue_type}
    assert of_queues <= sent


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("vmpooler", "vmpooler.health.status"),
        ("prod.vmpooler", "prod.vmpooler.health.status"),
        ("prod.", "prod.health.status"),
        ("my pools:1\n", "my_pools_1_.health.status"),
        ("", "health.status"),
    ],
)
def test_the_prefix_comes_first(prefix: str, name: str) -> None:
    assert next(iter(dotted(METRICS, DEGRADED, prefix))) == name


@pytest.mark.parametrize(
    ("pool", "part"),
    [
        ("centos-7-x86_64", "centos-7-x86_64"),
        ("win.2019", "win_2019"),
        ("a b:c|d@e\nf", "a_b_c_d_e_f"),
        ("größe", "gr__e"),
        ("x;tag=1#y/z", "x_tag_1_y_z"),
    ],
)
def test_a_pool_is_one_part_of_the_path(pool: str, part: str) -> None:
    assert path_part(pool) == part
    (found,) = {
        name.split(".")[3]
        for name in dotted(HealthMetrics({pool: PoolMetrics()}, {}), DEGRADED, "v")
        if ".queue." in name
    }
    assert found == part


def test_nothing_is_below_zero() -> None:
    """StatsD subtracts a value with a sign; an age is below zero where a VM's clock is ahead."""
    ahead = HealthMetrics({POOL: PoolMetrics(QueueMetrics(1, -30, -30))}, {})
    assert dotted(ahead, DEGRADED, "v")[f"v.health.queue.{POOL}.pending.oldest_age"] == 0


def test_gauges_share_datagrams_that_fit_into_a_frame() -> None:
    values = {f"vmpooler.health.queue.pool-{n}.ready.size": n for n in range(500)}
    sent = list(datagrams(values))
    assert b"\n".join(sent).decode().split("\n") == [f"{name}:{value}|g" for name, value in values.items()]
    assert all(len(one) <= DATAGRAM_BYTES for one in sent)
    assert min(len(one) for one in sent[:-1]) > DATAGRAM_BYTES - 60
    assert list(datagrams({})) == []


def test_a_name_longer_than_a_datagram_goes_alone() -> None:
    long = "x" * 2 * DATAGRAM_BYTES
    assert list(datagrams({"a": 1, long: 2, "b": 3})) == [b"a:1|g", f"{long}:2|g".encode(), b"b:3|g"]
