"""The annotation of a VM: who made it, and the mark of its installation, as JSON in the VM's notes.

VMPooler writes `name`, `created_by`, `base_template` and `creation_timestamp`; `installation` and `pool` are added.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from vmpooler_tasks.model.names import parsed_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a VM's notes say. `notes` is what they say without being an annotation of VMPooler."""

    name: str | None = None
    pool: str | None = None
    installation: str | None = None


def read_annotation(text: str | None) -> Annotation:
    """Return what the notes say. Notes that a person wrote say nothing of this."""
    found = parsed_object(text or "")
    name, pool, installation = (_text(found.get(field)) for field in ("name", "pool", "installation"))
    return Annotation(name=name, pool=pool, installation=installation)


def mark_of(text: str | None, vm: str) -> str | None:
    """Return the installation whose mark the VM of this name has. A copy has the notes of its original: no mark."""
    found = read_annotation(text)
    return found.installation if found.name == vm else None


def new_annotation(*, vm: str, pool: str, template: str, username: str, installation: str) -> str:
    """Return the notes of a new VM. Without an installation they have no mark."""
    fields = {
        "name": vm,
        "created_by": username,
        "base_template": template,
        "creation_timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        **_mark(pool, installation),
    }
    return json.dumps(fields, indent=2, ensure_ascii=False)


def marked_annotation(text: str | None, *, vm: str, pool: str, installation: str) -> str:
    """Return the notes with the mark. What a person wrote is kept as `notes`."""
    fields = parsed_object(text or "") or ({"notes": text} if text else {})
    return json.dumps({**fields, "name": vm, **_mark(pool, installation)}, indent=2, ensure_ascii=False)


def annotation_with_user(text: str | None, user: str) -> str:
    """Return the notes with the user of the VM. What a person wrote is kept as `notes`."""
    fields = parsed_object(text or "") or ({"notes": text} if text else {})
    return json.dumps({**fields, "token-user": user}, indent=2, ensure_ascii=False)


def _mark(pool: str, installation: str) -> dict[str, str]:
    return {"pool": pool, "installation": installation} if installation else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
