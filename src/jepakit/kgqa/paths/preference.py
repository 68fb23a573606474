"""Which paths a beam follows: those that a matcher finds most probable for the question."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.kgqa.data import Ids
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.paths.vectors import PathVectors

LEAST_PROBABILITY = 1e-3
"""Paths of less probability take no part in the scores of entities."""


class MatcherPreference:
    """A `jepakit.kgqa.paths.reach.Preference`: the logits of paths for some questions.

    Of the longest paths, which nothing extends, those with a probability below `LEAST_PROBABILITY` have -inf.

    Args:
        matcher: gives the logits.
        vectors: of the paths.
        embed: gives the frozen vectors of the questions, ``[Q, D]``; called only if paths have to be chosen.
    """

    def __init__(self, matcher: PathMatcher, vectors: PathVectors, embed: Callable[[], Tensor]) -> None:
        self.matcher, self.vectors, self._embed = matcher, vectors, embed

    @torch.no_grad()
    def __call__(self, question: Ids, path: Ids) -> NDArray[np.float64]:
        different, column = np.unique(path, return_inverse=True)
        vectors, steps = self.vectors(different)
        logits = self.matcher(self._questions, vectors, steps).double().numpy()
        best = np.full(len(logits), -np.inf)
        np.maximum.at(best, question, logits[question, column])
        # The probability of a path is at most its share of that of the best of its length.
        unlikely = logits < best[:, None] + np.log(LEAST_PROBABILITY)
        longest = (steps[:, -1] < self.matcher.num_steps).numpy()
        return np.where(longest & unlikely, -np.inf, logits)[question, column]

    @cached_property
    def _questions(self) -> Tensor:
        return self._embed()
