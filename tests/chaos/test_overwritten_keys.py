"""Another program that writes over the keys of this project, or deletes them, while clones are made and destroyed.

The system and what must hold are those of `test_kills`. Every key is overwritten with a value of another type, or
deleted, at a random instant: also those that hold leases, fences and breakers. VMs go on to be made in both pools, and
no VM is lost, doubled or forgotten. `vmpooler_tasks__dead_letter_ids` stays: without it, two reports of one failure are
two dead letters.
"""

import random
import time

import pytest

from tests.chaos.settings import times
from tests.chaos.site import POOLS, Site
from vmpooler_tasks.store import Database, keys
from vmpooler_tasks.store.key_types import FIXED_KEYS, OWN_KEYS_PREFIX, KeyType, own_key_type
from vmpooler_tasks.store.redis.wrong_keys import read_set_aside

pytestmark = pytest.mark.stage(name="chaos")

OWN_KEYS = [
    *(key for key in FIXED_KEYS if key.startswith(OWN_KEYS_PREFIX) and key != keys.DEAD_LETTER_IDS),
    *(make(pool) for pool in POOLS for make in (keys.pool_breaker, keys.check_lock, keys.recycled)),
    *(keys.breaker("dummy"), keys.first_seen("discovered", "amber"), keys.first_seen("running", "birch")),
]


def overwrite(db: Database, key: bytes) -> None:
    """Put a value of another type there, in one step."""
    pipe = db.client.pipeline(transaction=True)
    pipe.delete(key)
    pipe.zadd(key, {"x": 1}) if own_key_type(key) is KeyType.LIST else pipe.rpush(key, "x")
    pipe.execute()


@pytest.mark.timeout(240 + 60 * times(1))
def test_keys_that_are_overwritten_or_deleted_lose_double_and_forget_nothing(site: Site, chance: random.Random) -> None:
    for _ in range(times(3)):
        site.wait_for_clones()
        for key in chance.sample(OWN_KEYS, len(OWN_KEYS)):
            overwrite(site.db, key) if chance.random() < 0.7 else site.db.call("DEL", key)
            time.sleep(chance.uniform(0, 0.2))  # the instant of the next one is what is to be random
        site.wait_until_served()
    named = read_set_aside(site.db)
    assert named, "no script met a key of a wrong type"
    print(f"{len(named)} keys were set aside, and all is well: {site.settle()}", flush=True)
