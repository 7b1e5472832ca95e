"""The pool manager's part of `goldens_model`: what became of VMs that failed, and what the rules make of it."""

import re
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from tests.support.goldens import Cell, Rule, Step
from tests.support.goldens_state import LINE, POOLS, VM, dead_letters_key, queue_key
from tests.support.goldens_times import ZONES, reading

if TYPE_CHECKING:
    from tests.support.goldens_model import Replay

REQUEST = b"vmpooler__odrequest__"
ITEMS = b"vmpooler__odcreate__task"
MOST_RETRIES = 3
NOT_AN_INTEGER = "ERR value is not an integer or out of range (redis://HOST:PORT)"
NO_HASH_INTEGER = "ERR hash value is not an integer (redis://HOST:PORT)"
NO_REDIS_SECTION = "undefined method `[]' for nil:NilClass"
NO_ADDRESS = "failed to obtain IP after 0.00 seconds"
PERMANENT = re.compile(
    r"template.*not found|template.*does not exist|invalid.*path|folder.*not found|datastore.*not found"
    r"|resource pool.*not found|permission.*denied|authentication.*failed|invalid.*credentials|configuration.*error",
    re.IGNORECASE,
)
PERMANENT_CLASSES = ("ArgumentError", "NoMethodError", "NameError")

NOT_OURS = re.compile(
    rb"checking (retry logic|immediate failure retry): |permanent_error check result: |\] Obtaining IP for "
    rb"|\] Cancelling request |\] failed while cloning VM |already marked as failed, not re-queueing"
)
"""Rule.FEWER_LINES: what VMPooler says on its way, beside what it then says of the outcome."""


class CommandError(Exception):
    """What Ruby raised instead of doing it."""


def act(replay: "Replay", step: Step) -> Any:
    """Answers what was recorded; with rules, what our functions of the same purpose answer."""
    pool = step.args["pool"]
    if "names" in step.args:
        return clone(replay, step, pool)
    vm = step.args["vm"].encode()
    match step.action:
        case "handle_timed_out_vm":
            error = time_out(replay, vm, pool)
            return True if replay.ruled else error
        case "fail_pending_vm":
            return fail_pending(replay, vm, pool, step.args["timeout"], step.args["timeout_notification"])
        case _:
            return still_ready(replay, vm, pool, step.provider["vm_ready"])


def _text(fields: dict[bytes, bytes], name: bytes) -> str | None:
    return fields[name].decode() if name in fields else None


def _move(replay: "Replay", vm: bytes, pool: str, source: str) -> None:
    if vm in replay.members(source, pool):
        replay.remove(queue_key(source, pool), vm)
        replay.state.setdefault(queue_key("completed", pool), Cell("set", set(), None)).value.add(vm)


def _stamp(replay: "Replay", zone: tzinfo) -> bytes:
    return datetime.fromtimestamp(int(replay.now), zone).strftime("%Y-%m-%d %H:%M:%S %z").encode()


def _there(replay: "Replay", about: bytes, line: str) -> None:
    """A line that only VMPooler says."""
    if not replay.ruled:
        replay.say(about, line.encode())


def _line(vm: bytes, start: str) -> bytes:
    """Return the note for the line that starts so and names the VM."""
    return LINE + b"'%b' %b" % (vm, start.encode())


# --- pending ----------------------------------------------------------------------------------------------------------


def time_out(replay: "Replay", vm: bytes, pool: str) -> str | None:
    fields = replay.get(VM + vm, "hash", {})
    request, alias = _text(fields, b"request_id"), _text(fields, b"pool_alias")
    error, clone_error = _text(fields, b"open_socket_error"), _text(fields, b"clone_error")
    message = "VM timed out during pending phase" if error is None else error
    retries = None if request is None else _retries(replay, request)
    dead_letter = replay.dead_letter(vm, pool, "pending", "Timeout", message, retries, request, alias)
    replay.push("pending", [(vm, dead_letter)], {vm: message})
    _move(replay, vm, pool, "pending")
    if request is not None:
        failure = (clone_error, _text(fields, b"clone_error_class"))
        if replay.ruled:
            rule = _try_again(replay, vm, pool, request, alias, failure)
            replay.applies(rule or Rule.OTHER_WORDS, _line(vm, "failed, retrying "), _line(vm, "permanently failed: "))
            if rule is None:
                replay.applies(Rule.OTHER_WORDS, REQUEST + request.encode())
        else:
            _retry_timed_out(replay, vm, pool, request, alias, failure)
    return clone_error if error is None else error


