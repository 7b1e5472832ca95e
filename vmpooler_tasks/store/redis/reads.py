"""Several reads in one round trip, of which some may fail."""

from collections.abc import Mapping
from typing import Any

import redis

from vmpooler_tasks.store.redis.connection import Database


class Reads:
    """Commands that only read, each by a name of the caller's choice."""

    def __init__(self) -> None:
        self._commands: dict[Any, tuple[Any, ...]] = {}

    def add(self, name: Any, *command: Any) -> None:
        """Add a command; its key is its second word, if it has one."""
        self._commands[name] = command

    def send(self, db: Database) -> "Replies":
        """Send all commands in one round trip and return their replies. Raises StoreUnavailableError."""
        if not self._commands:
            return Replies({}, [])
        with db.translated_errors():
            # No transaction: Redis refuses one when it is out of memory, and this only reads.
            pipe = db.client.pipeline(transaction=False)
            for command in self._commands.values():
                pipe.execute_command(*command)
            replies = pipe.execute(raise_on_error=False)
        found, refused = dict[Any, Any](), list[bytes]()
        for (name, command), reply in zip(self._commands.items(), replies, strict=True):
            if isinstance(reply, redis.ResponseError):
                refused += command[1:2]
            else:
                found[name] = reply
        return Replies(found, refused)


class Replies:
    """The replies by name. `refused` has the keys that are of another type than expected, or may not be read."""

    def __init__(self, found: Mapping[Any, Any], refused: list[bytes]) -> None:
        self._found, self.refused = found, refused

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def get(self, name: Any, default: Any = None) -> Any:
        """Return a reply, or the default if the server refused the command or returned nothing."""
        found = self._found.get(name)
        return default if found is None else found
