"""The provider keeps the contract. Run it with `pytest`."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from vmpooler_tasks.providers import PoolSpec, Provider, ProviderContext
from vmpooler_tasks.providers.contract import ProviderContract, Trouble
from vmpooler_tasks_folders import folders
from vmpooler_tasks_folders.machine import Machine


class TestFolders(ProviderContract):
    installation = "here"

    @pytest.fixture(autouse=True)
    def _created(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        for name in ("templates/small", "machines", "scratch"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "templates" / "small" / "disk.img").write_bytes(b"a system")
        context = ProviderContext(
            name="folders", options={"folder": str(tmp_path)}, redis_url="redis://127.0.0.1", installation="here"
        )
        self.own = folders(context)

    def provider(self) -> Provider:
        return self.own

    def pool(self) -> PoolSpec:
        return PoolSpec(name="contract", template="small")

    def other_pool(self) -> PoolSpec:
        return PoolSpec(name="other", template="small")

    def pool_without_template(self) -> PoolSpec:
        return PoolSpec(name="old", template="gone")

    def trouble(self, kind: Trouble) -> AbstractContextManager[PoolSpec] | None:
        """Take the storage away: it is the one trouble that a folder can have in a test."""
        return self._unmounted() if kind is Trouble.UNREACHABLE else None

    @contextmanager
    def _unmounted(self) -> Iterator[PoolSpec]:
        away = self.folder.with_name("away")
        self.folder.rename(away)
        yield self.pool()
        away.rename(self.folder)

    def make_foreign_vm(self, pool: PoolSpec, vm: str, mark: str | None) -> bool:
        place = self.folder / "machines" / pool.name / vm
        place.mkdir(parents=True)
        if mark is not None:
            Machine.new(vm, mark, 0).write(place)
        return True

    def leave_half_made(self, pool: PoolSpec, vm: str) -> bool:
        shutil.copytree(self.folder / "templates" / "small", self.folder / "scratch" / pool.name / vm / "half")
        return True

    def leftovers(self) -> Collection[str]:
        return sorted(str(path) for path in self.folder.glob("scratch/*/*/*"))

    def large_pool(self) -> AbstractContextManager[tuple[PoolSpec, Collection[str]]]:
        return self._filled()

    @contextmanager
    def _filled(self) -> Iterator[tuple[PoolSpec, Collection[str]]]:
        pool, names = PoolSpec(name="large", template="small"), self.names(2500)
        for name in names:
            place = self.folder / "machines" / pool.name / name
            place.mkdir(parents=True)
            Machine.new(name, "here", 0).write(place)
        yield pool, names
