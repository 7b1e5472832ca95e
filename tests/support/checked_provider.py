"""A provider that can be tried: what it finds is in its section. `installed` installs it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from vmpooler_tasks.errors import PermanentProviderError, TransientProviderError
from vmpooler_tasks.providers import PoolSpec, ProviderContext, ProviderProblem
from vmpooler_tasks.providers.dummy.provider import Dummy

NAME, UNCHECKED_NAME = "checked", "unchecked"


def _raise(error: BaseException) -> NoReturn:
    raise error


WAYS: dict[str, Callable[[], object]] = {
    "no network": lambda: _raise(TransientProviderError("connect to vcenter:443: [Errno 113] No route to host")),
    "refused": lambda: _raise(PermanentProviderError("login failed for https://root:hunter2@vcenter/\nand more")),
    "bug": lambda: _raise(AttributeError("'NoneType' object has no attribute 'content'")),
    "hang": lambda: time.sleep(60),
    "ok": lambda: None,
}


class Checked(Dummy):
    """Return the `problems` of its section, or end in the `way` that it names."""

    def __init__(self, context: ProviderContext) -> None:
        options = dict(context.options)
        self._problems, self._way = options.pop("problems", {}), options.pop("way", "ok")
        super().__init__(
            ProviderContext(name=context.name, options=options, redis_url=context.redis_url, installation="")
        )

    def find_problems(self, pools: Sequence[PoolSpec]) -> list[ProviderProblem]:
        WAYS[self._way]()
        found = [ProviderProblem(text=text) for text in self._problems.get("all", ())]
        return found + [
            ProviderProblem(text=text.format(template=pool.template), pool=pool.name)
            for pool in pools
            for text in self._problems.get(pool.name, ())
        ]


class Unchecked(Dummy):
    """A provider without `find_problems`."""

    find_problems = None  # type: ignore[assignment]  # isinstance() of a protocol goes by what is callable


def installed(folder: Path) -> str:
    """Return a folder for PYTHONPATH in which these providers are an installed distribution."""
    info = folder / "checked_provider-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: checked-provider\nVersion: 1\n", encoding="utf-8")
    entries = f"{NAME} = {__name__}:Checked\n{UNCHECKED_NAME} = {__name__}:Unchecked\n"
    (info / "entry_points.txt").write_text(f"[vmpooler_tasks.providers]\n{entries}", encoding="utf-8")
    return str(folder)
