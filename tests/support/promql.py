"""Find the metrics that a PromQL expression names. Prometheus' own parser (promtool) checks the syntax."""

import re

_TOKEN = re.compile(
    r"""
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    | (?P<matchers>\{(?:[^}"'`]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)*\})
    | (?P<range>\[[^\]]*\])
    | (?P<number>(?:\d[\w.]*|\.\d+))
    | (?P<name>[a-zA-Z_:][\w:]*)
    | (?P<other>\S)
    """,
    re.VERBOSE,
)
_LABEL_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "start", "end", "inf", "nan"})


def metrics(expression: str) -> set[str]:
    """Return the names that are not functions, labels, operators or durations."""
    tokens = [(found.lastgroup, found[0]) for found in _TOKEN.finditer(expression)]
    found, place = set(), 0
    while place < len(tokens):
        kind, text = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        if kind == "name" and text in _LABEL_LISTS:
            if following == "(":
                place = next(at for at in range(place, len(tokens)) if tokens[at][1] == ")")
        elif kind == "name" and text.lower() not in _WORDS and following not in ("(", *_LABEL_LISTS):
            found.add(text)
        elif kind == "matchers" and "__name__" in text:
            raise ValueError(f"a metric by pattern cannot be looked up: {text}")
        place += 1
    return found
