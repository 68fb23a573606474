"""The judge of features: a small network that says how much a call is like those of attacks, and what speaks for it.

It raises the risk of a call where the detector of instructions finds nothing, such as an attack that is one plain
sentence among the user's data. Where the policy does not name a call's tool it says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.errors import ConfigError
from jepakit.guard.features.extract import CLUES, FEATURES
from jepakit.guard.risk import LOWEST, score_of

ASKED, DENIED = 0.1, 0.5
"""The risks of the logits `FeatureJudge.ask` and `FeatureJudge.deny`: the default thresholds of the auditor."""

UNNAMED = "the policy does not name the tool, so its features were not judged"
"""Said of a call that the judge says nothing about."""

#: A feature counts no further from its mean than so many standard deviations.
_FARTHEST = 4.0
#: Clues that are named, and the share of the largest below which one is not.
_NAMED, _LEAST = 3, 0.25


class FeatureJudge(nn.Module):
    """Features of calls -> scores on the scale of `jepakit.guard.risk`.

    Args:
        hidden: width of the network.
    """

    #: Mean and standard deviation of the features, and their mean over benign calls, ``[features]`` each.
    center: Tensor
    spread: Tensor
    usual: Tensor
    #: The logits with the risks `ASKED` and `DENIED`.
    ask: Tensor
    deny: Tensor

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        if hidden < 1:
            raise ConfigError("hidden", hidden, "at least 1")
        self.inner, self.outer = nn.Linear(len(FEATURES), hidden), nn.Linear(hidden, 1)
        for name, value in (("center", 0.0), ("spread", 1.0), ("usual", 0.0)):
            self.register_buffer(name, torch.full((len(FEATURES),), value))
        self.register_buffer("ask", torch.zeros(()))
        self.register_buffer("deny", torch.ones(()))

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor needs to build it again."""
        return {"hidden": self.inner.out_features}

    def logits(self, features: Tensor) -> Tensor:
        """``[C, features] -> [C]``; nan where features are."""
        scaled = ((features - self.center) / self.spread).clamp(-_FARTHEST, _FARTHEST)
        return self.outer(F.gelu(self.inner(scaled)))[:, 0]

    def forward(self, features: Tensor) -> Tensor:
        """``[C, features] -> [C]``: the score of each call, the lowest where features are nan."""
        asked, denied = score_of(ASKED), score_of(DENIED)
        score = asked + (self.logits(features) - self.ask) / (self.deny - self.ask) * (denied - asked)
        return score.nan_to_num(nan=LOWEST).clamp(min=LOWEST)

    def clues(self, features: Tensor) -> Sequence[str]:
        """What of a call's features, ``[features]``, most raises its score, in words; the most first.

        What a clue is worth is how far the logit falls where its features are those of usual calls.
        """
        if bool(features.isnan().any()):
            return (UNNAMED,)
        without = torch.where(_columns(), self.usual, features)
        worth = (self.logits(features[None]) - self.logits(without)).tolist()
        listed = sorted(range(len(CLUES)), key=lambda place: -worth[place])[:_NAMED]
        named = [CLUES[place] for place in listed if worth[place] > max(0.0, _LEAST * worth[listed[0]])]
        larger = dict(zip(FEATURES, (features > self.usual).tolist(), strict=True))
        return tuple(clue.more if larger[clue.features[0]] else clue.less for clue in named)


def _columns() -> Tensor:
    """The features of each clue, ``[clues, features]`` bool."""
    return torch.tensor([[feature in clue.features for feature in FEATURES] for clue in CLUES])
