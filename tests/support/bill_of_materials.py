"""`make sbom`: write the software bill of materials of what an installation has, as CycloneDX.

`python -m tests.support.bill_of_materials FILE`. The packages and their hashes are those of requirements.txt. Their
licences and dependencies are in the packages themselves, as they are installed here.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CYCLONEDX = str(Path(sys.executable).with_name("cyclonedx-py"))
OPTIONS = ("--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON")
OF_INSTALLED_PACKAGES = ("licenses", "description")
"""Fields of a component that requirements.txt does not have."""

Bill = dict[str, Any]


def main() -> None:
    pinned, installed = _read("requirements", "requirements.txt"), _read("environment", sys.executable)
    text = json.dumps(joined(pinned, installed), indent=2, sort_keys=True)
    Path(sys.argv[1]).write_text(f"{text}\n", encoding="utf-8")


def _read(*source: str) -> Bill:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bill.json"
        command = [CYCLONEDX, *source, *OPTIONS, "-o", str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        bill: Bill = json.loads(file.read_text(encoding="utf-8"))
        return bill


def joined(pinned: Bill, installed: Bill) -> Bill:
    """Return the bill of the pinned packages with licences and dependencies of the installed ones.

    A package for another platform is not installed here: it has neither.
    """
    found = {canonicalize_name(one["name"]): one for one in installed["components"]}
    root = pinned["metadata"]["component"]["bom-ref"]
    refs = {installed["metadata"]["component"]["bom-ref"]: root}
    components = []
    for one in pinned["components"]:
        known: Mapping[str, Any] = found.get(canonicalize_name(one["name"]), {})
        added = {name: known[name] for name in OF_INSTALLED_PACKAGES if name in known}
        components.append({**one, "bom-ref": one["purl"], **added})
        if known:
            refs[known["bom-ref"]] = one["purl"]
    edges = {
        refs[one["ref"]]: sorted({refs[ref] for ref in one.get("dependsOn", ()) if ref in refs})
        for one in installed["dependencies"]
        if one["ref"] in refs
    }
    dependencies = [
        {"ref": ref, "dependsOn": edges.get(ref, [])} for ref in (root, *(one["bom-ref"] for one in components))
    ]
    return {**pinned, "components": components, "dependencies": dependencies}


if __name__ == "__main__":
    main()
