"""Dead letters in Redis: one sorted set per queue, scored by the epoch of the failure.

`push` adds them, `read` reads them, `trim` removes those that are too old or too many, and `delete` removes those that
an operator selected.
"""
