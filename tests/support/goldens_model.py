"""What VMPooler did to a database, in few words, and what each rule makes of it.

Without rules a replay reproduces the recordings key by key and line by line, which proves that it describes VMPooler;
with rules it says exactly what our product must do. Nothing of the product is used here.
"""

from collections.abc import Iterator
from typing import Any

from tests.support import goldens_health, goldens_pools
from tests.support.goldens import POOL_ACTIONS, QUEUE_ACTIONS, Cell, Rule, Step, WrongTypeError
from tests.support.goldens_dead_letters import ReplayedDeadLetters
from tests.support.goldens_state import CYCLE, FIELDS, QUEUES, VM, Outcome, dead_letters_key, number, queue_key, rounded
from tests.support.goldens_times import reading


class Replay(ReplayedDeadLetters):
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
