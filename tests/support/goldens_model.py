"""What VMPooler did to a database, in few words, and what each rule makes of it.

Without rules a replay reproduces the recordings key by key and line by line, which proves that it describes VMPooler;
with rules it says exactly what our product must do. Nothing of the product is used here.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tests.support import goldens_health, goldens_pools
from tests.support.goldens import POOL_ACTIONS, QUEUE_ACTIONS, SOME_ID, Cell, Rule, Step, WrongTypeError
from tests.support.goldens_state import (
    CYCLE,
    DEAD_LETTER_QUEUES,
    FIELDS,
    QUEUES,
    VM,
    Outcome,
    Replayed,
    compact,
    dead_letters_key,
    is_utf8,
    number,
    queue_key,
    rounded,
)
from tests.support.goldens_times import ZONES, reading


class Replay(Replayed):
    """Does to the database what each step did."""

    def step(self, step: Step) -> Outcome:
        self.now, self.outcome, self.stopped = step.now, Outcome(), False
        self.purged_from_pending.clear()
        try:
            self.outcome.result = self._act(step)
        except WrongTypeError:
            self.outcome.raised = True
        return self.outcome

    def _act(self, step: Step) -> Any:
        if step.action in QUEUE_ACTIONS:
            count = self.purge_queue(QUEUE_ACTIONS[step.action], step.args["pool"])
            self.trim_dead_letters()
            return count
        if step.action in POOL_ACTIONS:
            return goldens_pools.act(self, step)
        match step.action:
            case "purge_orphaned_metadata":
                count = self.purge_orphans(already_told=set())
                self.trim_dead_letters()
                return count
            case "purge_cycle":
                return self.purge_cycle()
            case "health_cycle":
                return goldens_health.health_cycle(self)
            case "calculate_health_metrics":
                return goldens_health.metrics(self)[0]
            case _:
                return self.move_to_dlq(step.args)

    # --- purge --------------------------------------------------------------------------------------------------

    @property
    def dry_run(self) -> bool:
        return self.option("purge_dry_run", CYCLE) is True

    def purge_cycle(self) -> Any:
        if self.options["purge_enabled"] is not True:
            if self.applies(Rule.SAYS_IT_IS_OFF, CYCLE):
                self.say(CYCLE, b"[*] [purge] Skipped purge cycle: purge is switched off (purge_enabled: false)")
            return None
        self.say(CYCLE, b"[*] [purge] Starting stale queue entry purge cycle")
        try:
            total = sum(self.purge_queue(queue, pool) for pool in self.pools for queue in FIELDS)
            total += self.purge_orphans(
                already_told={queue_key(queue, pool) for pool in self.pools for queue in FIELDS}
            )
        except WrongTypeError:
            self.say(CYCLE, b"[!] [purge] Failed during purge cycle")
            return "ran"
        self.trim_dead_letters()
        if self.dry_run and self.applies(Rule.DRY_RUN_FOUND, CYCLE):
            summary = b"[*] [purge][dry-run] Completed purge cycle in 0s: %d entries found, nothing changed"
        else:
            summary = b"[*] [purge] Completed purge cycle in 0s: %d entries purged"
        self.say(CYCLE, summary % total)
        return "ran"

    def purge_queue(self, queue: str, pool: str) -> int:
        key, limit = queue_key(queue, pool), self.options[f"max_{queue}_age"]
        try:
            members = sorted(self.members(queue, pool))
        except WrongTypeError:
            if not self.applies(Rule.WRONG_TYPE_STOPS_NOTHING, key, CYCLE):
                raise
            self.stopped = True
            self.complain(key, f"{queue} queue of '{pool}'".encode())
            return 0
        remembered: dict[bytes, float] = {}
        ages = [(vm, self.age_in_queue(queue, pool, vm, remembered)) for vm in members]
        stale = [(vm, age) for vm, age in ages if age is not None and age > limit]
        self.remember((queue, pool), remembered, stale)
        if self.dry_run:
            for vm, age in stale:
                self.option("purge_dry_run", VM + vm, key, queue_key("completed", pool), dead_letters_key("pending"))
                line = b"[*] [purge][dry-run] Would purge stale %b VM '%b' (age: %ds, max: %bs)"
                self.say(VM + vm, line % (queue.encode(), vm, rounded(age), number(limit)))
            return len(stale)
        return {"pending": self.take_pending, "ready": self.take_ready, "completed": self.take_completed}[queue](
            pool, stale
        )

    def remember(self, what: tuple[str, str], seen: dict[bytes, float], taken: list[tuple[bytes, float]]) -> None:
        if not self.dry_run:
            gone = {vm for vm, _ in taken} if what[0] != "orphaned" else set()
            self.first_seen[what] = {vm: since for vm, since in seen.items() if vm not in gone}

    def age_in_queue(self, queue: str, pool: str, vm: bytes, remembered: dict[bytes, float]) -> float | None:
        key, known = VM + vm, self.first_seen[queue, pool]
        complaint = f"{queue} VM '".encode() + vm + b"'"
        try:
            fields = self.get(key, "hash", {})
        except WrongTypeError:
            self.complain(key, complaint)
            return self.age_unknown(key, vm, known, remembered)
        stamp = fields.get(FIELDS[queue])
        if queue == "completed" and stamp is None and b"checkout" in fields:
            rule = Rule.COMPLETED_SINCE_DESTROY
            stamp = None if self.applies(rule, key, queue_key(queue, pool)) else fields[b"checkout"]
        return self.age(key, vm, stamp, complaint, known, remembered)

    def age(
        self,
        key: bytes,
        vm: bytes,
        stamp: bytes | None,
        complaint: bytes,
        known: dict[bytes, float],
        remembered: dict[bytes, float],
    ) -> float | None:
        if stamp is None:
            return self.age_unknown(key, vm, known, remembered)
        epoch, guessed = reading(stamp, self.tz)
        if guessed and self.applies(Rule.RUBYS_GUESSES, key):
            epoch = None
        if epoch is not None:
            return self.now - epoch
        self.complain(key, complaint)
        return self.age_unknown(key, vm, known, remembered)

    def age_unknown(
        self, key: bytes, vm: bytes, known: dict[bytes, float], remembered: dict[bytes, float]
    ) -> float | None:
        if not self.ruled or (self.dry_run and vm not in known):
            return None
        if vm in known:
            self.applies(Rule.AGES_FROM_FIRST_SEEN, key)
        remembered[vm] = known.get(vm, self.now)
        return self.now - remembered[vm]

    def take_pending(self, pool: str, stale: list[tuple[bytes, float]]) -> int:
        queue, limit = queue_key("pending", pool), self.options["max_pending_age"]
        reasons = {vm: b"Stale pending VM (age: %ds > max: %bs)" % (rounded(age), number(limit)) for vm, age in stale}
        dead_letters = [(vm, self.purge_dead_letter(vm, pool, reason.decode())) for vm, reason in reasons.items()]
        if not self.push("pending", dead_letters, {vm: reason.decode() for vm, reason in reasons.items()}):
            self.notes[queue].add(Rule.NOTHING_LOST)
            self.complain(queue, f"pending queue of '{pool}'".encode())
            return 0
        for vm, age in stale:
            self.remove(queue, vm)
            if (ttl := self.data_ttl(VM + vm)) is not None:
                self.expire(VM + vm, ttl)
            self.purged_from_pending.add(vm)
            line = b"[!] [purge] Purged stale pending VM '%b' from '%b' (age: %ds)"
            self.say(VM + vm, line % (vm, pool.encode(), rounded(age)))
        return len(stale)

    def data_ttl(self, key: bytes) -> int | None:
        if self.redis is not None and "data_ttl" in self.redis:
            return int(self.redis["data_ttl"]) * 3600
        return 168 * 3600 if self.applies(Rule.DATA_TTL_DEFAULT, key) else None

    def take_ready(self, pool: str, stale: list[tuple[bytes, float]]) -> int:
        for vm, age in stale:
            self.remove(queue_key("ready", pool), vm)
            self.state.setdefault(queue_key("completed", pool), Cell("set", set(), None)).value.add(vm)
            line = b"[!] [purge] Moved stale ready VM '%b' from '%b' to completed (age: %ds)"
            self.say(VM + vm, line % (vm, pool.encode(), rounded(age)))
        return len(stale)

    def take_completed(self, pool: str, stale: list[tuple[bytes, float]]) -> int:
        for vm, age in stale:
            self.remove(queue_key("completed", pool), vm)
            line = b"[!] [purge] Removed stale completed VM '%b' from '%b' (age: %ds)"
            self.say(VM + vm, line % (vm, pool.encode(), rounded(age)))
        return len(stale)

    def purge_orphans(self, already_told: set[bytes]) -> int:
        limit, found, remembered = self.options["max_orphaned_age"], 0, dict[bytes, float]()
        for key, cell in self.state.items() if self.ruled else ():
            if cell.kind != "set" and key.startswith(b"vmpooler__pending__") and key not in already_told:
                self.applies(Rule.WRONG_TYPE_STOPS_NOTHING, key)
                self.complain(key, b"queue '%b'" % key)
        if unreadable := self.unreadable_queues():
            self.applies(Rule.UNREADABLE_QUEUE, unreadable[0])
            names = b", ".join(unreadable)
            line = b"[!] [purge] Skipped orphaned metadata: its VMs may be in a queue that cannot be read: %b"
            self.say(unreadable[0], line % names)
            for vm, _, _ in self.orphans():
                self.applies(Rule.UNREADABLE_QUEUE, VM + vm)
            return 0
        for vm, stamp, readable in list(self.orphans()):
            key, complaint = VM + vm, b"orphaned metadata '%b'" % (VM + vm)
            known = self.first_seen["orphaned", ""]
            if readable:
                age = self.age(key, vm, stamp, complaint, known, remembered)
            else:
                self.complain(key, complaint)
                age = self.age_unknown(key, vm, known, remembered)
            if age is None or age <= limit:
                continue
            found += 1
            if self.option("purge_dry_run", key) is True:
                line = b"[*] [purge][dry-run] Would purge orphaned metadata for '%b' (age: %ds, max: %bs)"
                self.say(key, line % (vm, rounded(age), number(limit)))
            else:
                self.expire(key, 3600)
                self.say(
                    key, b"[!] [purge] Set expiration on orphaned metadata for '%b' (age: %ds)" % (vm, rounded(age))
                )
        self.remember(("orphaned", ""), remembered, [])
        return found

    def unreadable_queues(self) -> list[bytes]:
        """Return the queues of the pools that are of another type, by the rules."""
        every = [queue_key(queue, pool) for pool in self.pools for queue in QUEUES] if self.ruled else []
        return sorted(key for key in every if self.state.get(key, Cell("set", set(), None)).kind != "set")

    def orphans(self, *, counting: bool = False) -> Iterator[tuple[bytes, bytes | None, bool]]:
        """(VM, its `clone`, whether its metadata can be read) of what is in no queue."""
        for key in sorted(key for key in self.state if key.startswith(VM)):
            vm, cell = key[len(VM) :], self.state[key]
            theirs = self.is_vmpoolers_orphan(vm, cell)
            if not self.ruled:
                if theirs is not False and (theirs or not counting):
                    yield vm, cell.value.get(b"clone") if cell.kind == "hash" else None, theirs is not None
                continue
            ours = not self.is_queued(vm) and cell.ttl is None
            if ours is not theirs:
                self.applies(self.why_not_the_same(vm, cell), key)
            if ours:
                yield vm, cell.value.get(b"clone") if cell.kind == "hash" else None, cell.kind == "hash"

    def is_vmpoolers_orphan(self, vm: bytes, cell: Cell) -> bool | None:
        """None where looking at it fails."""
        if cell.kind != "hash":
            return None
        if (pool := cell.value.get(b"pool")) is None:
            return False
        try:
            return not any(vm in self.members(queue, pool.decode()) for queue in QUEUES)
        except WrongTypeError:
            return None

    def why_not_the_same(self, vm: bytes, cell: Cell) -> Rule:
        if self.is_queued(vm):
            return Rule.QUEUED_IN_ANY_POOL
        if vm in self.purged_from_pending:
            return Rule.PURGED_KEEPS_DATA_TTL
        if cell.ttl is not None:
            return Rule.ORPHAN_EXPIRES_ALREADY
        if cell.kind != "hash":
            return Rule.UNREADABLE_ORPHAN
        return Rule.METADATA_WITHOUT_POOL if b"pool" not in cell.value else Rule.WRONG_TYPE_STOPS_NOTHING

    # --- dead letters -------------------------------------------------------------------------------------------

    def purge_dead_letter(self, vm: bytes, pool: str, reason: str) -> dict[str, Any]:
        fields = self.get(VM + vm, "hash", {}) if self.state.get(VM + vm, Cell("hash", {}, None)).kind == "hash" else {}
        origin = {name: fields.get(name.encode()) for name in ("request_id", "pool_alias")}
        return self.dead_letter(
            vm, pool, "pending", "Purge", reason, 0, **{k: None if v is None else v.decode() for k, v in origin.items()}
        )

    def dead_letter(
        self,
        vm: bytes,
        pool: str,
        queue: str,
        error_class: str | None,
        error_message: str | None,
        retry_count: int | None,
        request_id: str | None = None,
        pool_alias: str | None = None,
    ) -> dict[str, Any]:
        if retry_count is None and self.applies(Rule.ALWAYS_A_RETRY_COUNT, dead_letters_key(queue)):
            retry_count = 0
        zone = UTC if self.ruled else ZONES[self.tz]
        failed_at = datetime.fromtimestamp(int(self.now), zone).isoformat()
        fields = {
            "vm": vm,
            "pool": pool,
            "queue_from": queue,
            "error_class": error_class or "",
            "error_message": error_message or "",
            "failed_at": failed_at,
            "retry_count": retry_count,
            "request_id": request_id,
            "pool_alias": pool_alias,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def member(self, queue: str, vm: bytes, dead_letter: dict[str, Any]) -> bytes:
        """Raises UnicodeDecodeError where VMPooler's JSON writer fails."""
        if not self.applies(Rule.PURE_JSON, dead_letters_key(queue)):
            return b"%b:%d:%b" % (vm, int(self.now), compact({**dead_letter, "vm": vm.decode()}))
        text = vm.decode(errors="backslashreplace")
        body = compact({**dead_letter, "vm": text, "failed_at": dead_letter["failed_at"].replace("+00:00", "Z")})
        return body[:-1] + SOME_ID

    def push(self, queue: str, dead_letters: list[tuple[bytes, dict[str, Any]]], reasons: dict[bytes, str]) -> bool:
        """Whether the VMs may leave their queue: without the rule, always."""
        if not self.options.get("dlq_enabled") or not dead_letters:
            return True
        key = dead_letters_key(queue)
        if self.ruled:
            return self._push_together(queue, key, dead_letters, reasons)
        ttl = self.options["dlq_ttl"] * 3600
        for vm, dead_letter in dead_letters:
            try:
                self._put(key, {self.member(queue, vm, dead_letter): int(self.now)})
                failed = isinstance(ttl, str)
            except (WrongTypeError, UnicodeDecodeError):
                failed = True
            if failed:
                self.say(VM + vm, b"[!] [dlq] Failed to move '%b' to DLQ" % vm)
                continue
            self.expire(key, ttl)
            if dropped := self._drop(key):
                self.say(key, b"[!] [dlq] Trimmed %d oldest entries from %b" % (dropped, key))
            self.say(
                VM + vm, b"[!] [dlq] Moved '%b' from '%b' queue to DLQ: %b" % (vm, queue.encode(), reasons[vm].encode())
            )
        return True

    def _push_together(
        self, queue: str, key: bytes, dead_letters: list[tuple[bytes, dict[str, Any]]], reasons: dict[bytes, str]
    ) -> bool:
        members = {vm: self.member(queue, vm, dead_letter) for vm, dead_letter in dead_letters}
        told_before = {
            vm for vm, member in members.items() if member in self.state.get(key, Cell("zset", {}, None)).value
        }
        try:
            self._put(key, dict.fromkeys(members.values(), int(self.now)))
        except WrongTypeError:
            self.applies(Rule.NOTHING_LOST, key, *(VM + vm for vm, _ in dead_letters))
            return False
        self.expire(key, self.option("dlq_ttl", key, *(VM + vm for vm, _ in dead_letters)) * 3600)
        self._let_go(queue)
        for vm, _ in dead_letters:
            if vm in told_before:
                self.applies(Rule.REPORTED_ONCE, VM + vm)
                continue
            line = b"[!] [dlq] Moved '%b' from '%b' queue to DLQ: %b"
            self.say(VM + vm, line % (vm, queue.encode(), reasons[vm].encode()))
            if not is_utf8(vm):
                self.applies(Rule.NOTHING_LOST, VM + vm)
        return True

    def _put(self, key: bytes, added: dict[bytes, int]) -> None:
        self.get(key, "zset", {})
        self.state.setdefault(key, Cell("zset", {}, None)).value.update(added)

    def _drop(self, key: bytes) -> int:
        dead_letters = self.get(key, "zset", {})
        oldest = sorted(dead_letters, key=lambda member: (dead_letters[member], member))
        excess = max(0, len(dead_letters) - int(self.options["dlq_max_entries"]))
        for member in oldest[:excess]:
            del dead_letters[member]
        if not dead_letters:
            self.state.pop(key, None)
        return excess

    def trim_dead_letters(self) -> None:
        """What our cycle does at its end, for all queues."""
        if not self.ruled or self.dry_run or not self.options.get("dlq_enabled"):
            return
        for queue in DEAD_LETTER_QUEUES:
            try:
                self.get(dead_letters_key(queue), "zset", {})
            except WrongTypeError:
                self.applies(Rule.WRONG_TYPE_STOPS_NOTHING, dead_letters_key(queue))
                self.complain(dead_letters_key(queue), f"dead letters '{queue}'".encode())
                continue
            if dead_letters_key(queue) in self.state:
                self._let_go(queue)

    def _let_go(self, queue: str) -> None:
        key = dead_letters_key(queue)
        dead_letters = self.state[key].value
        old = [m for m, score in dead_letters.items() if score < self.now - self.option("dlq_ttl", key) * 3600]
        for member in old:
            del dead_letters[member]
        if old:
            self.applies(Rule.TTL_PER_DEAD_LETTER, key)
            self.say(key, b"[*] [dlq] %d dead letters of '%b' expired" % (len(old), queue.encode()))
        if dropped := self._drop(key):
            self.applies(Rule.OWN_WORDS, key)
            line = b"[!] [dlq] Dropped the %d oldest of '%b': more than dlq_max_entries (%d)"
            self.say(key, line % (dropped, queue.encode(), self.options["dlq_max_entries"]))

    def move_to_dlq(self, args: dict[str, Any]) -> None:
        vm, queue, message = args["vm"].encode(), args["queue_type"], args["error_message"]
        dead_letter = self.dead_letter(
            vm,
            args["pool"],
            queue,
            args["error_class"],
            message,
            args.get("retry_count", 0),
            args.get("request_id"),
            args.get("pool_alias"),
        )
        self.push(queue, [(vm, dead_letter)], {vm: message or ""})
