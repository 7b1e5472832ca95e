"""VMs in more than one queue: found, and repaired in one step. docs/vmpooler-behaviour.md, A VM in two queues."""

from collections.abc import Iterable, Mapping, Sequence

from vmpooler_tasks.model.guards.double_queue import QueuePlace, VmFacts
from vmpooler_tasks.model.names import Queue
from vmpooler_tasks.store import keys
from vmpooler_tasks.store.redis.chunks import chunks
from vmpooler_tasks.store.redis.connection import Database
from vmpooler_tasks.store.vmpooler import queues
from vmpooler_tasks.store.vmpooler.delivered import read_replacement

MAX_COMPARED_PAIRS = 20_000
"""Pairs of VM and queue that one call compares: a few milliseconds for the server."""

MAX_COMPARED_VMS = 500
"""VMs that one call compares."""

_FIELDS = (b"checkout", b"lifetime", b"destroy", b"ready", b"pool")


def is_counted(key: bytes) -> bool:
    """Return True for a queue in which a VM may not be beside another: every one but migrating."""
    place = keys.place_of(key)
    return place is not None and place[0] is not Queue.MIGRATING


def find_foreign(db: Database, pool: str, vms: Iterable[bytes]) -> list[bytes]:
    """Return those of these VMs of the pool whose metadata names another pool or none: they may be in another, too."""
    found: list[bytes] = []
    for page in chunks(list(vms)):
        found += db.run("guards/find_foreign", [], [pool, keys.VM_PREFIX, *page])
    return found


def find_places(db: Database, vms: Sequence[bytes], queue_keys: Sequence[bytes]) -> dict[bytes, list[QueuePlace]]:
    """Return the places of each of these VMs that is in more than one of the queues. Each page is of one instant."""
    found: dict[bytes, list[QueuePlace]] = {}
    counted = [key for key in queue_keys if is_counted(key)]
    places = [QueuePlace(*place) for key in counted if (place := keys.place_of(key))]
    for page in chunks(vms, min(MAX_COMPARED_VMS, max(1, MAX_COMPARED_PAIRS // max(1, len(counted))))):
        for vm, positions in zip(page, db.run("guards/find_places", counted, page), strict=True):
            if len(positions) > 1:
                found[vm] = [places[position - 1] for position in positions]
    return found


def read_facts(db: Database, vms: Mapping[bytes, Sequence[QueuePlace]], lifetime_hours: float) -> dict[bytes, VmFacts]:
    """Return what decides where each of these VMs belongs."""
    names = list(vms)
    rows = queues.read_fields(db, [keys.vm(vm) for vm in names], *_FIELDS)
    facts: dict[bytes, VmFacts] = {}
    for vm, (checkout, lifetime, destroy, ready, pool) in zip(names, rows, strict=True):
        running = [place.pool for place in vms[vm] if place.queue is Queue.RUNNING]
        facts[vm] = VmFacts(
            checkouts={name: _read_checkout(db, name, vm) for name in running},
            checkout=checkout,
            lifetime=lifetime,
            destroy=destroy,
            ready=ready,
            pool=pool,
            lifetime_hours=lifetime_hours,
        )
    return facts


def _read_checkout(db: Database, pool: str, vm: bytes) -> bytes | None:
    ((checkout,),) = queues.read_fields(db, [keys.active(pool)], vm)
    return checkout


def repair(
    db: Database, vm: bytes, winner: QueuePlace, places: Iterable[QueuePlace], facts: VmFacts
) -> list[QueuePlace]:
    """Remove the VM from all of these places but the winner. Return those that it left.

    Nothing is done if it has left the winner meanwhile, or if the facts have changed.
    """
    others = [place for place in places if place != winner]
    pool_of_user = next((place.pool for place in (winner, *others) if place.queue is Queue.RUNNING), winner.pool)
    replacement = read_replacement(db, vm, pool_of_user)
    seen = (facts.checkout, facts.lifetime, facts.destroy, facts.ready, facts.pool)
    left = db.run(
        "guards/repair_double_queue",
        [
            *(keys.queue(*winner), keys.vm(vm), keys.active(pool_of_user)),
            *replacement.keys(),
            *(key for place in others for key in _keys_of(place)),
        ],
        [
            *(vm, facts.checkouts.get(pool_of_user) or b""),
            *(value or b"" for value in seen),
            *replacement.words(),
            int(winner.queue is Queue.RUNNING),
        ],
    )
    return [QueuePlace(*place) for key in left if (place := keys.place_of(key))]


def _keys_of(place: QueuePlace) -> tuple[bytes, bytes]:
    """Return the key of a queue, and that of its active VMs if it is running, else its own once more."""
    key = keys.queue(*place)
    return key, keys.active(place.pool) if place.queue is Queue.RUNNING else key
