"""redis-py's client, for which one of our own keys of a wrong type is no error: it is set aside, as before a script.

A command that the server refused because of such a key is run once more. So is a whole pipeline: each pipeline of this
package only reads, or writes the same when it is repeated.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import redis
from redis.client import Pipeline

from vmpooler_tasks.store.key_types import own_key_type
from vmpooler_tasks.store.redis import scripts

SET_ASIDE_SCRIPT = "redis/set_aside"


class GuardedClient(redis.Redis):
    """A client. Its commands are redis-py's."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command, and once more if one of our own keys had a wrong type."""
        try:
            return cast("Any", super()).execute_command(*args, **options)
        except redis.ResponseError as error:
            if not _set_aside(self.connection_pool, [error], [args]):
                raise
        return cast("Any", super()).execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "GuardedPipeline":
        """Return an empty pipeline."""
        return GuardedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class GuardedPipeline(Pipeline):
    """A pipeline. Its commands are redis-py's."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Run all commands, and once more if one of our own keys had a wrong type."""
        stack, commands = list(self.command_stack), [command[0] for command in self.command_stack]
        try:
            replies: list[Any] = super().execute(raise_on_error)
            errors = [reply for reply in replies if isinstance(reply, redis.ResponseError)]
            if not _set_aside(self.connection_pool, errors, commands):
                return replies
        except redis.ResponseError as error:
            if not _set_aside(self.connection_pool, [error], commands):
                raise
        self.command_stack = stack
        return list(super().execute(raise_on_error))


def _set_aside(pool: Any, errors: Iterable[Exception], commands: Iterable[Sequence[Any]]) -> bool:
    """Set aside our own keys of a wrong type among those of the commands. Return whether there was one.

    Without an error about a type, check none. A user who may not rename keys gets False.
    """
    if not any("WRONGTYPE" in str(error) for error in errors):
        return False
    named = {key.encode() if isinstance(key, str) else key for _, key, *_ in (c for c in commands if len(c) > 1)}
    own = [key for key in named if isinstance(key, bytes) and own_key_type(key)]
    if not own:
        return False
    try:
        return bool(redis.Redis(connection_pool=pool).eval(scripts.guarded_text(SET_ASIDE_SCRIPT), len(own), *own))
    except redis.ResponseError:
        return False
