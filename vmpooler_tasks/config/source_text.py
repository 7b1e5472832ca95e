"""Read VMPooler's YAML as plain data, without Ruby's tags and leading colons. Report what YAML itself would hide."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from vmpooler_tasks.config.checks.placeholders import placeholder_near
from vmpooler_tasks.errors import ConfigurationError
from vmpooler_tasks.model.redaction import redacted_text

CHECKED_SECTIONS = frozenset({"config", "redis", "pools", "web", "notify"})
"""The sections that these workers read. Other sections are not checked."""

# YAML takes a password that starts with `*`, `!` or `&` for one of these. Its error message would show the password.
_YAML_NAME = re.compile(r"(alias|anchor|tag) (['\"]).*?\2")


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that reads the plain values behind Ruby's tags (`!ruby/regexp /x/`)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # the thirteenth month
            what = "a date or number that cannot be read"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error


_Loader.add_multi_constructor("!ruby/", lambda loader, _tag, node: _plain(loader, node))


def _plain(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value


def parse_sections(source: str, text: str, problems: list[str]) -> dict[str, Any]:
    """Return the sections by name. Raise ConfigurationError if the text is not YAML with sections."""
    try:
        data = _load(text, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = _YAML_NAME.sub(r"\1", error.problem or "is not valid YAML")
        if mark and (placeholder := placeholder_near(text, mark.line)):
            what = f"the placeholder {placeholder:.60} was not replaced ({what})"
        raise ConfigurationError(source, [f"{where}{what}"]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(source, [f"is not valid YAML: {' '.join(str(error).split())}"]) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigurationError(source, [f"must hold sections such as :config:, not {redacted_text(repr(data)):.40}"])
    plain: dict[str, Any] = _without_colons(data, "", problems)
    return plain


def _load(text: str, problems: list[str]) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        problems += _find_repeated_keys(node)  # before it is constructed: only the last of two is left then
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _find_repeated_keys(root: yaml.Node) -> Iterator[str]:
    yield from _find_repeated_in(root, "")
    seen: set[int] = set()
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if (name := _key_name(key)) in CHECKED_SECTIONS:
            yield from _find_repeated_below(value, name, seen)


def _find_repeated_below(node: yaml.Node, path: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:  # named by an alias as well
        return
    seen.add(id(node))
    yield from _find_repeated_in(node, path)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _find_repeated_below(value, f"{path}.{_key_name(key)}", seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _find_repeated_below(value, f"{path}[{index}]", seen)


def _find_repeated_in(node: yaml.Node, path: str) -> Iterator[str]:
    """Yield keys that are given twice: YAML would silently use the last one."""
    lines: dict[str, int] = {}
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode) and key.value in lines:
            where = f"{path}.{_key_name(key)}".removeprefix(".")
            yield f"{where}: given twice, in lines {lines[key.value]} and {line}"
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":  # several of these are merged
            lines[key.value] = line


def _key_name(key: yaml.Node) -> str:
    return key.value.removeprefix(":") if isinstance(key, yaml.ScalarNode) else "?"


def _without_colons(value: Any, path: str, problems: list[str]) -> Any:
    """Return the value with plain keys instead of Ruby's symbols (`:config:`). Both spellings at once are a problem."""
    if isinstance(value, list):
        return [_without_colons(item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    plain: dict[str, Any] = {}
    for key, inner in value.items():
        name = str(key).removeprefix(":")
        where = f"{path}.{name}" if path else name
        if name in plain:
            problems.append(f"{where}: given twice, with and without a colon")
        plain[name] = _without_colons(inner, where, problems)
    return plain
