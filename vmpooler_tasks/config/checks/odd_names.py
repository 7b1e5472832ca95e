"""Find prefixes, domains and names of pools that cannot be a host name, a key or a path, or only just."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from vmpooler_tasks.config.types import as_text
from vmpooler_tasks.model.pools.vm_names import MAX_LENGTH

MAX_LABEL_LENGTH = 63
"""Characters of one part of a host name (RFC 1035)."""

MAX_DOMAIN_LENGTH = 253 - MAX_LABEL_LENGTH - 1

MAX_NAME_BYTES = 200
"""Bytes of a pool's name. A file or folder that has it in its name has at most 255."""

_NO_HOST_NAME = re.compile(r"[^A-Za-z0-9._-]")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's control, format and surrogate characters, and its line and paragraph separators."""


def find_odd_names(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each name that cannot work. Skip values that are no text: they are reported elsewhere."""
    config, configs, pools = data.get("config"), data.get("dns_configs"), data.get("pools")
    if isinstance(config, dict):
        yield from _with_path("config.prefix", _why_not_prefix(as_text(config.get("prefix"))))
        yield from _with_path("config.domain", _why_not_domain(config.get("domain")))
    for name, entry in configs.items() if isinstance(configs, dict) else ():
        if isinstance(entry, dict):
            yield from _with_path(f"dns_configs.{name}.domain", _why_not_domain(entry.get("domain")))
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        if isinstance(pool, dict):
            for option, name in names_of_pool(pool):
                yield from _with_path(f"pools[{index}].{option}", _why_no_name(name))


def find_awkward_names(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each name of a pool that works in keys, and not everywhere else."""
    pools = data.get("pools")
    for index, pool in enumerate(pools if isinstance(pools, list) else ()):
        for option, name in names_of_pool(pool) if isinstance(pool, dict) else ():
            if not _why_no_name(name):
                yield from _with_path(f"pools[{index}].{option}", _why_awkward(name))


def names_of_pool(pool: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (option, text) for the name and each alias of a pool."""
    aliases = pool.get("alias")
    for option, value in [("name", pool.get("name")), *(("alias", one) for one in _as_list(aliases))]:
        if isinstance(text := as_text(value), str) and text:
            yield option, text


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _with_path(path: str, why: str | None) -> Iterator[str]:
    if why:
        yield f"{path}: {why}"


def _why_not_prefix(prefix: Any) -> str | None:
    if not isinstance(prefix, str) or not prefix:
        return None
    if odd := _NO_HOST_NAME.search(prefix):
        return f"{prefix!r} contains {odd[0]!r}, which no host name may contain"
    if not prefix[0].isalnum() or ".." in prefix:
        return f"{prefix!r} is no start of a host name: parts between dots must start with a letter or digit"
    length = len(prefix.rpartition(".")[2])
    if length + MAX_LENGTH > MAX_LABEL_LENGTH:
        return (
            f"{length} characters are too many: with the {MAX_LENGTH} that are generated, a host name would have more "
            f"than {MAX_LABEL_LENGTH}"
        )
    return None


def _why_not_domain(domain: Any) -> str | None:
    if not isinstance(domain, str) or not domain:
        return None
    if odd := _NO_HOST_NAME.search(domain):
        return f"{domain!r} contains {odd[0]!r}, which no host name may contain"
    labels = domain.removesuffix(".").split(".")
    if len(domain) > MAX_DOMAIN_LENGTH or not all(0 < len(label) <= MAX_LABEL_LENGTH for label in labels):
        return f"{domain!r} is no domain: a part between dots is empty, or it is too long"
    return None


def _why_no_name(name: str) -> str | None:
    """Return why a pool cannot have this name in keys, paths and requests (`alias:pool:count,…`)."""
    hidden = next((char for char in name if unicodedata.category(char) in _HIDDEN_CATEGORIES), None)
    if hidden:
        return f"{name!r} contains the invisible character {hidden!r}"
    if name != name.strip():
        return f"{name!r} starts or ends with a blank"
    if marks := sorted(set(name) & set(":,")):
        return f"{name!r} must not hold {marks[0]!r}, which separates the parts of a request"
    if {".", ".."} & set(re.split(r"[/\\]", name)):
        return f"{name!r} is a path to another folder"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"{name[:20]!r}… has more than {MAX_NAME_BYTES} bytes, which is too long for a path"
    return None


def _why_awkward(name: str) -> str | None:
    if odd := re.search(r"[\s/\\+?#%]", name):
        return f"{name!r} contains {odd[0]!r}: quote it in commands, and encode it in URLs"
    return None