def _retry_timed_out(
    replay: "Replay", vm: bytes, pool: str, request: str, alias: str | None, failure: tuple[str | None, str | None]
) -> None:
    found, about = replay.get(REQUEST + request.encode(), "hash", {}), VM + vm
    if found.get(b"status") in (b"failed", b"deleted"):
        return
    retries, permanent, shown = _retries(replay, request), is_permanent(*failure), f"[!] [{pool}] '{vm.decode()}'"
    error, error_class = (part or "" for part in failure)
    replay.say(
        about,
        f"{shown} checking retry logic: error='{error}', error_class='{error_class}', retry_count={retries},"
        f" max_retries={MOST_RETRIES}".encode(),
    )
    replay.say(about, f"{shown} permanent_error check result: {str(permanent).lower()}".encode())
    if retries < MOST_RETRIES and not permanent:
        _set(replay, request, retry_count=str(retries + 1))
        _put_back(replay, pool, request, alias, 1)
        replay.say(about, f"{shown} failed, retrying (attempt {retries + 1}/{MOST_RETRIES})".encode())
    else:
        reason = f"Configuration error: {error}" if permanent else "Max retry attempts exceeded"
        _set(replay, request, status="failed", failure_reason=reason)
        replay.say(about, f"{shown} permanently failed: {reason}".encode())


def fail_pending(replay: "Replay", vm: bytes, pool: str, timeout: float, notification: float) -> Any:
    fields, shown = replay.get(VM + vm, "hash", {}), f"[!] [{pool}] '{vm.decode()}'"
    if b"clone" not in fields:
        if replay.applies(Rule.NO_CLONE_TIME, POOLS):
            return "pending"
        replay.say(POOLS, b"Fail pending VM failed with an error: no implicit conversion of nil into String")
        return False
    since, guessed = reading(fields[b"clone"], replay.tz)
    assert since is not None, "no recorded `clone` is unreadable"
    assert not guessed, "no recorded `clone` is one that Ruby guesses"
    age, error = replay.now - since, _text(fields, b"open_socket_error")
    late, soon = age > timeout * 60, age > notification * 60 and b"timeout_notification" not in fields
    if late:
        told = time_out(replay, vm, pool)
        about = _line(vm, "marked as 'failed' ")
        replay.say(about, f"{shown} marked as 'failed' after {timeout} minutes with error: {told or ''}".encode())
    if soon and not (late and replay.applies(Rule.WARNED_ONLY, VM + vm)):
        replay.state[VM + vm].value[b"timeout_notification"] = b"1"
    if soon and not late:
        about = _line(vm, "impending failure ")
        ours = replay.applies(Rule.MINUTES_LEFT, about)
        left = f"{(timeout * 60 - age) / 60:.0f}" if ours else f"{timeout - notification}"
        replay.say(about, f"{shown} impending failure in {left} minutes with error: {error or ''}".encode())
    if replay.ruled:
        return "failed" if late else "pending"
    return True


# --- ready ------------------------------------------------------------------------------------------------------------


def still_ready(replay: "Replay", vm: bytes, pool: str, answer: Any) -> Any:
    fields = replay.get(VM + vm, "hash", {})
    if not isinstance(answer, dict) and replay.applies(Rule.CHECK_STAMPED, VM + vm):
        fields[b"check"] = _stamp(replay, ZONES["UTC"])
    if answer is True:
        return True
    request, error = _text(fields, b"request_id"), _text(fields, b"open_socket_error")
    error_class = answer["raise"][0] if isinstance(answer, dict) else "RuntimeError"
    message, retries = "VM became unreachable in ready queue" if error is None else error, 0
    if (
        request is not None
        and _retries(replay, request)
        and replay.applies(Rule.RETRIES_OF_REQUEST, dead_letters_key("ready"))
    ):
        retries = _retries(replay, request)
    dead_letter = replay.dead_letter(
        vm, pool, "ready", error_class, message, retries, request, _text(fields, b"pool_alias")
    )
    replay.push("ready", [(vm, dead_letter)], {vm: message})
    _move(replay, vm, pool, "ready")
    line = f"[!] [{pool}] '{vm.decode()}' removed from 'ready' queue. vm unreachable with error: {error or ''}"
    replay.say(_line(vm, "removed from 'ready' queue"), line.encode())
    return None


# --- clones -----------------------------------------------------------------------------------------------------------


