"""The model: two encoders, a predictor, a head, a detector and a judge of features; it scores the calls of a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import MLPPredictor
from jepakit.guard.data import Context, Trace
from jepakit.guard.encoder import ExecutionEncoder, GovernanceEncoder
from jepakit.guard.features.extract import call_features
from jepakit.guard.features.judge import FeatureJudge
from jepakit.guard.instructions.detector import InstructionDetector
from jepakit.guard.instructions.windows import windows
from jepakit.guard.memory import KnownContexts, ScoredRun, ScoredRuns
from jepakit.guard.policy import Policy, draft_policy
from jepakit.guard.risk import LOWEST, joined_risk, risk_of
from jepakit.guard.scorer import CallScore
from jepakit.guard.traces.provenance import Flow
from jepakit.guard.views import governance, plans
from jepakit.training import HubMixin, load_encoder_as

_HEAD = 64
#: A smaller risk is not explained, nor is what a judge sees of less than this share of the largest.
_EXPLAINED, _SHARE = 0.01, 0.25
READS_LIKE_AN_INSTRUCTION = "the words around one of its values, in what a tool returned, read like an instruction"
UNEXPECTED = "it is unlike the calls that the encoders expect"


class GuardModel(HubMixin):
    """What governs an agent -> z_g, its calls -> z_e, the prediction of z_e from z_g, and scores of calls.

    Args:
        encoder: fields of `jepakit.guard.encoder.EncoderConfig`, of both encoders.
        detector: arguments of `InstructionDetector`; None: there is none.
        features: arguments of `FeatureJudge`; None: there is none.
    """

    #: The head's scores of the highest held-out benign runs, and of attacks; both 0: it does not count for the risk.
    scale: Tensor

    def __init__(
        self,
        encoder: Mapping[str, Any],
        detector: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.governance, self.execution = GovernanceEncoder(**encoder), ExecutionEncoder(**encoder)
        width = self.governance.config.latent_dim
        self.predictor = MLPPredictor(width, depth=2, width_factor=0.25, residual=self.governance.config.words)
        self.head = CallHead(width)
        self.detector = None if detector is None else InstructionDetector(**detector)
        self.features = None if features is None else FeatureJudge(**features)
        self.register_buffer("scale", torch.zeros(2))
        self._forget()

    @classmethod
    def open(cls, run: str | Path) -> GuardModel:
        """The model of a run, of its ``encoder/`` folder, or of a hub id.

        Raises:
            ModelError: it is no guard.
        """
        inside = Path(run) / "encoder"
        return load_encoder_as(cls, inside if inside.is_dir() else run)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor needs to build it again."""
        detector = None if self.detector is None else self.detector.arguments
        features = None if self.features is None else self.features.arguments
        return {"encoder": self.governance.arguments, "detector": detector, "features": features}

    def train(self, mode: bool = True) -> GuardModel:
        """Sets the mode, and forgets what was computed."""
        self._forget()
        super().train(mode)
        return self

    @torch.no_grad()
    def scores(self, trace: Trace, flow: Flow, policy: Policy | None = None) -> Sequence[CallScore]:
        """The score of each call of a trace.

        The embedding of a context is computed once. In a run that goes on, calls whose values are the same objects as
        before are not scored again.

        Args:
            trace: the calls.
            flow: of ``trace``, from `jepakit.guard.traces.provenance.data_flow`.
            policy: in force; None: a draft for the tools that the trace describes. Features of a call whose tool it
                does not name are not judged, and its score says so.
        """
        if not trace.calls:
            return ()
        context = trace.context.model_dump_json()
        policy = policy or self._drafts.get(context, lambda _: draft_policy(trace.context.tools))
        known = self._runs.take(context, policy, trace, flow)
        first = len(known.scores)
        new = Flow(((None,) * first) + flow.values[first:], flow.edges)
        calls, past = self.execution.extend(plans([trace], [new]), known.past)
        predicted = self._contexts.get(context, self._prediction)
        energy, logits = self.judge(predicted.expand(len(calls), -1), calls)
        rows, seen = call_features(policy, trace, flow, known.seen)
        parts = self._parts(logits, self.instructions([trace], [new])[first:], rows)
        risk = joined_risk(parts)
        scores = [
            CallScore(*pair, self._why(risk_of(parts[:, place]), rows[place]))
            for place, pair in enumerate(zip(energy.tolist(), risk.tolist(), strict=True))
        ]
        run = ScoredRun((*known.scores, *scores), past, seen)
        return self._runs.put(context, policy, trace, flow, run).scores

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

    def risk(self, logits: Tensor, instructions: Tensor, features: Tensor) -> Tensor:
        """What the head, the detector and the judge of features say together, see `jepakit.guard.risk.joined_risk`.

        Args:
            logits: of the head, ``[C]``.
            instructions: scores of the detector, ``[C]``.
            features: of the calls, ``[C, features]``, see `jepakit.guard.features.extract`.

        Returns:
            ``[C]`` in [0, 1].
        """
        return joined_risk(self._parts(logits, instructions, features))

    def _parts(self, logits: Tensor, instructions: Tensor, features: Tensor) -> Tensor:
        """The scores of detector, judge of features and head, ``[3, C]``."""
        nothing = torch.full_like(logits, LOWEST)
        low, high = self.scale
        judged = nothing if self.features is None else self.features(features)
        return torch.stack([instructions, judged, nothing if low == high else (logits - low) / (high - low)])

    def _why(self, risks: Tensor, features: Tensor) -> tuple[str, ...]:
        """What raises the risk of a call, by the risks ``[3]`` that the judges see; and what was not judged."""
        instructed, judged, unexpected = ((risks >= _EXPLAINED) & (risks >= _SHARE * risks.max())).tolist()
        said = [READS_LIKE_AN_INSTRUCTION] if instructed else []
        if self.features is not None and (judged or bool(features.isnan().any())):
            said += self.features.clues(features)
        return (*said, UNEXPECTED) if unexpected else tuple(said)

    def _forget(self) -> None:
        self._contexts, self._runs = KnownContexts[Tensor](), ScoredRuns()
        self._drafts = KnownContexts[Policy]()

    def _prediction(self, context: str) -> Tensor:
        return self.predictor(self.governance(governance([Context.model_validate_json(context)])))


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
