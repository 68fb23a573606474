"""The judge of features: its scale, its silence, and what it says of a call."""

import pytest
import torch
from torch import Tensor

from jepakit.errors import ConfigError
from jepakit.guard.features.extract import CLUES, FEATURES
from jepakit.guard.features.judge import ASKED, DENIED, UNNAMED, FeatureJudge
from jepakit.guard.risk import LOWEST, risk_of


def judge(**weights: float) -> FeatureJudge:
    """A judge whose logit is nearly linear: the sum of these weights times the features, by name."""
    made = FeatureJudge(hidden=1).eval()
    with torch.no_grad():
        for one in made.parameters():
            one.zero_()
        # Far from 0 a GELU is linear.
        made.inner.bias.fill_(100.0)
        made.outer.weight.fill_(1.0)
        made.outer.bias.fill_(-100.0)
        for name, weight in weights.items():
            made.inner.weight[0, FEATURES.index(name.replace("_", " "))] = weight
        made.ask.fill_(1.0)
        made.deny.fill_(3.0)
    return made


def features(**values: float) -> Tensor:
    row = torch.zeros(len(FEATURES))
    for name, value in values.items():
        row[FEATURES.index(name.replace("_", " "))] = value
    return row


@torch.no_grad()
def test_the_logits_of_asking_and_denying_have_their_risks() -> None:
    scores = judge(tainted=1.0)(torch.stack([features(tainted=value) for value in (0.0, 1.0, 2.0, 3.0)]))
    risks = risk_of(scores).tolist()
    assert risks[1] == pytest.approx(ASKED, abs=1e-4)
    assert risks[3] == pytest.approx(DENIED, abs=1e-4)
    assert risks == sorted(risks)


@torch.no_grad()
def test_a_call_without_features_has_the_lowest_score_and_it_is_said_why() -> None:
    none = torch.full((len(FEATURES),), torch.nan)
    made = judge(tainted=1.0)
    assert made(torch.stack([none, features(tainted=1.0)]))[0].item() == LOWEST
    assert made.clues(none) == (UNNAMED,)
    assert made(torch.empty(0, len(FEATURES))).shape == (0,)


@torch.no_grad()
def test_what_raises_the_score_is_named_the_most_first() -> None:
    made = judge(tainted=2.0, name_in_the_task=-1.0, privilege=0.1, repeated=-1.0)
    made.usual.copy_(features(name_in_the_task=1.0))
    # The tool's harm counts for little, and that it was called before speaks for the call.
    said = made.clues(features(tainted=1.0, privilege=1.0, repeated=1.0))
    assert said == ("values in it come from untrusted outputs", "the user's words do not name the tool")


@torch.no_grad()
def test_a_usual_call_has_nothing_to_be_said_about() -> None:
    made = judge(tainted=2.0)
    assert made.clues(features(tainted=0.0)) == ()


def test_no_clue_says_a_threshold_or_a_number() -> None:
    said = " ".join(f"{clue.more} {clue.less}" for clue in CLUES)
    assert not any(sign.isdigit() for sign in said)
    assert "threshold" not in said


def test_a_judge_is_built_again_from_its_arguments() -> None:
    first = FeatureJudge(hidden=5)
    second = FeatureJudge(**first.arguments)
    second.load_state_dict(first.state_dict())
    row = torch.rand(3, len(FEATURES))
    assert torch.equal(first(row), second(row))
    with pytest.raises(ConfigError, match="hidden"):
        FeatureJudge(hidden=0)
