"""Trains encoders to find the plan of a task, from pairs of contexts and plans without labels."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core import JEPA, InfoNCE, JEPAOutput, SeparateTarget, Views, cosine
from jepakit.core.distributed import own_part
from jepakit.core.packed import offsets, segment_sum
from jepakit.errors import ConfigError, DataError, require_at_least, require_within
from jepakit.guard.data import Context, Trace
from jepakit.guard.encoder import EncoderConfig
from jepakit.guard.model import GuardModel
from jepakit.guard.views import call_texts, context_texts, governance, plans
from jepakit.training import EpochLoader, FitConfig, fit

#: Traces that are embedded together.
_BATCH = 64


@dataclass
class PlanTrainingConfig(FitConfig):
    """Everything the training on pairs depends on.

    Args:
        neighbours: pairs that follow each other and stay together in a batch, so that similar plans are negatives of
            each other; ``batch_size`` counts such groups.
        predictive: weight of the distance between the prediction and the plan, beside InfoNCE in both directions.
        temperature: of InfoNCE at first; it is learned.
        encoder: the networks, with ``words``.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 0.03
    learning_rates: dict[str, float] = field(default_factory=lambda: {"predictor": 3e-4})
    weight_decay: float = 0.0
    warmup_epochs: float = 0.5
    clip_norm: float = 0.0
    neighbours: int = 16
    predictive: float = 0.1
    temperature: float = 0.05
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(words=True))

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, neighbours=1, predictive=0)
        require_within(self, "(0, inf)", "temperature")
        if not self.encoder.words:
            raise ConfigError("encoder.words", False, "true: it is the words that are trained on plans")


def train_on_plans(traces: Sequence[Trace], config: PlanTrainingConfig) -> tuple[GuardModel, GuardModel]:
    """A model without a detector whose words and predictor are trained, and the same one before training.

    Raises:
        DataError: there are fewer than two traces with calls.
    """
    used = [trace for trace in traces if trace.calls]
    if len(used) < 2:
        raise DataError("too few traces with calls", field="traces", value=len(used), expected="2 at least")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = GuardModel(asdict(config.encoder))
    untrained = copy.deepcopy(model).eval()
    views = PlanViews(used, config.neighbours)
    fit(PlanJEPA(model, config), EpochLoader(len(views), config.batch_size, views, seed=config.seed), config)
    return model.cpu().eval(), untrained


class PlanViews:
    """``(groups, generator) -> Views`` of the texts of all pairs of these groups.

    Args:
        traces: the pairs.
        neighbours: of a group.
    """

    def __init__(self, traces: Sequence[Trace], neighbours: int) -> None:
        self._traces, self._neighbours = traces, neighbours

    def __len__(self) -> int:
        return math.ceil(len(self._traces) / self._neighbours)

    def __call__(self, groups: Tensor, generator: torch.Generator) -> Views:
        """The views of some groups."""
        starts = [group * self._neighbours for group in groups.tolist()]
        traces = [trace for start in starts for trace in self._traces[start : start + self._neighbours]]
        return Views(
            [context_texts(trace.context) for trace in traces],
            [[call_texts(call) for call in trace.calls] for trace in traces],
        )


class PlanJEPA(JEPA):
    """`JEPA` from the words of contexts to those of whole plans, with InfoNCE among the plans of the batch.

    Args:
        model: with words.
        config: weights.
    """

    def __init__(self, model: GuardModel, config: PlanTrainingConfig) -> None:
        assert model.governance.words is not None
        assert model.execution.words is not None
        super().__init__(
            model.governance.words,
            SeparateTarget(model.execution.words),
            model.predictor,
            cosine,
            weight=config.predictive,
        )
        self.contrast = InfoNCE(temperature=config.temperature, symmetric=True, learn_temperature=True)

    def step(self, views: Views) -> JEPAOutput:
        """One step."""
        context = self.context_encoder(views.context)
        calls = self.target(views.target, self.context_encoder)
        lengths = torch.tensor([len(plan) for plan in views.target], device=calls.device)
        prediction, whole = self.predictor(context, None), segment_sum(calls, offsets(lengths))
        predict = own_part(cosine(prediction, whole), len(prediction))
        terms = {"predict": predict, "contrastive": self.contrast(prediction, whole)}
        total = self.weight * terms["predict"] + terms["contrastive"]
        told = {name: term.detach() for name, term in terms.items()}
        return JEPAOutput(total, told, context, prediction, whole, calls)


def alone(trace: Trace) -> Trace:
    """The calls of a trace without its context: their view then has no text of the task."""
    return trace.model_copy(update={"context": Context()})


@torch.no_grad()
def predicted_plans(model: GuardModel, contexts: Sequence[Context]) -> Tensor:
    """What a model expects the plans of contexts to be, unit vectors ``[N, D]``."""
    parts = [
        model.predictor(model.governance(governance(contexts[start : start + _BATCH])))
        for start in range(0, len(contexts), _BATCH)
    ]
    return F.normalize(torch.cat(parts), dim=1)


@torch.no_grad()
def embedded_plans(model: GuardModel, traces: Sequence[Trace]) -> Tensor:
    """Unit vectors of whole plans, the sums of their calls, without their contexts: ``[N, D]``."""
    parts: list[Tensor] = []
    for start in range(0, len(traces), _BATCH):
        view = plans(list(map(alone, traces[start : start + _BATCH])))
        parts.append(segment_sum(model.execution(view), view.ptr))
    return F.normalize(torch.cat(parts), dim=1)
