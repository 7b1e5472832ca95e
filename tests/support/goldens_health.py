"""The health check's part of `goldens_model`: what VMPooler measured, its status, and what the rules change."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.support.goldens import Cell, Rule, WrongTypeError
from tests.support.goldens_state import QUEUES
from tests.support.goldens_times import ZONES, reading

if TYPE_CHECKING:
    from tests.support.goldens_model import Replay

HEALTH = b"vmpooler__health"
EMPTY_POOL_GRACE = 900
ALL_EMPTY_GRACE = 60
THRESHOLDS = {
    "pending_queue_max": 100,
    "ready_queue_max": 500,
    "dlq_max_warning": 100,
    "dlq_max_critical": 1000,
    "stuck_vm_age_threshold": 7200,
    "stuck_vm_max_warning": 10,
    "stuck_vm_max_critical": 50,
}
STATUSES = ("healthy", "degraded", "unhealthy")


Reason = dict[str, Any]


def metrics(replay: "Replay") -> tuple[dict[str, Any], list[bytes]]:
    """(nested as VMPooler nests them, the keys of the wrong type). Without rules such a key raises."""
    unreadable: list[bytes] = []
    stuck_after = _thresholds(replay)["stuck_vm_age_threshold"]
    queues: dict[str, Any] = {}
    stuck = 0
    for pool in replay.pools:
        pending, late = _aged(replay, "pending", pool, stuck_after, unreadable)
        ready, _ = _aged(replay, "ready", pool, stuck_after, unreadable)
        stuck += late
        completed = len(_guarded(replay, _key("completed", pool), "set", set(), unreadable))
        queues[pool] = {"pending": {**pending, "stuck_count": late}, "ready": ready, "completed": {"size": completed}}
    tasks = {
        "clone": {"active": _counter(replay, b"vmpooler__tasks__clone", unreadable)},
        "ondemand": {
            "active": _counter(replay, b"vmpooler__tasks__ondemandclone", unreadable),
            "pending": len(_guarded(replay, b"vmpooler__odcreate__task", "zset", {}, unreadable)),
        },
    }
    sizes = _dead_letters(replay, unreadable)
    if sizes:
        queues["dlq"] = queues.get("dlq", {}) | {queue: {"size": size} for queue, size in sizes.items()}
    errors = {
        "dlq_total_size": sum(sizes.values()),
        "stuck_vm_count": stuck,
        "orphaned_metadata_count": _count_orphans(replay),
    }
    return {"queues": queues, "tasks": tasks, "errors": errors}, unreadable


def _thresholds(replay: "Replay") -> dict[str, Any]:
    return {**THRESHOLDS, **replay.options.get("health_thresholds", {})}


def _key(queue: str, pool: str) -> bytes:
    return f"vmpooler__{queue}__{pool}".encode()


def _guarded(replay: "Replay", key: bytes, kind: str, empty: Any, unreadable: list[bytes]) -> Any:
    cell = replay.state.get(key, Cell(kind, empty, None))
    if cell.kind != kind and replay.applies(Rule.WRONG_TYPE_STOPS_NOTHING, key, HEALTH):
        unreadable.append(key)
        return empty
    return replay.get(key, kind, empty)


def _aged(
    replay: "Replay", queue: str, pool: str, stuck_after: float, unreadable: list[bytes]
) -> tuple[dict[str, int], int]:
    members = _guarded(replay, _key(queue, pool), "set", set(), unreadable)
    stamp_field = {"pending": b"clone", "ready": b"ready"}[queue]
    ages = []
    for vm in members:
        cell = replay.state.get(b"vmpooler__vm__" + vm)
        stamp = cell.value.get(stamp_field) if cell is not None and cell.kind == "hash" else None
        epoch, guessed = (None, False) if stamp is None else reading(stamp, replay.tz)
        if epoch is not None and not (guessed and replay.applies(Rule.RUBYS_GUESSES, HEALTH)):
            ages.append(int(replay.now - epoch))
    shown = {
        "size": len(members),
        "oldest_age": max(ages, default=0),
        "avg_age": sum(ages) // len(ages) if ages else 0,
    }
    return shown, sum(age > stuck_after for age in ages)


def _counter(replay: "Replay", key: bytes, unreadable: list[bytes]) -> int:
    """The number that the text begins with, else 0."""
    text = _guarded(replay, key, "string", b"", unreadable).decode().lstrip()
    sign = text[:1] if text[:1] in "+-" else ""
    digits = text[len(sign) :]
    whole = digits[: next((place for place, c in enumerate(digits) if not c.isdigit()), len(digits))]
    return int(sign + whole) if whole else 0


def _dead_letters(replay: "Replay", unreadable: list[bytes]) -> dict[str, int]:
    if not replay.options.get("dlq_enabled"):
        return {}
    prefix = b"vmpooler__dlq__"
    keys = sorted(key for key in replay.state if key.startswith(prefix))
    sizes = {key[len(prefix) :].decode(): len(_guarded(replay, key, "zset", {}, unreadable)) for key in keys}
    return {queue: size for queue, size in sizes.items() if size}


def _count_orphans(replay: "Replay") -> int:
    replay.applies(Rule.ORPHANS_THAT_STAY, HEALTH)
    if unreadable := replay.unreadable_queues():
        replay.applies(Rule.UNREADABLE_QUEUE, unreadable[0])
        return 0
    return sum(1 for _ in replay.orphans(counting=True))


def health_cycle(replay: "Replay") -> Any:
    if replay.options["health_check_enabled"] is not True:
        if replay.applies(Rule.SAYS_IT_IS_OFF, HEALTH):
            replay.say(HEALTH, b"[*] [health] Skipped health check: it is switched off (health_check_enabled: false)")
        return None
    replay.say(HEALTH, b"[*] [health] Running queue health check")
    try:
        measured, unreadable = metrics(replay)
        reasons = sorted(_reasons(replay, measured, unreadable), key=_order)
    except (WrongTypeError, TypeError):  # VMPooler compares with a blank threshold as well
        replay.say(HEALTH, b"[!] [health] Failed during health check")
        return "ran"
    status = max((STATUSES.index(reason["severity"]) for reason in reasons), default=0)
    _record(replay, measured, STATUSES[status], reasons)
    replay.say(HEALTH, _status_line(replay, measured, STATUSES[status]))
    return "ran"


def _order(reason: Reason) -> tuple[int, str, str]:
    return -STATUSES.index(reason["severity"]), reason["code"], reason["pool"] or ""


def _record(replay: "Replay", measured: dict[str, Any], status: str, reasons: list[Reason]) -> None:
    zone = ZONES[replay.tz]
    checked = datetime.fromtimestamp(int(replay.now), zone).isoformat()
    fields = {"metrics": _json(measured), "status": status, "last_check": checked}
    if replay.applies(Rule.HEALTH_FIELDS, HEALTH):
        utc = datetime.fromtimestamp(int(replay.now), ZONES["UTC"]).isoformat().replace("+00:00", "Z")
        flat = {name: str(value) for name, value in measured["errors"].items()}
        fields = {**fields, **flat, "last_check": utc, "last_scheduled_check": utc, "reasons": _json(reasons)}
    value = {name.encode(): text.encode() for name, text in fields.items()}
    replay.state[HEALTH] = Cell("hash", value, max(3600, 3 * replay.options["health_check_interval"]))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _status_line(replay: "Replay", measured: dict[str, Any], status: str) -> bytes:
    pools = _pools(replay, measured)
    total: Callable[[str], int] = lambda queue: sum(pool.get(queue, {"size": 0})["size"] for pool in pools.values())  # noqa: E731
    errors = measured["errors"]
    return (
        f"[*] [health] Status: {status.upper()}"
        f" | Queues: P={total('pending')} R={total('ready')} C={total('completed')}"
        f" | DLQ={errors['dlq_total_size']} | Stuck={errors['stuck_vm_count']}"
        f" | Orphaned={errors['orphaned_metadata_count']}"
    ).encode()


def _pools(replay: "Replay", measured: dict[str, Any]) -> dict[str, Any]:
    """The status and its sums; the queue sizes of a pool `dlq`, which the sizes of dead-letter queues overwrite."""
    pools = {name: pool for name, pool in measured["queues"].items() if name != "dlq"}
    if "dlq" in replay.pools and replay.applies(Rule.POOL_NAMED_DLQ, HEALTH):
        sizes = {queue: {"size": len(replay.members(queue, "dlq"))} for queue in ("pending", "ready", "completed")}
        pools["dlq"] = sizes
    return pools


def _reasons(replay: "Replay", measured: dict[str, Any], unreadable: list[bytes]) -> Iterator[Reason]:
    limits, errors = _thresholds(replay), measured["errors"]
    for code, size, name in (
        ("dlq_size", errors["dlq_total_size"], "dlq_max"),
        ("stuck_vms", errors["stuck_vm_count"], "stuck_vm_max"),
    ):
        yield from _graded(code, size, limits[f"{name}_warning"], limits[f"{name}_critical"], None)
    for pool, queues in _pools(replay, measured).items():
        for queue in ("pending", "ready"):
            most = limits[f"{queue}_queue_max"]
            yield from _graded(f"{queue}_queue", queues[queue]["size"], most, 2 * most, pool)
    if replay.ruled:
        for reason in _further(replay, unreadable):
            replay.applies(Rule.FURTHER_REASONS, HEALTH)
            yield reason


def _graded(code: str, size: int, warning: float, critical: float, pool: str | None) -> Iterator[Reason]:
    if size > critical:
        yield _reason(code, "unhealthy", size, critical, pool)
    elif size > warning:
        yield _reason(code, "degraded", size, warning, pool)


def _reason(
    code: str, severity: str, measured: float, threshold: float, pool: str | None = None, **more: str
) -> Reason:
    values = {"code": code, "severity": severity, "measured": measured, "threshold": threshold, "pool": pool}
    return {**values, **more}


def _further(replay: "Replay", unreadable: list[bytes]) -> Iterator[Reason]:
    now, memory = replay.now, replay.memory
    interval, cap = replay.options["health_check_interval"], replay.options["dlq_max_entries"]
    empty = [pool for pool in replay.pools if not replay.state.get(_key("ready", pool)) and replay.sizes[pool] > 0]
    memory.empty_since = {pool: memory.empty_since.get(pool, now) for pool in empty}
    used = [pool for pool in replay.pools if replay.sizes[pool] > 0]
    if empty and empty == used and (seconds := now - max(memory.empty_since.values())) >= ALL_EMPTY_GRACE:
        yield _reason("all_pools_empty", "unhealthy", round(seconds), ALL_EMPTY_GRACE)
    for pool, since in memory.empty_since.items():
        if now - since >= EMPTY_POOL_GRACE:
            yield _reason("empty_pool", "degraded", round(now - since), EMPTY_POOL_GRACE, pool)
    if memory.last_check is not None and now - memory.last_check - interval > 2 * interval:
        yield _reason("health_overdue", "degraded", round(now - memory.last_check - interval), 2 * interval)
    memory.last_check = now
    for queue, size in _dead_letters(replay, []).items():
        if size >= 0.9 * cap:
            yield _reason("dlq_near_cap", "degraded", size, 0.9 * cap, queue=queue)
    if unreadable:
        text = _listed([key.decode() for key in unreadable])
        yield _reason("unreadable_keys", "degraded", len(unreadable), 0, key=text)
    yield from _removed_pools(replay)
    yield from _in_two_queues(replay)


def _queues(replay: "Replay") -> dict[tuple[str, str], set[bytes]]:
    """(queue, pool) → its VMs, of every pool whether it is configured or not."""
    found: dict[tuple[str, str], set[bytes]] = {}
    for key, cell in replay.state.items():
        _, queue, pool = ([*key.decode(errors="replace").split("__", 2), "", ""])[:3]
        if queue in QUEUES and pool and cell.kind == "set":
            found[queue, pool] = cell.value
    return found


def _removed_pools(replay: "Replay") -> Iterator[Reason]:
    counts: dict[str, dict[str, int]] = {}
    for (queue, pool), vms in _queues(replay).items():
        if pool not in replay.pools and vms:
            counts.setdefault(pool, {})[queue] = len(vms)
    for pool, by_queue in sorted(counts.items()):
        text = ", ".join(f"{by_queue[queue]} {queue}" for queue in QUEUES if queue in by_queue)
        error = f"{text}: they are not drained: manage_pools is off"
        yield _reason("removed_pool", "degraded", sum(by_queue.values()), 0, pool, error=error)


def _in_two_queues(replay: "Replay") -> Iterator[Reason]:
    places: dict[bytes, list[tuple[str, str]]] = {}
    for place, vms in sorted(_queues(replay).items()):
        for vm in vms if place[0] != "migrating" else ():
            places.setdefault(vm, []).append(place)
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for vm, found in sorted(places.items()):
        if len(found) > 1:
            groups.setdefault(tuple(found), []).append(vm.decode())
    for group, names in sorted(groups.items()):
        key, error = (_listed(texts) for texts in ([f"vmpooler__{queue}__{pool}" for queue, pool in group], names))
        yield _reason("vm_in_two_queues", "degraded", len(names), 0, group[0][1], key=key, error=error)


def _listed(texts: list[str]) -> str:
    more = len(texts) - 3
    return ", ".join(texts[:3]) + (f" and {more} more" if more > 0 else "")
