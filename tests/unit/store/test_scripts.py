"""Every Lua script is in the package, can be loaded by its name, and says what it takes and answers."""

import ast
import functools
import inspect
import re
from pathlib import Path

import pytest

import vmpooler_tasks.store
from vmpooler_tasks.store.key_types import FIXED_KEYS, OWN_FAMILIES, OWN_KEYS_PREFIX, KeyType
from vmpooler_tasks.store.redis.scripts import TYPE_GUARD, guarded_text, script_text

STORE = Path(*vmpooler_tasks.store.__path__)
FOLDER = STORE / "lua"
FILES = sorted(str(file.relative_to(FOLDER).with_suffix("")) for file in FOLDER.rglob("*.lua"))


def raw(name: str) -> str:
    return FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")


def is_shared(name: str) -> bool:
    """Only functions for other scripts; its first line says so."""
    return raw(name).startswith("-- Shared:")


def used_by(name: str) -> list[str]:
    """Return the shared scripts that this one uses, also those that others of them use."""
    direct = re.findall(r"^-- uses: ([\w/]+)$", raw(name), re.MULTILINE)
    return list(dict.fromkeys(one for other in direct for one in (*used_by(other), other)))


SCRIPTS = [name for name in FILES if not is_shared(name)]
SHARED = [name for name in FILES if is_shared(name) and name != TYPE_GUARD]


def test_there_are_scripts() -> None:
    assert {"purge/purge_pending", "purge/expire_orphans", "deadletters/push", "pools/claim_clone"} <= set(SCRIPTS)
    assert {"deadletters/push_many", "purge/still_stale"} <= set(SHARED)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_its_keys_its_arguments_and_what_it_returns(name: str) -> None:
    header = [line for line in raw(name).splitlines() if line.startswith("--")]
    for heading in ("-- KEYS ", "-- ARGV ", "-- RETURN "):
        assert any(line.startswith(heading) for line in header), f"{name}.lua has no line {heading}"
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", raw(name))}
    described = " ".join(header).partition("-- KEYS")[2].partition("-- ARGV")[0]
    assert all(f" {number}: " in described or f" {number}…" in described for number in used)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_loaded_with_the_functions_that_it_uses_before_it(name: str) -> None:
    text = script_text(name)
    for other in used_by(name):
        assert other in SHARED
        assert text.index(raw(other)) < text.index("-- RETURN")
        assert all(text.index(raw(needed)) < text.index(raw(other)) for needed in used_by(other))
        assert text.count(raw(other)) == 1, "the server would read it again for each script that uses it"
    assert re.findall(r"(?<!local )\bfunction (\w+)", text) == [], "a global function is an error at run time"
    for called, home in (
        ("push_dead_letters", "deadletters/push_many"),
        ("still_stale(", "purge/still_stale"),
        ("unchanged(", "purge/still_stale"),
    ):
        if called in raw(name):
            assert f"-- uses: {home}\n" in raw(name)
    assert ("#!" in text) == raw(name).startswith("#!")
    assert text.find("#!") in {-1, 0}, "the shebang has to stay the first line"


@pytest.mark.parametrize("name", SHARED)
def test_what_is_shared_is_used(name: str) -> None:
    assert any(f"-- uses: {name}\n" in raw(script) for script in SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_may_write_starts_with_the_guard_of_its_keys(name: str) -> None:
    text, guarded = script_text(name), guarded_text(name)
    if "no-writes" in text.splitlines()[0]:
        assert guarded == text
        return
    assert guarded.startswith("#!") == text.startswith("#!")
    assert guarded.endswith(text.partition("\n")[2] if text.startswith("#!") else text)
    assert ";clones=zset;" in guarded
    assert ";work=hash;" in guarded
    assert not re.findall(r"@\w+@", guarded)


def test_a_fixed_name_with_a_family_has_the_type_of_its_family() -> None:
    """The guard searches such a name among the families alone."""
    fixed = {key.removeprefix(OWN_KEYS_PREFIX): kind for key, kind in FIXED_KEYS.items() if OWN_KEYS_PREFIX in key}
    assert [name for name, kind in fixed.items() if b"__" in name and _family_type(name) is not kind] == []


def _family_type(name: bytes) -> KeyType | None:
    return OWN_FAMILIES.get(name.split(b"__")[0].decode())


@functools.cache
def _names_in_store() -> set[str]:
    """Every string constant in the package's store, where scripts are called by their names."""
    found: set[str] = set()
    for file in STORE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found |= {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_called_by_somebody(name: str) -> None:
    assert name in _names_in_store()


def test_a_script_is_read_from_the_package_wherever_that_is() -> None:
    assert "importlib import resources" in inspect.getsource(inspect.getmodule(script_text) or object)
    with pytest.raises(FileNotFoundError):
        script_text("no_such_script")
