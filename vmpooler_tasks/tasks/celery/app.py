"""The Celery application of `celery -A vmpooler_tasks …`."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery
from celery.loaders.app import AppLoader

from vmpooler_tasks.tasks.celery.configuration import deployment
from vmpooler_tasks.tasks.observe.log_format import add_options

CELERYCONFIG = "celeryconfig"


class Loader(AppLoader):
    """Reads `celeryconfig.py` where one lies in the folder that Celery was started in, else our own settings."""

    def read_configuration(self, env: str | None = None) -> dict[str, Any]:
        del env  # Celery's way to name a configuration module; the file has a fixed name here
        found = _celeryconfig()
        if found is None:
            return deployment()
        return {name: value for name, value in vars(found).items() if not name.startswith("_")}


def _celeryconfig() -> ModuleType | None:
    """The deployment's `celeryconfig.py`, from the working folder alone: another on the path is somebody else's."""
    here = Path.cwd()
    if not (here / f"{CELERYCONFIG}.py").is_file():
        return None
    sys.path.insert(0, str(here))
    try:
        return importlib.import_module(CELERYCONFIG)
    finally:
        sys.path.remove(str(here))


# Not current from the start: `celeryconfig.py` imports this package on behalf of Celery's own default app.
app = Celery("vmpooler_tasks", loader=Loader, set_as_current=False)
add_options(app)