def clone(replay: "Replay", step: Step, pool: str) -> Any:
    vm, request = replay.options["prefix"] + step.args["names"][0], step.args.get("request_id")
    shown, about = f"[{pool}] '{vm}'", VM + vm.encode()
    _begin(replay, step, pool, vm)
    replay.say(about, f"[ ] [{pool}] Starting to clone '{vm}'".encode())
    if "create_vm" in step.provider:
        error_class, message = step.provider["create_vm"]["raise"]
    else:
        error_class, message = "StandardError", NO_ADDRESS
        replay.say(about, f"[+] {shown} cloned in 0.00 seconds".encode())
        _there(replay, about, f"[ ] [{pool}] Obtaining IP for '{vm}'")
    if replay.ruled:
        if request is not None and not _is_integer(_retry_field(replay, request)):
            replay.applies(Rule.BROKEN_COUNTS, _failed(vm))
        if replay.redis is None:
            replay.applies(Rule.DATA_TTL_DEFAULT, _failed(vm))
        replay.say(_failed(vm), f"[!] {shown} clone failed: {error_class}: {message}".encode())
        _fail_clone(replay, step, pool, vm, error_class, message)
        counter = _counter(request)
        replay.applies(Rule.SLOTS_IN_USE, counter)
        if counter not in replay.state:  # otherwise another program has written it
            replay.state[counter] = Cell("string", b"0", None)
        return [error_class, message]
    replay.outcome.raised, last = True, message
    try:
        _fail_clone(replay, step, pool, vm, error_class, message)
        replay.say(_failed(vm), f"[!] {shown} clone failed: {error_class}: {message}".encode())
    except CommandError as error:
        last = str(error)
    try:
        _decrement(replay, _counter(request))
    except CommandError as error:
        last = str(error)
    if step.action == "clone_vm":
        _look_at_thread(replay, step, pool, last)
    return None


def _failed(vm: str) -> bytes:
    return _line(vm.encode(), "clone failed: ")


def _begin(replay: "Replay", step: Step, pool: str, vm: str) -> None:
    key, zone = VM + vm.encode(), ZONES["UTC" if replay.ruled else replay.tz]
    if replay.tz != "UTC":
        replay.applies(Rule.STAMPS_IN_UTC, key)
    plugin = next(one["dns_plugin"] for one in replay.config["pools"] if one["name"] == pool)
    domain = replay.config["dns_configs"][plugin]["domain"]
    fields = {
        "clone": _stamp(replay, zone).decode(),
        "template": pool,
        "pool": pool,
        "domain": domain,
        "request_id": step.args.get("request_id"),
        "pool_alias": step.args.get("pool_alias"),
    }
    value = {name.encode(): text.encode() for name, text in fields.items() if text is not None}
    replay.state[key] = Cell("hash", value, None)
    replay.state.setdefault(queue_key("pending", pool), Cell("set", set(), None)).value.add(vm.encode())


def _fail_clone(replay: "Replay", step: Step, pool: str, vm: str, error_class: str, message: str) -> None:
    raw, request, alias = vm.encode(), step.args.get("request_id"), step.args.get("pool_alias")
    retries = 0 if request is None else _retries(replay, request)
    dead_letter = replay.dead_letter(raw, pool, "clone", error_class, message, retries, request, alias)
    replay.push("clone", [(raw, dead_letter)], {raw: message})
    seconds = replay.data_ttl(VM + raw)
    if seconds is None:
        raise CommandError(NO_REDIS_SECTION)
    replay.remove(queue_key("pending", pool), raw)
    replay.state[VM + raw].value.update({b"clone_error": message.encode(), b"clone_error_class": error_class.encode()})
    replay.expire(VM + raw, seconds)
    if request is None:
        return
    if replay.ruled:
        _try_again(replay, raw, pool, request, alias, (message, error_class))
    else:
        _retry_clone(replay, raw, pool, request, alias, (message, error_class))


def _retry_clone(
    replay: "Replay", vm: bytes, pool: str, request: str, alias: str | None, failure: tuple[str, str]
) -> None:
    about, retries, permanent = VM + vm, _retries(replay, request), is_permanent(*failure)
    replay.say(
        about,
        f"[!] [{pool}] '{vm.decode()}' checking immediate failure retry: error='{failure[0]}',"
        f" error_class='{failure[1]}', retry_count={retries}, max_retries={MOST_RETRIES},"
        f" permanent_error={str(permanent).lower()}".encode(),
    )
    if permanent or retries >= MOST_RETRIES:
        reason = "permanent error detected" if permanent else "max retries exceeded"
        replay.say(about, f"[!] [{pool}] Cancelling request {request} due to {reason}".encode())
        _set(replay, request, status="failed")
        _put_back(replay, pool, request, alias, 0)
        return
    count = _retry_field(replay, request)
    if not _is_integer(count):
        raise CommandError(NO_HASH_INTEGER)
    _set(replay, request, retry_count=str(int(count) + 1))
    replay.say(about, f"[+] [{pool}] Request {request} will be retried (attempt {retries + 1}/{MOST_RETRIES})".encode())
    _put_back(replay, pool, request, alias, 1)


