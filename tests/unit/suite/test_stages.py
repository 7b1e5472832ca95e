"""Tests that `make test` leaves out are run by a stage of their own: in the Makefile, and in CI."""

import re

from tests.support.processes import ROOT

MARK = re.compile(r"mark\.stage\(name=\"([a-z-]+)\"\)")


def words(file: str, pattern: str) -> set[str]:
    """Return the words of the list that this pattern finds in a file of the repository."""
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found, file
    return set(found[1].replace("+", " ").split())


def test_each_stage_has_tests_a_target_and_a_place_in_ci() -> None:
    files = (ROOT / "tests").rglob("test_*.py")
    marked = {name for file in files for name in MARK.findall(file.read_text(encoding="utf-8"))}
    assert marked == words("Makefile", r"^STAGES := (.*)$")
    assert words(".ci/run", r"^stages=\((.*)\)$") == marked | {"lint", "audit", "sbom", "test", "compat"}
