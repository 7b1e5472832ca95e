"""Budgets of tests that generate their input: a fixed one in CI, and a long one in `make fuzz`.

The profile `ci` draws the same inputs each time: a run fails for a change alone. The profile `fuzz` draws others each
time, FUZZ_EXAMPLES of them for each test. `make fuzz` prints its seed; FUZZ_SEED repeats a run.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

CI, FUZZ = "ci", "fuzz"
CI_EXAMPLES, FUZZ_EXAMPLES = 100, 5000

Test = TypeVar("Test", bound=Callable[..., None])


def register_profiles() -> None:
    """Register both profiles, and load the one of CI. `--hypothesis-profile=fuzz` loads the other one later."""
    hypothesis_settings.register_profile(
        CI, max_examples=CI_EXAMPLES, deadline=None, derandomize=True, database=None, print_blob=True
    )
    hypothesis_settings.register_profile(
        FUZZ,
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", FUZZ_EXAMPLES)),
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),  # a machine that runs many tests at once is slow
    )
    hypothesis_settings.load_profile(CI)


def examples(in_ci: int) -> int:
    """Return how many inputs a test draws: this many in CI, and no fewer in `make fuzz`."""
    profile = hypothesis_settings.get_current_profile_name()
    return max(in_ci, hypothesis_settings().max_examples) if profile == FUZZ else in_ci


def fuzzed(in_ci: int = CI_EXAMPLES) -> Callable[[Test], Test]:
    """Return a decorator, above `@given`, for a test of `make fuzz` that draws this many inputs in CI."""

    def decorate(test: Test) -> Test:
        marked: Test = pytest.mark.fuzz(hypothesis_settings(max_examples=examples(in_ci))(test))
        return marked

    return decorate
