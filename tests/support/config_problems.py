"""The problems that a configuration is refused for."""

from collections.abc import Mapping

import pytest

from vmpooler_tasks.config import load_settings
from vmpooler_tasks.errors import ConfigurationError


def problems_of(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"VMPOOLER_CONFIG": text, **(environ or {})})
    assert caught.value.exit_status == 78
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def the_problem(text: str, environ: Mapping[str, str] | None = None) -> str:
    found = problems_of(text, environ)
    assert len(found) == 1, found
    return found[0]


def option(line: str) -> str:
    return the_problem(f":config:\n  {line}\n")
