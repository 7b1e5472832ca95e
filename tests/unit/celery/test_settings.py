"""What Celery is told follows from the pools' configuration."""

import pytest

from vmpooler_tasks.config import Options, Pool, Settings
from vmpooler_tasks.tasks.celery import defaults
from vmpooler_tasks.tasks.celery.configuration import time_limits


def settings(*minutes: float | None, manage_pools: bool = True) -> Settings:
    pools = tuple(Pool(name=f"pool-{index}", timeout=timeout) for index, timeout in enumerate(minutes))
    return Settings(config=Options(manage_pools=manage_pools, timeout=15), pools=pools, providers={"dummy": {}})


@pytest.mark.parametrize("minutes", [None, 1, 15, 24])
def test_an_ordinary_clone_fits_into_the_usual_limits(minutes: float | None) -> None:
    limits = time_limits(settings(minutes))
    assert limits["task_soft_time_limit"] == defaults.task_soft_time_limit
    assert limits["broker_transport_options"] == defaults.broker_transport_options


def test_no_task_is_ended_or_delivered_again_before_a_pool_gives_its_clone_up() -> None:
    limits = time_limits(settings(15, 120))
    assert (
        120 * 60
        < limits["task_soft_time_limit"]
        < limits["task_time_limit"]
        < limits["broker_transport_options"]["visibility_timeout"]
    )


def test_without_the_pool_manager_nothing_changes() -> None:
    assert time_limits(settings(120, manage_pools=False)) == {}
