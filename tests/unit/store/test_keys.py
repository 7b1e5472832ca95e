"""Every key is described where it is defined: its type, and what it holds."""

from collections import Counter
from typing import Any

from tests.support.documented_keys import MODULES, OURS, documented_keys
from vmpooler_tasks.model.names import WORK_QUEUES, Queue
from vmpooler_tasks.store import broker_keys, keys
from vmpooler_tasks.store.key_types import FIXED_KEYS, typed_keys


def test_every_key_has_a_type_and_contents() -> None:
    found = list(documented_keys())
    assert len(found) > 40
    assert all(key.contents for key in found)


def _constants() -> list[Any]:
    return [value for module in MODULES for value in vars(module).values()]


def test_every_constant_and_function_is_among_them() -> None:
    names = {key.name for key in documented_keys()}
    constants = {value.decode() for value in _constants() if isinstance(value, bytes)}
    prefixes = {keys.VM_PREFIX, keys.WORK_PREFIX, keys.VM_ORDER_PREFIX, keys.FAILURES_PREFIX, keys.VMPOOLER_KEYS}
    prefixes.add(keys.SET_ASIDE_PREFIX)
    assert constants - {prefix.decode() for prefix in prefixes} <= names
    assert {slots.key.decode() for slots in (keys.POOL_SLOTS, keys.REQUEST_SLOTS)} <= names
    assert keys.first_seen("QUEUE", "POOL").decode() in names
    assert keys.FAILURES_PREFIX.decode() + "STEP" in names


def test_no_key_is_defined_twice() -> None:
    assert max(Counter(key.name for key in documented_keys()).values()) == 1


def test_ours_and_vmpoolers_do_not_meet() -> None:
    ours = [key.name for key in documented_keys() if key.name.startswith(OURS)]
    assert len(ours) > 20
    assert all(key.name.startswith((OURS, "vmpooler__", "unacked", "_kombu.")) for key in documented_keys())


TYPES = {"counter": "string", "sorted set": "zset"}


def test_the_table_of_types_has_every_key_with_a_fixed_name_and_says_what_its_docstring_says() -> None:
    fixed = {key.name: TYPES.get(key.kind, key.kind) for key in documented_keys() if key.name == key.name.lower()}
    assert {key.decode(): str(kind) for key, kind in FIXED_KEYS.items()} == fixed


def test_the_types_of_keys_of_pools_and_providers_are_those_of_their_docstrings() -> None:
    documented = {key.name: TYPES.get(key.kind, key.kind) for key in documented_keys()}
    typed = {key.decode(): str(kind) for key, kind in typed_keys(["POOL"], ["PROVIDER"]).items()}
    own = {name: kind for name, kind in typed.items() if name not in documented}
    assert {name: kind for name, kind in typed.items() if name in documented}.items() <= documented.items()
    by_pool = {"vmpooler__pool__POOL", "vmpooler__empty__POOL", *(f"vmpooler__{queue}__POOL" for queue in Queue)}
    by_queue = {key.decode() for queue in WORK_QUEUES for key in broker_keys.messages(queue)}
    assert own.keys() <= by_pool | by_queue
