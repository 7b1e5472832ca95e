"""Names for new VMs."""

import random
import re
from itertools import islice

import pytest

from vmpooler_tasks.model.pools.vm_names import MAX_LENGTH, candidates

SOME = 2000


def some(prefix: str = "", count: int = SOME) -> list[str]:
    return list(islice(candidates(prefix), count))


def test_a_name_is_two_words_of_at_most_fifteen_characters() -> None:
    names = some()
    assert all(re.fullmatch(r"[a-z]+-[a-z]+", name) for name in names)
    assert max(map(len, names)) == MAX_LENGTH == 15


@pytest.mark.parametrize("prefix", ["pooler-", "a-prefix-that-is-long-", ""])
def test_the_prefix_stands_before_it_and_is_not_counted(prefix: str) -> None:
    for name in some(prefix, 200):
        assert name.startswith(prefix)
        assert 0 < len(name.removeprefix(prefix)) <= MAX_LENGTH


def test_names_hardly_ever_come_twice() -> None:
    assert len(set(some())) > SOME * 0.98


def test_a_name_is_one_that_a_host_may_have() -> None:
    assert all(re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", name) for name in some())


def test_no_seed_makes_two_processes_use_the_same_names() -> None:
    random.seed(1)
    first = some(count=20)
    random.seed(1)
    assert some(count=20) != first
