"""Members of dead-letter queues as anybody may have written them."""

import json
from typing import Any

USUAL = {
    "vm": "pooler-a",
    "pool": "centos-7-x86_64",
    "queue_from": "clone",
    "error_class": "StandardError",
    "error_message": "no",
    "failed_at": "2024-01-15T10:30:00Z",
    "retry_count": 0,
    "id": "0123456789abcdef",
}

FIELDS = (
    *USUAL,
    *("queue", "request_id", "pool_alias", "task", "task_id", "args", "kwargs", "traceback", "redrives", "redrive_of"),
    *(
        "attempts",
        "cut",
        "checkout",
        "order",
        "score",
        "editable",
        "attempts_unknown",
        "model_config",
        "self",
        "\ud800",
    ),
)

VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 5,
    "large": 10**400,
    "float": 1.5,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "empty": "",
    "list": [1, "a", {"b": None}],
    "object": {"id": "x", "queue": "y"},
    "surrogate": "half \ud83d of one",
    "surrogates": {"\udcff": ["\ud800"]},
    "control": "a\x00b\x1b[31m\nc\u2028",
    "long": "x" * 20_000,
    "attempts": [{"id": 5, "error_message": ["\ud800"], "who": {}}, "no attempt", None],
}


def nested(levels: int, kind: str = "[") -> str:
    """Return the JSON of a value that is nested so deeply."""
    return "[" * levels + "]" * levels if kind == "[" else '{"a":' * levels + "1" + "}" * levels


def odd_members() -> dict[str, bytes]:
    """Return members by their names: one for each field and value, and others."""
    found = {
        f"{name}={kind}".encode("utf-8", "backslashreplace").decode(): json.dumps(
            {**USUAL, "id": f"{name}-{kind}" if name != "\ud800" else kind, name: value}
        ).encode()
        for name in FIELDS
        for kind, value in VALUES.items()
    }
    for levels in (99, 101, 300, 900, 100_000):
        for kind in "[{":
            for name in ("args", "error_message", "id", "other"):
                fields = json.dumps({**USUAL, "id": f"{name}{levels}"})[:-1]
                found[f"{name} of {levels} {kind}"] = f'{fields},"{name}":{nested(levels, kind)}}}'.encode()
    raw = {
        "no JSON": b"no JSON",
        "no UTF-8": b"\xff\xfe\x00",
        "no UTF-8 in JSON": b'v\xfe:1:{"vm":"v\xfe","error_message":"\xff"}',
        "list": b"[1]",
        "empty": b"",
        "VMPooler": b'v:1705314600:{"vm":"v","pool":["p"],"error_message":"\\ud800"}',
        "only braces": b"{}",
        "large number": b'{"retry_count":' + b"9" * 5000 + b"}",
    }
    return {**found, **raw}


ODD_IDS = (
    "a/b",
    "../x",
    "..",
    ".",
    "a b",
    "-x",
    "--all",
    "stats",
    "export",
    "x/edit",
    "~7e",
    "ü☃",
    "%2e%2e",
    "a?b#c",
    "'\"\\",
    "5",
)
