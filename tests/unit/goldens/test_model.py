"""The model that the goldens are judged by describes VMPooler itself: without our rules it repeats every recording."""

from collections import Counter

import pytest

from tests.support import goldens
from tests.support.goldens import comparable, told
from tests.support.goldens_model import Replay

pytestmark = pytest.mark.slow(seconds=10)


@pytest.mark.parametrize("name", goldens.case_names())
def test_without_rules_the_model_repeats_the_recording(name: str) -> None:
    case = goldens.case(name)
    vmpooler = Replay(case.config, case.tz, ruled=False)
    for step in case.steps:
        if not step.in_scope:
            continue
        vmpooler.begin(goldens.cells(case.entries_before(step)))
        outcome = vmpooler.step(step)
        where = f"{name} step {step.number} {step.action}"
        assert comparable(vmpooler.state) == comparable(step.output), where
        assert Counter(told(line) for _, line in outcome.lines) == Counter(map(told, step.logs)), where
        assert (outcome.result, outcome.raised) == (step.result, step.raised is not None), where
