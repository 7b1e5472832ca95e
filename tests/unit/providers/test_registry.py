"""A provider comes from an installed package. A problem with it is one line that an operator can use."""

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from vmpooler_tasks import plugins
from vmpooler_tasks.config import Settings
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.providers import Provider, ProviderContext, registry
from vmpooler_tasks.providers.dummy import dummy
from vmpooler_tasks.providers.dummy.provider import Dummy
from vmpooler_tasks.tasks.pool_context import try_providers

MODULE = """
import os
from pydantic import BaseModel, ConfigDict

class Cloud:
    def __init__(self, context):
        self.context = context
    def list_vms(self, pool): return {}
    def find_vm(self, pool, vm): return None
    def create_vm(self, pool, vm): raise NotImplementedError
    def is_ready(self, pool, vm): raise NotImplementedError
    def destroy_vm(self, pool, vm): return False
    def close(self): pass

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sizes: list[int] = []

def half(context): return object()
def broken(context): raise RuntimeError("no reply from\\nhttps://root:hunter2@vcenter/")
def silent(context): raise RuntimeError
def lazy(context): import a_library_that_nobody_has
def optioned(context): Options.model_validate(dict(context.options)); return Cloud(context)
"""


class Packages:
    """Installs packages that are no more than a module and its metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, providers: Mapping[str, str], module: str | None = None, text: str = "") -> None:
        info = self.folder / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name} = {target}\n" for name, target in providers.items()]
        (info / "entry_points.txt").write_text("[vmpooler_tasks.providers]\n" + "".join(lines))
        if module is not None:
            (self.folder / f"{module}.py").write_text(text)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Packages(tmp_path)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def cloud(packages: Packages) -> Packages:
    """A package with one good provider, and some that are not."""
    names = {
        "cloud": "Cloud",
        "half": "half",
        "broken": "broken",
        "silent": "silent",
        "lazy": "lazy",
        "optioned": "optioned",
        "absent": "nothing_of_that_name",
        "number": "__name__",
    }
    targets = {name: f"cloud_for_tests:{attribute}" for name, attribute in names.items()}
    packages.install("vmpooler-tasks-cloud", targets, "cloud_for_tests", MODULE)
    return packages


def context(name: str, **options: Any) -> ProviderContext:
    return ProviderContext(name=name, options=options, redis_url="redis://127.0.0.1:1/0")


def problem(name: str, **options: Any) -> str:
    """Return the one line about this provider."""
    with pytest.raises(ConfigurationError) as caught:
        registry.load(context(name, **options))
    [line] = caught.value.problems
    assert "\n" not in line
    assert line.startswith(f"providers.{name}")
    return line


def test_the_package_itself_brings_the_dummy() -> None:
    assert "dummy" in registry.installed()
    provider = registry.load(context("dummy"))
    assert isinstance(provider, Dummy)
    assert isinstance(provider, Provider)
    provider.close()


def test_what_an_installed_package_brings_is_found(cloud: Packages) -> None:
    assert {"cloud", "dummy"} <= set(registry.installed())
    assert registry.installed() == sorted(registry.installed())
    assert isinstance(registry.load(context("cloud")), Provider)


def test_the_factory_gets_the_section_as_it_was_written(cloud: Packages) -> None:
    given = context("cloud", region="eu", provider_class="cloud")
    assert getattr(registry.load(given), "context", None) is given


def test_provider_class_names_the_provider_of_a_section_with_another_name(cloud: Packages) -> None:
    assert type(registry.load(context("cloud-berlin", provider_class="cloud"))).__name__ == "Cloud"
    assert type(registry.load(context("dummy", provider_class="cloud"))).__name__ == "Cloud"


@pytest.mark.parametrize("written", ["Cloud", "CLOUD"])
def test_upper_and_lower_case_are_one_as_in_vmpooler(cloud: Packages, written: str) -> None:
    assert type(registry.load(context("other", provider_class=written))).__name__ == "Cloud"


def test_each_call_makes_a_provider_of_its_own(cloud: Packages) -> None:
    assert registry.load(context("cloud")) is not registry.load(context("cloud"))


def test_a_missing_provider_is_reported_with_the_installed_ones_and_a_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins.PluginKind, "installed", lambda _: ["dummy"])
    assert problem("gce") == (
        "providers.gce: no provider 'gce' is installed (installed: dummy); "
        "install its package, e.g. pip install vmpooler-tasks-gce"
    )
    assert "no provider 'gcp' is installed" in problem("cloud-berlin", provider_class="gcp")


def test_without_any_provider_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda **_: ())
    assert registry.installed() == []
    assert "(installed: none)" in problem("dummy")


def test_the_error_names_its_source() -> None:
    with pytest.raises(ConfigurationError, match=r"^1 problem in the configuration\n  providers\.gce: no provider"):
        registry.load(context("gce"))


def test_a_failed_import_is_reported_with_its_package(packages: Packages) -> None:
    packages.install("pkg-x", {"x": "x_for_tests:X"}, "x_for_tests", "import a_library_that_nobody_has")
    line = problem("x")
    assert "provider 'x' of pkg-x (x_for_tests:X) cannot be imported: ModuleNotFoundError: No module named" in line
    assert "a_library_that_nobody_has" in line
    assert line.endswith("e.g. pip install --upgrade pkg-x")
    assert ", x)" in line, "it is installed, it only does not work"


@pytest.mark.parametrize("text", ["def", "1 / 0", "raise RuntimeError('not today')"])
def test_any_error_of_an_import_is_reported(packages: Packages, text: str) -> None:
    packages.install("pkg-y", {"y": "y_for_tests:Y"}, "y_for_tests", text)
    assert "cannot be imported: " in problem("y")


def test_an_entry_point_without_an_object_is_reported(cloud: Packages) -> None:
    assert "cannot be imported: AttributeError: " in problem("absent")


def test_an_error_of_a_factory_is_reported_without_the_login_in_it(cloud: Packages) -> None:
    line = problem("broken")
    assert (
        "provider 'broken' of vmpooler-tasks-cloud (cloud_for_tests:broken) cannot be used: RuntimeError: no " in line
    )
    assert "hunter2" not in line
    assert "cannot be used: RuntimeError (installed: " in problem("silent")


def test_a_factory_that_lacks_a_library_is_reported_with_a_hint(cloud: Packages) -> None:
    line = problem("lazy")
    assert "cannot be used: ModuleNotFoundError: " in line
    assert line.endswith("pip install --upgrade vmpooler-tasks-cloud")


def test_an_object_that_is_no_factory_is_reported(cloud: Packages) -> None:
    assert "cannot be used: TypeError: 'str' object is not callable" in problem("number")


def test_a_result_that_is_no_provider_is_reported(cloud: Packages) -> None:
    assert "provider 'half' of vmpooler-tasks-cloud (cloud_for_tests:half) returned a object, " in problem("half")


def test_two_packages_with_one_provider_name_are_reported(cloud: Packages) -> None:
    cloud.install("another-cloud", {"cloud": "cloud_for_tests:Cloud"})
    assert "several packages have a provider 'cloud': another-cloud, vmpooler-tasks-cloud (" in problem("cloud")


def test_a_wrong_option_is_reported_with_its_path_and_without_its_value(cloud: Packages) -> None:
    assert problem("optioned", sizes=[1, "s3cret"]).startswith("providers.optioned.sizes[1]: must be a valid integer")
    assert problem("optioned", size=1) == "providers.optioned.size: unknown option"
    with pytest.raises(ConfigurationError) as caught:
        registry.load(context("optioned", sizes="s3cret", size=1))
    assert len(caught.value.problems) == 2
    assert "s3cret" not in str(caught.value)


def test_a_name_cannot_forge_a_second_line() -> None:
    with pytest.raises(ConfigurationError) as caught:
        registry.load(context("a\nb"))
    assert caught.value.problems[0].startswith("providers.a\\nb: no provider 'a\\nb' is installed")


def test_the_dummys_factory_is_what_the_entry_point_names() -> None:
    [entry] = [found for found in entry_points(group=registry.GROUP) if found.name == "dummy"]
    assert entry.load() is dummy


def test_problems_of_all_providers_are_reported_at_once(cloud: Packages) -> None:
    names = ("unheard", "cloud", "broken", "optioned", "unused")
    settings = Settings.model_validate(
        {
            "source": "mine.yaml",
            "providers": {name: {"sizes": "x", "no": 1} for name in names},
            "pools": [{"name": f"{name}-{number}", "provider": name} for name in names[:-1] for number in range(2)],
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        try_providers(settings)
    assert caught.value.source == "mine.yaml"
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "providers.broken",
        "providers.optioned.sizes",
        "providers.optioned.no",
        "providers.unheard",
    ]