def _counter(request: str | None) -> bytes:
    return b"vmpooler__tasks__clone" if request is None else b"vmpooler__tasks__ondemandclone"


def _decrement(replay: "Replay", key: bytes) -> None:
    value = replay.get(key, "string", b"0")
    if not _is_integer(value):
        raise CommandError(NOT_AN_INTEGER)
    replay.state[key] = Cell("string", str(int(value) - 1).encode(), None)


def _look_at_thread(replay: "Replay", step: Step, pool: str, error: str) -> None:
    request = step.args.get("request_id")
    if request is None:
        replay.say(POOLS, f"[!] [{pool}] failed while cloning VM with an error: {error}".encode())
        return
    replay.say(POOLS, f"[!] [{pool}] failed while cloning VM for request {request} with an error: {error}".encode())
    if replay.get(REQUEST + request.encode(), "hash", {}).get(b"status") == b"failed":
        line = f"[!] [{pool}] Request {request} already marked as failed, not re-queueing"
        replay.say(POOLS, line.encode())
    else:
        _put_back(replay, pool, request, step.args.get("pool_alias"), 1)


# --- requests ---------------------------------------------------------------------------------------------------------


def _try_again(
    replay: "Replay", vm: bytes, pool: str, request: str, alias: str | None, failure: tuple[str | None, str | None]
) -> Rule | None:
    """What we do for the request, whichever way the VM failed; the rule by which that is nothing."""
    key = REQUEST + request.encode()
    found = replay.get(key, "hash", {})
    if b"requested" not in found or found.get(b"status") in (b"ready", b"failed", b"deleted"):
        replay.applies(Rule.UNANSWERED_REQUESTS, key, ITEMS)
        return Rule.UNANSWERED_REQUESTS
    retries, permanent = _retries(replay, request), is_permanent(*failure)
    if permanent or retries >= MOST_RETRIES:
        reason = f"Configuration error: {failure[0]}" if permanent else "Max retry attempts exceeded"
        replay.applies(Rule.FAILURE_REASON, key)
        replay.applies(Rule.NO_ITEM_OF_NONE, ITEMS)
        _set(replay, request, status="failed", failure_reason=reason)
        about, line = _line(vm, "permanently failed, "), f"permanently failed, and with it request {request}: {reason}"
        replay.applies(Rule.OTHER_WORDS, about)
        replay.say(about, f"[!] [{pool}] '{vm.decode()}' {line}".encode())
        return None
    _set(replay, request, retry_count=str(retries + 1))
    _put_back(replay, pool, request, alias, 1)
    replay.say(key, f"[+] [{pool}] Request {request} will be retried (attempt {retries + 1}/{MOST_RETRIES})".encode())
    return None


def is_permanent(message: str | None, error_class: str | None) -> bool:
    if message is None or error_class is None:
        return False
    return error_class in PERMANENT_CLASSES or PERMANENT.search(message) is not None


def _retries(replay: "Replay", request: str) -> int:
    """The number that the text begins with, else 0."""
    begins = re.match(rb"\d+", _retry_field(replay, request))
    return int(begins[0]) if begins else 0


def _retry_field(replay: "Replay", request: str) -> bytes:
    found: bytes = replay.get(REQUEST + request.encode(), "hash", {}).get(b"retry_count", b"0")
    return found


def _is_integer(text: bytes) -> bool:
    """As strict as Redis."""
    return re.fullmatch(rb"0|-?[1-9]\d*", text) is not None


def _set(replay: "Replay", request: str, **fields: str) -> None:
    cell = replay.state.setdefault(REQUEST + request.encode(), Cell("hash", {}, None))
    cell.value.update({name.encode(): value.encode() for name, value in fields.items()})


def _put_back(replay: "Replay", pool: str, request: str, alias: str | None, count: int) -> None:
    cell = replay.state.setdefault(ITEMS, Cell("zset", {}, None))
    cell.value[f"{alias or ''}:{pool}:{count}:{request}".encode()] = count
