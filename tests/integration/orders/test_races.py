"""Between any two commands of an order of VMPooler's API anything else may happen: nothing is lost, doubled or left.

ORDER_RACES=50 tries as many races of each order, others each time. ORDER_RACES=all tries every one, about 2,000.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import product
from typing import Any

import pytest

from tests.support.order_scene import OTHERS, ROUTES, OrderScene
from vmpooler_tasks.store import Database

RACES = os.environ.get("ORDER_RACES", "2")
SEEDS = [str(seed) for seed in range(3 if RACES == "2" else 100)]


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


def order_at_random(scene: OrderScene, seed: str) -> None:
    """One user with an API server of its own gives a dozen orders."""
    chance, api = random.Random(seed), scene.world.start_api()
    for _ in range(12):
        ROUTES[chance.choice(sorted(ROUTES))](scene, api)


@pytest.mark.parametrize("seed", SEEDS)
def test_many_users_order_at_once(db: Database, seed: str) -> None:
    """Real threads, on one server, while ticks go on; what two of them break by their order shows in the end."""
    scene = OrderScene(db)
    with ThreadPoolExecutor() as pool:
        users = [pool.submit(order_at_random, scene, f"{seed}-{user}") for user in range(4)]
        while not all(user.done() for user in users):
            scene.tick()
            scene.world.now += 1
    for user in users:
        user.result()
    scene.settle()
    scene.end()
