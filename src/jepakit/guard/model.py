"""The model: two encoders, a predictor, a head and a detector; it scores the calls of a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import MLPPredictor
from jepakit.guard.data import Context, Trace
from jepakit.guard.encoder import ExecutionEncoder, GovernanceEncoder
from jepakit.guard.instructions.detector import LOWEST, InstructionDetector
from jepakit.guard.instructions.windows import windows
from jepakit.guard.memory import KnownContexts, ScoredRun, ScoredRuns
from jepakit.guard.scorer import CallScore
from jepakit.guard.traces.provenance import Flow
from jepakit.guard.views import governance, plans

#: The score with a risk of .5, between the highest benign runs, which are at 0, and attacks, which are at 1.
_EVEN = 0.3
_STEEPNESS = 12.0
_HEAD = 64


class GuardModel(nn.Module):
    """What governs an agent -> z_g, its calls -> z_e, the prediction of z_e from z_g, and scores of calls.

    Args:
        encoder: fields of `jepakit.guard.encoder.EncoderConfig`, of both encoders.
        detector: arguments of `InstructionDetector`; None: there is none.
    """

    #: The head's scores of the highest held-out benign runs, and of attacks; both 0: it does not count for the risk.
    scale: Tensor

    def __init__(self, encoder: Mapping[str, Any], detector: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.governance, self.execution = GovernanceEncoder(**encoder), ExecutionEncoder(**encoder)
        width = self.governance.config.latent_dim
        self.predictor = MLPPredictor(width, depth=2, width_factor=0.25)
        self.head = CallHead(width)
        self.detector = None if detector is None else InstructionDetector(**detector)
        self.register_buffer("scale", torch.zeros(2))
        self._contexts, self._runs = KnownContexts(), ScoredRuns()

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor needs to build it again."""
        detector = None if self.detector is None else self.detector.arguments
        return {"encoder": self.governance.arguments, "detector": detector}

    def train(self, mode: bool = True) -> GuardModel:
        """Sets the mode, and forgets what was computed."""
        self._contexts, self._runs = KnownContexts(), ScoredRuns()
        super().train(mode)
        return self

    @torch.no_grad()
    def scores(self, trace: Trace, flow: Flow) -> Sequence[CallScore]:
        """The score of each call of a trace.

        The embedding of a context is computed once. In a run that goes on, calls whose values are the same objects as
        before are not scored again.
        """
        if not trace.calls:
            return ()
        context = trace.context.model_dump_json()
        known = self._runs.take(context, trace, flow)
        first = len(known.scores)
        new = Flow(((None,) * first) + flow.values[first:], flow.edges)
        calls, past = self.execution.extend(plans([trace], [new]), known.past)
        predicted = self._contexts.get(context, self._prediction)
        energy, logits = self.judge(predicted.expand(len(calls), -1), calls)
        risk = self.risk(logits, self.instructions([trace], [new])[first:])
        scores = [CallScore(*pair) for pair in zip(energy.tolist(), risk.tolist(), strict=True)]
        return self._runs.put(context, trace, flow, ScoredRun((*known.scores, *scores), past)).scores

    def prepare(self, context: Context) -> None:
        """Computes the embedding of a context ahead of the first call."""
        with torch.no_grad():
            self._contexts.get(context.model_dump_json(), self._prediction)

    def judge(self, predicted: Tensor, calls: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions and embeddings of calls, ``[C, D]`` each -> JEPA energy and the head's logit, ``[C]`` each."""
        energy = (1 - F.cosine_similarity(predicted, calls, dim=1)).clamp(0, 2)
        return energy, self.head(predicted, calls)

    def instructions(self, traces: Sequence[Trace], flows: Sequence[Flow]) -> Tensor:
        """The detector's score of each call, ``[C]``."""
        count = sum(len(trace.calls) for trace in traces)
        if self.detector is None:
            return torch.full((count,), LOWEST)
        return self.detector(windows(traces, flows))

    def risk(self, logits: Tensor, instructions: Tensor) -> Tensor:
        """``[C]`` each -> ``[C]`` in [0, 1]: the larger of what the head and the detector say."""
        low, high = self.scale
        score = instructions if low == high else torch.maximum(instructions, (logits - low) / (high - low))
        return risk_of(score)

    def _prediction(self, context: str) -> Tensor:
        return self.predictor(self.governance(governance([Context.model_validate_json(context)])))


def risk_of(score: Tensor) -> Tensor:
    """A score on the scale of `InstructionDetector` -> risk in [0, 1]."""
    return torch.sigmoid(_STEEPNESS * (score - _EVEN))


class CallHead(nn.Module):
    """Prediction and embedding of calls -> logit of the risk.

    Args:
        width: of the embeddings.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(3 * width), nn.Linear(3 * width, _HEAD), nn.GELU(), nn.Dropout(0.2), nn.Linear(_HEAD, 1)
        )

    def forward(self, predicted: Tensor, calls: Tensor) -> Tensor:
        """``[C, D]`` each -> ``[C]``."""
        return self.layers(torch.cat([predicted, calls, predicted * calls], dim=1))[:, 0]
