"""Dead letters, auto-purge and health checks for VMPooler's queues, as Celery workers."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    app: Celery

__all__ = ["app"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Make `vmpooler_tasks.app` when it is first used: other users of the package do not import Celery."""
    if name == "app":
        return importlib.import_module("vmpooler_tasks.tasks.celery.app").app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
