"""Between any two commands of an order of VMPooler's API anything else may happen: nothing is lost, doubled or left.

ORDER_RACES=50 tries as many races of each order, others each time. ORDER_RACES=all tries every one, about 2,000.
"""

import os
import random
from functools import cache
from itertools import product
from typing import Any

import pytest

from tests.support.order_scene import OTHERS, ROUTES, OrderScene
from vmpooler_tasks.store import Database

RACES = os.environ.get("ORDER_RACES", "2")


@cache
def commands(db: Database, route: str) -> int:
    """Return how many commands the route has."""
    scene, seen = OrderScene(db), list[tuple[Any, ...]]()
    scene.api.before_command = seen.append
    ROUTES[route](scene, scene.api)
    return len(seen)


def race(db: Database, route: str, other: str, moment: int) -> None:
    """Do the other thing right before this command of the route."""
    scene, seen = OrderScene(db), list[tuple[Any, ...]]()

    def act(command: tuple[Any, ...]) -> None:
        seen.append(command)
        if len(seen) == moment + 1:
            OTHERS[other](scene)

    scene.api.before_command = act
    ROUTES[route](scene, scene.api)
    scene.api.before_command = None
    scene.check()
    scene.settle()
    scene.end()


@pytest.mark.parametrize("route", ROUTES)
def test_an_order_races_with_everything_else(db: Database, route: str) -> None:
    every = list(product(OTHERS, range(commands(db, route))))
    chance = random.Random(route if RACES == "2" else None)
    for other, moment in every if RACES == "all" else chance.sample(every, min(int(RACES), len(every))):
        try:
            race(db, route, other, moment)
        except Exception as error:
            error.add_note(f"{route}, and before its command {moment}: {other}")
            raise
