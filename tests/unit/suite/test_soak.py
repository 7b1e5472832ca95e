"""The judgement of a soak: trends that single samples cannot change, and a fate for every documented family of keys."""

import random

import pytest

from tests.soak.keyspace import FAMILIES, GROWING, Fate, family_of, fate_of
from tests.soak.trends import Sample, trend

MINUTES = 10
FLAT = 70.0


def samples(*, growth: float = 0.0, noise: float = 0.0, spikes: int = 0) -> list[Sample]:
    """Return 200 samples that grow by so much in the second half."""
    chance = random.Random(1)
    end = MINUTES * 60.0
    made = [
        Sample(at, FLAT + growth * 2 * at / end + chance.uniform(-noise, noise))
        for at in (end * number / 200 for number in range(201))
    ]
    for number in chance.sample(range(100, 200), spikes):
        made[number] = Sample(made[number].seconds, FLAT * 10)
    return made


@pytest.mark.parametrize("noise", [0, 1, 5])
@pytest.mark.parametrize("spikes", [0, 1, 15])
def test_growth_is_found_and_a_spike_is_none(noise: float, spikes: int) -> None:
    assert trend(samples(noise=noise, spikes=spikes)).growth == pytest.approx(0, abs=3)
    assert trend(samples(growth=30, noise=noise, spikes=spikes)).growth == pytest.approx(30, abs=6)


def test_what_fills_in_the_first_half_does_not_count() -> None:
    filling = [Sample(at, min(at, 300.0)) for at in range(601)]
    assert trend(filling).growth == 0
    assert trend(filling).middle == 300


def test_a_trend_needs_a_second_half() -> None:
    with pytest.raises(ValueError, match="two samples"):
        trend([])


def test_each_growing_family_exists_and_the_others_are_bounded() -> None:
    assert set(GROWING) <= {family.name for family in FAMILIES}
    assert fate_of("vmpooler_tasks__clones") is Fate.BOUNDED


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("vmpooler__vm__soak-able-ant", "vmpooler__vm__VM"),
        ("vmpooler__ready__amber", "vmpooler__ready__POOL"),
        ("vmpooler__clone__2026-11-27", "vmpooler__clone__DAY"),
        ("vmpooler__odcreate__task", "vmpooler__odcreate__task"),
        ("vmpooler__5f2c__cedar__cedar", "vmpooler__REQUEST__ALIAS__POOL"),
        ("vmpooler_tasks__clones", "vmpooler_tasks__clones"),
        ("vmpooler_tasks__counters__failures__5985891", "vmpooler_tasks__counters__failures__STEP"),
        ("vmpooler_tasks__dummy__calls:create:amber:vm", "vmpooler_tasks__dummy"),
        ("celery-task-meta-1", "celery-task-meta-*"),
        ("vmpooler_tasks__nobody_knows__it", None),
    ],
)
def test_a_key_belongs_to_its_family(key: str, family: str | None) -> None:
    assert family_of(key) == family
