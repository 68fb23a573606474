"""Which remembered basis to try first for a scenario: by frequency, nearest neighbour, bound, or a network.

The network is an encoder of the scenario with a score for each basis. Before it sees a label it may learn, by JEPA, to
predict from a part of the scenario's numbers the embedding of the state that the scenario has at one fixed basis, which
takes no solve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from jepakit.core import JEPA, MLPPredictor, SeparateTarget, VICReg, Views, smooth_l1
from jepakit.lp import Basis, LinearProgram, Scenarios
from jepakit.lp.batch.tableau import Tableau
from jepakit.lp.solving.completion import BasicBlock

__all__ = ["BOUND", "FREQUENCY", "JEPA_NETWORK", "NEAREST", "NETWORK", "Known", "candidates", "optimal"]

FREQUENCY, NEAREST, BOUND = "by frequency", "by nearest neighbour", "by best bound"
NETWORK, JEPA_NETWORK = "by a network, without JEPA", "by a network, pre-trained with JEPA"
_WIDTH, _EPOCHS, _PRETRAINING, _BATCH, _RATE = 128, 200, 30, 128, 1e-3
#: Of the scenario's numbers, the share that the context of a step sees.
_SEEN = 0.5
_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class Known:
    """Labelled scenarios, and the bases that the solver found for them.

    Args:
        bases: distinct ones, K.
        numbers: the right-hand sides of all scenarios that are known, ``[S, V]``; the first L are labelled.
        states: all columns of these at one basis, ``[S, n]``.
        first: the basis of each labelled scenario, ``[L]``.
        right: whether a basis is optimal for a labelled scenario, ``[K, L]``.
        values: of the dual objective at each labelled basis: a constant and factors of the numbers, ``[K, 1 + V]``.
    """

    bases: list[Basis]
    numbers: np.ndarray
    states: np.ndarray
    first: np.ndarray
    right: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, problem: LinearProgram, scenarios: Scenarios, found: list[Basis]) -> Known:
        """Of scenarios, the first of which have been solved."""
        different: dict[bytes, int] = {}
        kept: list[Basis] = []
        first: list[int] = []
        for basis in found:
            key = basis.columns.tobytes() + basis.rows.tobytes()
            if key not in different:
                different[key] = len(kept)
                kept.append(basis)
            first.append(different[key])
        block = BasicBlock.of(problem, kept[0])
        assert block is not None
        labelled = scenarios.part(slice(0, len(found)))
        return cls(
            kept,
            scenarios.low.T,
            Tableau(problem, block).points(scenarios).T,
            np.array(first),
            optimal(problem, kept, labelled),
            np.stack([_dual_objective(problem, basis, scenarios) for basis in kept]),
        )


def optimal(problem: LinearProgram, bases: list[Basis], scenarios: Scenarios) -> np.ndarray:
    """Whether the point of a basis is within all bounds, ``[K, S]``: a dual feasible one is optimal then."""
    low, high = scenarios.bounds_of(np.arange(problem.columns + problem.rows))
    found = np.zeros((len(bases), scenarios.count), bool)
    for place, basis in enumerate(bases):
        if (block := BasicBlock.of(problem, basis)) is None:
            continue
        x = Tableau(problem, block).points(scenarios)
        values = np.concatenate([x, problem.matrix @ x])
        found[place] = (np.maximum(low - values, values - high) <= _TOLERANCE * (1 + np.abs(values))).all(0)
    return found


def candidates(known: Known, right: np.ndarray, scenarios: Scenarios, seed: int) -> dict[str, float]:
    """How many bases are tried until one is optimal, on average over the scenarios for which one is, by order.

    Args:
        known: what is learned from.
        right: whether a basis is optimal for a scenario, ``[K, S]``.
        scenarios: S other ones.
        seed: of the networks.
    """
    numbers = scenarios.low.T
    centre, spread = known.numbers.mean(0), known.numbers.std(0) + 1e-12
    count = len(known.first)
    ours, theirs = (numbers - centre) / spread, (known.numbers[:count] - centre) / spread
    apart = (ours**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * ours @ theirs.T
    nearest = np.full((scenarios.count, len(known.bases)), np.inf)
    for place in range(count):
        column = nearest[:, known.first[place]]
        np.minimum(column, apart[:, place], out=column)
    frequency = np.bincount(known.first, minlength=len(known.bases)).astype(float)
    scores = {
        FREQUENCY: np.tile(frequency, (scenarios.count, 1)),
        NEAREST: -nearest,
        BOUND: known.values[:, 0] + numbers @ known.values[:, 1:].T,
    }
    inputs, states = (known.numbers - centre) / spread, known.states
    states = (states - states.mean(0)) / (states.std(0) + 1e-9)
    test = torch.tensor((numbers - centre) / spread, dtype=torch.float32)
    for name in (NETWORK, JEPA_NETWORK):
        scores[name] = _network(inputs, states, known, test, seed, pretrain=name == JEPA_NETWORK)
    return {name: _tried(score, right) for name, score in scores.items()}


def _tried(scores: np.ndarray, right: np.ndarray) -> float:
    """The mean place of the first right basis, from 1, in the order of falling scores, ``[S, K]``."""
    covered = right.any(0)
    order = np.argsort(-scores[covered], axis=1, kind="stable")
    hits = np.take_along_axis(right.T[covered], order, 1)
    return float(1 + hits.argmax(1).mean()) if covered.any() else float("nan")


def _dual_objective(problem: LinearProgram, basis: Basis, scenarios: Scenarios) -> np.ndarray:
    """The dual objective of a basis as a constant and factors of the right-hand sides that vary."""
    block = BasicBlock.of(problem, basis)
    assert block is not None
    y = np.zeros(problem.rows)
    y[block.rows] = block.solve(problem.costs[block.columns], transposed=True)
    z = problem.costs - problem.matrix.T @ y
    z[block.columns] = 0.0
    rows = scenarios.bounded - problem.columns
    fixed = y.copy()
    fixed[rows] = 0.0

    def worth(duals: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
        side = np.where(duals > 0, low, high)
        return float(np.where(duals == 0, 0.0, duals * np.where(np.isfinite(side), side, 0.0)).sum())

    constant = worth(z, problem.lower, problem.upper) + worth(fixed, problem.row_lower, problem.row_upper)
    return np.concatenate([[constant], y[rows]])


def _encoder(width: int) -> nn.Module:
    layers = [nn.Linear(width, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH)]
    return nn.Sequential(*layers)


def _network(
    inputs: np.ndarray, states: np.ndarray, known: Known, test: Tensor, seed: int, *, pretrain: bool
) -> np.ndarray:
    """Scores of all bases for the test scenarios."""
    torch.manual_seed(seed)
    encoder, head = _encoder(inputs.shape[1]), nn.Linear(_WIDTH, len(known.bases))
    numbers = torch.tensor(inputs, dtype=torch.float32)
    if pretrain:
        _pretrain(encoder, numbers, torch.tensor(states, dtype=torch.float32))
    count = len(known.first)
    goal = torch.tensor(known.right.T, dtype=torch.float32)
    goal = goal / goal.sum(1, keepdim=True).clamp(min=1)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=_RATE, weight_decay=1e-2)
    for _ in range(_EPOCHS):
        for some in torch.randperm(count).split(_BATCH):
            loss = -(goal[some] * head(encoder(numbers[some])).log_softmax(1)).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return head(encoder(test)).numpy()


def _pretrain(encoder: nn.Module, numbers: Tensor, states: Tensor) -> None:
    """Predicts the embedding of a scenario's state from a part of its numbers."""
    target = SeparateTarget(_encoder(states.shape[1]))
    spread = VICReg()
    jepa = JEPA(encoder, target, MLPPredictor(_WIDTH), smooth_l1, {"vicreg": (1.0, spread)})
    optimizer = torch.optim.AdamW(jepa.parameters(), lr=_RATE, weight_decay=1e-2)
    for _ in range(_PRETRAINING):
        for some in torch.randperm(len(numbers)).split(_BATCH):
            seen = (torch.rand_like(numbers[some]) < _SEEN).float()
            output = jepa(Views(numbers[some] * seen, states[some]))
            optimizer.zero_grad()
            output.total.backward()
            optimizer.step()
            jepa.after_step()
