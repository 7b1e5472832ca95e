"""kombu's waiting for messages lets other greenlets run, also where kombu was imported before gevent patched Python."""

import select

from kombu.utils import eventio


def wait_with_patched_select() -> None:
    """Let kombu wait with the `select` that gevent has put in place of Python's. Without gevent nothing changes.

    gevent inspects all modules while it patches. That imports kombu before `select` is patched. A worker then
    waits for a second at a time while none of its greenlets runs.
    """
    eventio._selectf = select.select  # noqa: SLF001 - kombu copied it when it was imported
