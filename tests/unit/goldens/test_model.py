"""The model of VMPooler without the rules of this project reproduces every recording."""

from collections import Counter

import pytest

from tests.support import goldens
from tests.support.goldens import comparable, normal_line
from tests.support.goldens_model import Replay

pytestmark = pytest.mark.slow(seconds=10)


@pytest.mark.parametrize("name", goldens.case_names())
def test_without_rules_the_model_repeats_the_recording(name: str) -> None:
    case = goldens.case(name)
    vmpooler = Replay(case.config, case.tz, ruled=False)
    for step in case.steps:
        if not step.in_scope:
            continue
        vmpooler.fill(goldens.cells(case.entries_before(step)))
        outcome = vmpooler.step(step)
        where = f"{name} step {step.number} {step.action}"
        assert comparable(vmpooler.state) == comparable(step.output), where
        assert Counter(normal_line(line) for _, line in outcome.lines) == Counter(map(normal_line, step.logs)), where
        assert (outcome.result, outcome.raised) == (step.result, step.raised is not None), where
