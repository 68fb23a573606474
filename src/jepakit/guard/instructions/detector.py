"""The detector: how much the text around the values of a call reads like the instructions of known attacks.

An attack that the agent obeys stands in what a tool returned, with the values that the agent then uses. So the words
around a value tell, whatever the value and the tool are. There are few different attacks to learn from: a detector is
linear, it is regularised strongly, and there is one for each family of attacks, so that a rare family counts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from jepakit.errors import ConfigError
from jepakit.guard.instructions.windows import Windows
from jepakit.guard.networks.hashing import WORD_BUCKETS
from jepakit.guard.risk import LOWEST

#: A text of fewer words has no more weight than one of so many.
_FEW_WORDS = 40


class InstructionDetector(nn.Module):
    """A linear detector for each family of attacks, on words and pairs of words of windows.

    Args:
        families: names of the families.
        innocence: λ in [0, 1]. A value that was read in several places scores (1 - λ) times the highest of its windows
            plus λ times the lowest: it may have come from the harmless one.
    """

    #: What the highest scores of benign runs are, and what scores of attacks are, in the middle, ``[F]``; see
    #: `jepakit.guard.instructions.fitting`.
    low: Tensor
    high: Tensor

    def __init__(self, families: Sequence[str], innocence: float = 0.5) -> None:
        super().__init__()
        if not families or not 0 <= innocence <= 1:
            raise ConfigError("innocence", innocence, "a number in [0, 1], with at least one family")
        self.families, self.innocence = tuple(families), innocence
        self.words = nn.EmbeddingBag(WORD_BUCKETS, len(families), mode="sum")
        self.bias = nn.Parameter(torch.zeros(len(families)))
        nn.init.zeros_(self.words.weight)
        self.register_buffer("low", torch.zeros(len(families)))
        self.register_buffer("high", torch.ones(len(families)))

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor needs to build it again."""
        return {"families": list(self.families), "innocence": self.innocence}

    def logits(self, windows: Windows) -> Tensor:
        """Of each distinct text and family, ``[T, F]``."""
        return self.words(windows.grams.ids, windows.grams.ptr[:-1], weights(windows)) + self.bias

    def forward(self, windows: Windows) -> Tensor:
        """``[C]``: the highest score of each call's values and of the families.

        0 is what the highest of held-out benign runs have, 1 what a held-out attack has.
        """
        if not len(windows.text):
            return self.low.new_full((windows.calls,), LOWEST)
        scores = (self.by_family(windows) - self.low) / (self.high - self.low)
        return scores.amax(1).clamp(min=LOWEST)

    def by_family(self, windows: Windows) -> Tensor:
        """The highest score of each call's values, ``[C, F]``; -inf for a call without windows."""
        return highest(self.logits(windows), windows, self.innocence)


def weights(windows: Windows) -> Tensor:
    """The weight of each n-gram of a text, so that texts of all lengths are alike: 5 / √(n-grams)."""
    count = windows.grams.ptr.diff()
    return (5 / count.clamp(min=_FEW_WORDS).sqrt()).repeat_interleave(count)


def highest(logits: Tensor, windows: Windows, innocence: float) -> Tensor:
    """Scores of texts ``[T, F]`` -> of calls ``[C, F]``, see `InstructionDetector`."""
    of_window, families = logits[windows.text], logits.shape[1]
    values = len(windows.call)
    place = windows.value[:, None].expand(-1, families)
    top = logits.new_full((values, families), -torch.inf).scatter_reduce(0, place, of_window, "amax")
    least = logits.new_full((values, families), torch.inf).scatter_reduce(0, place, of_window, "amin")
    mixed = (1 - innocence) * top + innocence * least
    place = windows.call[:, None].expand(-1, families)
    return logits.new_full((windows.calls, families), -torch.inf).scatter_reduce(0, place, mixed, "amax")
