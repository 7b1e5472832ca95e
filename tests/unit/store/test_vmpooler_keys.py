"""Every key that VMPooler writes has an owner here, who reads it or empties it: tests/support/vmpooler_keys.py."""

import gzip
import inspect
import json
import re
from pathlib import Path

import pytest

import vmpooler_tasks
from tests.support import goldens
from tests.support.api_client import ApiClient
from tests.support.documented_keys import OURS, documented_keys
from tests.support.vmpooler_keys import VMPOOLER_KEYS, Fate, VmpoolerKey, row_of
from vmpooler_tasks.model.names import DeadLetterQueue, Queue
from vmpooler_tasks.store import keys

PACKAGE = Path(*vmpooler_tasks.__path__)
DOCS = PACKAGE.parent / "docs"

PARTS = {
    "vmpooler__NAME__POOL": Queue,
    "vmpooler__dlq__NAME": DeadLetterQueue,
    "vmpooler__WHAT__DAY": ("boot", "clone"),
}


def name(row: VmpoolerKey) -> str:
    return row.name


def test_every_key_of_ours_that_is_vmpoolers_is_in_the_table() -> None:
    found = [key.name for key in documented_keys() if not key.name.startswith((OURS, "unacked", "_kombu."))]
    for one in found:
        for part in PARTS.get(one, ("",)):
            key = one.replace("NAME", part).replace("WHAT", part) if part else one.replace("NAME", "x")
            assert row_of(key.encode()), key


@pytest.mark.parametrize("row", VMPOOLER_KEYS, ids=name)
def test_a_key_has_a_writer_and_somebody_who_empties_it(row: VmpoolerKey) -> None:
    assert row.api or row.manager or row.emptied_by is Fate.BY_API
    assert row.emptied_by, "nobody empties it"
    assert bool(row.read_by) == (row.constant is not None) or isinstance(row.emptied_by, Fate)
    assert row_of(row.name.encode()) is row, "a row above takes its keys"
    for route in row.api:
        assert inspect.isfunction(getattr(ApiClient, route))


@pytest.mark.parametrize("row", VMPOOLER_KEYS, ids=name)
def test_the_owners_of_a_key_use_it(row: VmpoolerKey) -> None:
    owners = {*row.read_by, *(() if isinstance(row.emptied_by, Fate) else row.emptied_by)}
    if row.constant is None:
        assert not owners
        return
    assert hasattr(keys, row.constant)
    family = {row.constant, *FAMILIES.get(row.constant, ())}
    for owner in owners:
        source = (PACKAGE / owner).read_text(encoding="utf-8")
        assert any(f"keys.{one}" in source or f" {one}" in source for one in family), (
            f"{owner} does not use {row.constant}"
        )


FAMILIES = {
    "queue": ("queues",),
    "vm": ("VM_PREFIX",),
    "WAITING_REQUESTS": ("OPEN_REQUESTS",),
    "PROCESSING_REQUESTS": ("OPEN_REQUESTS",),
    "ACTIVE_CLONES": ("POOL_SLOTS",),
    "ACTIVE_ONDEMAND_CLONES": ("REQUEST_SLOTS",),
}
"""Other names in `store/keys.py` for the same key."""


@pytest.mark.parametrize("case", goldens.case_names())
def test_every_recorded_key_has_an_owner(case: str) -> None:
    recorded = json.loads(gzip.decompress((goldens.FOLDER / f"{case}.json.gz").read_bytes()))
    entries = [*recorded["input"], *(entry for step in recorded["steps"] for entry in step["output"])]
    seen = {goldens.raw(entry["key"]) for entry in entries}
    assert [key for key in seen if key.startswith(b"vmpooler__") and row_of(key) is None] == []


@pytest.mark.parametrize("row", VMPOOLER_KEYS, ids=name)
def test_vmpoolers_behaviour_describes_every_key(row: VmpoolerKey) -> None:
    text = (DOCS / "vmpooler-behaviour.md").read_text(encoding="utf-8")
    fixed = re.split(r"[A-Z]+", row.name)[0]
    queues = "vmpooler__{pending,ready,running,completed,discovered,migrating}__<pool>"
    is_queue = row.constant == "queue" and queues in text
    assert is_queue or (fixed if fixed != "vmpooler__" else "vmpooler__<request>__<alias>__<pool>") in text
