"""`make audit`: compare the pinned packages with the advisories that PyPI publishes.

`python -m tests.support.supply_chain`. The exit status is 1 if an advisory concerns a package. Without the service
nothing is audited, and that is printed: status 0, but 1 with `--required`.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
AUDIT_SECONDS = 300
PIP_AUDIT = (
    *(sys.executable, "-m", "pip_audit", "--requirement", "constraints.txt", "--require-hashes", "--disable-pip"),
    *("--format", "json", "--progress-spinner", "off", "--timeout", "10"),
)
"""Without pip, nothing is installed or resolved: the file names every package with its version."""


def main() -> int:
    try:
        done = subprocess.run(PIP_AUDIT, cwd=ROOT, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False)
        dependencies = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        dependencies = []
    status, lines = result(dependencies, required="--required" in sys.argv[1:])
    print(*lines, sep="\n")
    return status


def result(dependencies: Sequence[Mapping[str, Any]], *, required: bool) -> tuple[int, list[str]]:
    """Return the exit status and the lines for the packages of pip-audit's report."""
    audited = [one for one in dependencies if "skip_reason" not in one]
    skipped = [one["name"] for one in dependencies if "skip_reason" in one]
    advisories = [(one, advisory) for one in audited for advisory in one["vulns"]]
    lines = [
        f"audit: {one['name']} {one['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
        for one, found in advisories
    ]
    if not audited:
        lines.append("audit: NOTHING WAS AUDITED: the advisory service of PyPI cannot be reached from here")
    else:
        lines.append(f"audit: {len(audited)} packages audited, {len(advisories)} advisories")
        if skipped:
            lines.append(f"audit: not audited: {', '.join(skipped)}")
    is_incomplete = not audited or bool(skipped)
    return int(bool(advisories) or (required and is_incomplete)), lines


if __name__ == "__main__":
    sys.exit(main())
