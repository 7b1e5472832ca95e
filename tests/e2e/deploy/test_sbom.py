"""The software bill of materials names what is installed."""

import json
import subprocess
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.support.commands import clean_copy
from tests.support.processes import PATIENCE, ROOT

pytestmark = pytest.mark.stage(name="packaging")


def test_the_bill_of_materials_lists_every_package_with_version_and_hashes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = clean_copy(tmp_path_factory.mktemp("source"))
    subprocess.run(["make", "--silent", "sbom"], cwd=folder, check=True, timeout=PATIENCE, capture_output=True)
    bill = json.loads((folder / "dist" / "vmpooler-tasks.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "vmpooler-tasks"
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.removesuffix(" \\")) for line in lines if line and line[0] not in "# "]
    listed = {(one["name"], f"=={one['version']}") for one in bill["components"]}
    assert listed == {(pin.name, str(pin.specifier)) for pin in pins}
    for one in bill["components"]:
        assert one["purl"].startswith(f"pkg:pypi/{one['name']}@{one['version']}")
        assert {hashed["alg"] for found in one["externalReferences"] for hashed in found["hashes"]} == {"SHA-256"}
    _check_licences_and_dependencies(bill, {pin.name for pin in pins if pin.marker is None or pin.marker.evaluate()})


def _check_licences_and_dependencies(bill: dict[str, Any], installed: set[str]) -> None:
    """Check what a scanner reads beside the versions. A package for another platform is not installed here."""
    assert [one["name"] for one in bill["components"] if one["name"] in installed and not one.get("licenses")] == []
    refs = {one["bom-ref"]: one["name"] for one in bill["components"]}
    needed = {one["ref"]: set(one["dependsOn"]) for one in bill["dependencies"]}
    root = bill["metadata"]["component"]["bom-ref"]
    assert needed.keys() == {root, *refs}
    reached, next_refs = set[str](), {root}
    while next_refs:
        reached |= next_refs
        next_refs = {ref for known in next_refs for ref in needed[known]} - reached
    assert installed <= {refs[ref] for ref in reached - {root}}, "each package is there because another needs it"
