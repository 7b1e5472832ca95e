"""The Celery application of `celery -A vmpooler_tasks …`."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.loaders.app import AppLoader
from celery.utils.saferepr import saferepr

from vmpooler_tasks.model.redaction import redacted
from vmpooler_tasks.tasks.celery.configuration import celery_settings, prepare_process
from vmpooler_tasks.tasks.observe.log_format import add_options
from vmpooler_tasks.tasks.registry import OWN_LINES

CELERYCONFIG = "celeryconfig"


class RedactedMessages(AMQP):
    """Write messages whose headers show no secret: Flower, `inspect active` and the log of a worker repeat them."""

    def as_task_v2(
        self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *more: Any, **options: Any
    ) -> Any:
        """Return a message as Celery's own method does, with the arguments in its headers redacted.

        A task without events in Flower has none when it is sent either: Flower would keep 100,000 of these in memory.
        """
        shown = {"argsrepr": (args or (), self.argsrepr_maxsize), "kwargsrepr": (kwargs or {}, self.kwargsrepr_maxsize)}
        for header, (value, max_characters) in shown.items():
            if options.get(header) is None:
                options[header] = saferepr(redacted(value), max_characters)
        message = super().as_task_v2(task_id, name, args, kwargs, *more, **options)
        return message._replace(sent_event=None) if name in OWN_LINES else message


class Loader(AppLoader):
    """Read `celeryconfig.py` if there is one in the folder that Celery was started in, else our own settings."""

    def read_configuration(self, env: str | None = None) -> dict[str, Any]:
        del env  # Celery's way to name a configuration module; the file has a fixed name here
        found = _celeryconfig()
        if found is None:
            prepare_process()
            return celery_settings()
        return {name: value for name, value in vars(found).items() if not name.startswith("_")}


def _celeryconfig() -> ModuleType | None:
    """Import the deployment's `celeryconfig.py` from the working folder alone: another on the path is not ours."""
    here = Path.cwd()
    if not (here / f"{CELERYCONFIG}.py").is_file():
        return None
    sys.path.insert(0, str(here))
    try:
        return importlib.import_module(CELERYCONFIG)
    finally:
        sys.path.remove(str(here))


# Not made current: `celeryconfig.py` imports this package on behalf of Celery's own default app.
app = Celery("vmpooler_tasks", loader=Loader, amqp=RedactedMessages, set_as_current=False)
add_options(app)
