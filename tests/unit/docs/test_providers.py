"""The tables of providers name what is installed, and each provider of a hypervisor has its document."""

import re
from importlib.metadata import entry_points

import pytest

from tests.support.processes import ROOT
from tests.unit.docs.test_words import read

ENTRIES = {entry.name: entry for entry in entry_points(group="vmpooler_tasks.providers")}
ROW = re.compile(r"^\| \[`(\w+)`\]\(([^)#]*)[^)]*\) \|.*\| (.+) \|$", re.MULTILINE)


@pytest.mark.parametrize("document", ["README.md", "docs/providers.md"])
def test_each_row_is_a_provider_with_its_extra_and_its_document(document: str) -> None:
    rows = ROW.findall(read(document))
    assert len(rows) >= 2
    for name, link, extra in rows:
        assert list(ENTRIES[name].extras) == re.findall(r"`(?:vmpooler-tasks\[)?(\w+)\]?`", extra)
        assert not link or ((ROOT / document).parent / link).is_file()
