"""Prefixes, domains and pool names that cannot be a host name, a key or a path are reported with their path."""

import json
from typing import Any

import pytest

from tests.support.config_problems import problems_of
from vmpooler_tasks.config import load_settings
from vmpooler_tasks.model.pools.vm_names import MAX_LENGTH

LONGEST = 63 - MAX_LENGTH


def whole(*, config: Any = None, pool: Any = None, manages: bool = True) -> str:
    return json.dumps(
        {
            "config": {"manage_pools": manages, **(config or {})},
            "providers": {"dummy": None},
            "pools": [{"name": "p", **(pool or {})}],
        }
    )


def is_reported(path: str, why: str, **parts: Any) -> None:
    """Managed pools make it an error, else it is a warning: VMPooler makes the VMs then."""
    assert problems_of(whole(**parts)) == [f"{path}: {why}"]
    assert load_settings({"VMPOOLER_CONFIG": whole(**parts, manages=False)}).warnings == (f"{path}: {why}",)


@pytest.mark.parametrize("prefix", ["", "pooler-", "poolvm-", "a.b-", "7", "pool_vm-", "x" * LONGEST, 5])
def test_prefix_of_a_host_name(prefix: Any) -> None:
    assert load_settings({"VMPOOLER_CONFIG": whole(config={"prefix": prefix})}).warnings == ()


@pytest.mark.parametrize(
    ("prefix", "odd"),
    [
        ("my vm-", " "),
        ("a/b", "/"),
        ("../../etc", "/"),
        ("a:b", ":"),
        ("vm\n", "\n"),
        ("vm\x00", "\x00"),
        ("prüf-", "ü"),
    ],
)
def test_prefix_with_a_character_that_no_host_name_may_contain(prefix: str, odd: str) -> None:
    is_reported(
        "config.prefix", f"{prefix!r} contains {odd!r}, which no host name may contain", config={"prefix": prefix}
    )


@pytest.mark.parametrize("prefix", ["-vm", ".vm", "a..b", "_vm"])
def test_prefix_that_is_no_start_of_a_host_name(prefix: str) -> None:
    why = f"{prefix!r} is no start of a host name: parts between dots must start with a letter or digit"
    is_reported("config.prefix", why, config={"prefix": prefix})


def test_prefix_that_makes_the_name_too_long() -> None:
    why = (
        f"{LONGEST + 1} characters are too many: with the {MAX_LENGTH} that are generated, a host name would have more "
        "than 63"
    )
    is_reported("config.prefix", why, config={"prefix": "x" * (LONGEST + 1)})


@pytest.mark.parametrize("domain", ["example.com", "example.com.", "a_b.example.com", "localhost"])
def test_domain_of_a_host_name(domain: str) -> None:
    assert load_settings({"VMPOOLER_CONFIG": whole(config={"domain": domain})}).warnings == ()


@pytest.mark.parametrize("domain", ["example .com", "a..com", ".example.com", "x" * 64, "/etc", "http://example.com"])
def test_domain_that_is_none(domain: str) -> None:
    [problem] = problems_of(whole(config={"domain": domain}))
    assert problem.startswith("config.domain: ")
    text = json.dumps({"config": {"manage_pools": False}, "dns_configs": {"x": {"domain": domain}}})
    [warning] = load_settings({"VMPOOLER_CONFIG": text}).warnings
    assert warning.startswith("dns_configs.x.domain: ")


@pytest.mark.parametrize("name", ["debian-12-x86_64", "win-2019.1", "größe", "a" * 200, "a@b", "..a"])
@pytest.mark.parametrize("option", ["name", "alias"])
def test_name_of_a_pool(option: str, name: str) -> None:
    assert load_settings({"VMPOOLER_CONFIG": whole(pool={option: name})}).warnings == ()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a:b", "'a:b' must not hold ':', which separates the parts of a request"),
        ("a,b", "'a,b' must not hold ',', which separates the parts of a request"),
        ("../../etc", "'../../etc' is a path to another folder"),
        ("..", "'..' is a path to another folder"),
        ("a\\..\\b", r"'a\\..\\b' is a path to another folder"),
        (" a", "' a' starts or ends with a blank"),
        ("a ", "'a ' starts or ends with a blank"),
        ("  ", "'  ' starts or ends with a blank"),
        ("a\nb", r"'a\nb' contains the invisible character '\n'"),
        ("a\x1b[31m", r"'a\x1b[31m' contains the invisible character '\x1b'"),
        ("a\u200bb", r"'a\u200bb' contains the invisible character '\u200b'"),
        ("a\udc80", r"'a\udc80' contains the invisible character '\udc80'"),
        ("ü" * 101, f"{'ü' * 20!r}… has more than 200 bytes, which is too long for a path"),
    ],
)
def test_name_that_no_pool_can_have(name: str, why: str) -> None:
    is_reported("pools[0].name", why, pool={"name": name})
    is_reported("pools[0].alias", why, pool={"alias": ["fine", name]})


@pytest.mark.parametrize(
    ("name", "odd"), [("a b", " "), ("/Group1", "/"), ("a+b", "+"), ("a%20b", "%"), ("a\\b", "\\")]
)
@pytest.mark.parametrize("manages", [True, False])
def test_name_that_must_be_quoted_is_a_warning(name: str, odd: str, manages: bool) -> None:
    settings = load_settings({"VMPOOLER_CONFIG": whole(pool={"name": name}, manages=manages)})
    assert settings.pools[0].name == name
    assert settings.warnings == (
        f"pools[0].name: {name!r} contains {odd!r}: quote it in commands, and encode it in URLs",
    )
