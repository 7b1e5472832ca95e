"""The dead letters' part of `goldens_model`: how they are written, and which of them are let go."""

from datetime import UTC, datetime
from typing import Any

from tests.support.goldens import SOME_ID, Cell, Rule, WrongTypeError
from tests.support.goldens_state import CYCLE, DEAD_LETTER_QUEUES, VM, Replayed, compact, dead_letters_key, is_utf8
from tests.support.goldens_times import ZONES


class ReplayedDeadLetters(Replayed):
    """Adds dead letters to that database, and trims them."""

    @property
    def dry_run(self) -> bool:
        return self.option("purge_dry_run", CYCLE) is True

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
