"""The common scale of scores: it turns into risks and back, and judges together are no milder than one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jepakit.guard.risk import LOWEST, joined_risk, risk_of, score_of

SCORES = st.floats(LOWEST, 5, width=32)


@pytest.mark.parametrize("risk", [0.01, 0.1, 0.5, 0.99])
def test_a_score_has_the_risk_that_it_was_made_of(risk: float) -> None:
    assert risk_of(torch.tensor(score_of(risk))).item() == pytest.approx(risk, rel=1e-4)


@given(st.lists(SCORES, min_size=1, max_size=4), SCORES)
def test_one_judge_more_never_lowers_the_risk(scores: list[float], another: float) -> None:
    alone, more = (joined_risk(torch.tensor(some)[:, None]).item() for some in (scores, [*scores, another]))
    assert 0 <= alone <= more <= 1
    assert more >= risk_of(torch.tensor(another)).item() * (1 - 1e-6)


def test_risks_join_as_those_of_independent_events() -> None:
    scores = torch.tensor([[score_of(0.2)], [score_of(0.5)], [LOWEST]])
    assert joined_risk(scores).item() == pytest.approx(1 - 0.8 * 0.5, rel=1e-4)
