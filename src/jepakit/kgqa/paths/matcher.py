"""Which relation path a question means: both are embedded, and compared.

Before training the score is the cosine between question and wordings of the path, by a frozen sentence encoder. What is
learned is a residual on each side that starts at 0, so a matcher without training data is that cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.errors import require_at_least, require_within
from jepakit.training import HubMixin


@dataclass
class MatcherConfig:
    """The architecture of a `PathMatcher`.

    Args:
        hidden: width of the residual of the question.
        step_dim: width of the embedding of a step.
        path_hidden: width of the recurrent network over the steps of a path.
        path_residual: learn a residual of the path beside that of the question.
        scale: τ at the start, which multiplies the cosine.
        dropout: on the vector of the question, in training.
    """

    hidden: int = 384
    step_dim: int = 128
    path_hidden: int = 128
    path_residual: bool = True
    scale: float = 20.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(self, hidden=1, step_dim=1, path_hidden=1)
        require_within(self, "(0, inf)", "scale")
        require_within(self, "[0, 1)", "dropout")


class PathMatcher(HubMixin):
    """Scores of paths for questions: ``τ z·v + b(m)[length]``.

    ``z = norm(m + A(m))`` with the frozen vector m of the question; ``v = norm(t + G(GRU(steps)))`` with t, the mean of
    the frozen vectors of the path's wordings; b, linear in m, is how many relations the question asks for. A, G and b
    start at 0.

    Args:
        dim: width of the frozen vectors.
        num_steps: steps of the graph, see `jepakit.kgqa.data.KnowledgeGraph.num_steps`.
        hops: relations of the longest path.
        **config: the fields of `MatcherConfig`.
    """

    def __init__(self, dim: int, num_steps: int, hops: int, **config: object) -> None:
        super().__init__()
        self.config = MatcherConfig(**config)  # pyright: ignore[reportArgumentType]
        self.dim, self.num_steps, self.hops = dim, num_steps, hops
        hidden = self.config.hidden
        self.dropout = nn.Dropout(self.config.dropout)
        self.question = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        # The row after the last is that of an absent step.
        self.step = nn.Embedding(num_steps + 1, self.config.step_dim)
        self.path = nn.GRU(self.config.step_dim, self.config.path_hidden, batch_first=True)
        self.path_out = nn.Linear(self.config.path_hidden, dim)
        self.log_scale = nn.Parameter(torch.tensor(self.config.scale).log())
        self.length = nn.Linear(dim, hops + 1)
        for last in (self.question[-1], self.path_out, self.length):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def arguments(self) -> dict[str, object]:
        """The keywords of the constructor."""
        return {"dim": self.dim, "num_steps": self.num_steps, "hops": self.hops, **vars(self.config)}

    def embed_questions(self, vectors: Tensor) -> Tensor:
        """Unit vectors of questions, ``[B, dim] -> [B, dim]``."""
        return F.normalize(vectors + self.question(self.dropout(vectors)), dim=-1)

    def embed_paths(self, vectors: Tensor, steps: Tensor) -> Tensor:
        """Unit vectors of paths.

        Args:
            vectors: the mean of the vectors of the wordings of each, ``[P, dim]``.
            steps: ``[P, hops]`` int64; shorter paths end with ``num_steps``.
        """
        if not self.config.path_residual:
            return F.normalize(vectors, dim=-1)
        return F.normalize(F.normalize(vectors, dim=-1) + self.path_out(self._last_states(steps)), dim=-1)

    def _last_states(self, steps: Tensor) -> Tensor:
        """The state of the recurrent network after the last step of each path, ``[P, hops] -> [P, path_hidden]``.

        Paths share their beginnings, so each different beginning is computed once.
        """
        input_weight, state_weight, input_bias, state_bias = self.path.parameters()
        states = state_weight.new_zeros(1, self.config.path_hidden)
        last = states.expand(len(steps), -1)
        begun = steps.new_zeros(len(steps))
        for hop in range(steps.shape[1]):
            rows = (steps[:, hop] < self.num_steps).nonzero()[:, 0]
            beginnings, place = (begun[rows] * self.num_steps + steps[rows, hop]).unique(return_inverse=True)
            before, step = states[beginnings // self.num_steps], self.step(beginnings % self.num_steps)
            states = torch.gru_cell(step, before, input_weight, state_weight, input_bias, state_bias)
            last = last.index_copy(0, rows, states[place])
            begun = begun.index_copy(0, rows, place)
        return last

    def cosines(self, questions: Tensor, vectors: Tensor, steps: Tensor) -> Tensor:
        """Cosines ``[B, P]`` of B questions and P paths; arguments as in `embed_questions` and `embed_paths`."""
        return self.embed_questions(questions) @ self.embed_paths(vectors, steps).T

    def logits(self, cosines: Tensor, questions: Tensor, steps: Tensor) -> Tensor:
        """Logits ``[B, P]`` from the cosines ``[B, P]``; other arguments as in `embed_questions` and `embed_paths`."""
        return self.log_scale.exp() * cosines + self.length(questions)[:, self.lengths(steps)]

    def lengths(self, steps: Tensor) -> Tensor:
        """Number of relations of each path, ``[P, hops] -> [P]`` int64."""
        return (steps < self.num_steps).sum(1)

    def forward(self, questions: Tensor, vectors: Tensor, steps: Tensor) -> Tensor:
        """Logits ``[B, P]`` of P paths for B questions; arguments as in `embed_questions` and `embed_paths`."""
        return self.logits(self.cosines(questions, vectors, steps), questions, steps)
