"""Dead letters, auto-purge and health checks for VMPooler's queues, as Celery workers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    app: Celery

__all__ = ["app"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`vmpooler_tasks.app`, made at the first look, so that only those who want Celery pay for it."""
    if name == "app":
        from vmpooler_tasks.tasks.celery.app import app  # noqa: PLC0415 - the reason is the line above

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
