"""Trains a guard on labelled runs: two judges of calls, and encoders by JEPA with the labels of calls."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.core import diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import require_at_least, require_within
from jepakit.guard.audit.runs import visible
from jepakit.guard.data import Trace
from jepakit.guard.datasets.labelled import LabelledRuns, labelled_runs
from jepakit.guard.encoder import EncoderConfig
from jepakit.guard.features.extract import features_of
from jepakit.guard.features.fitting import FittedJudge, JudgeConfig, fit_judge
from jepakit.guard.features.judge import FeatureJudge
from jepakit.guard.instructions.detector import InstructionDetector
from jepakit.guard.instructions.fitting import DetectorConfig, FittedDetector, fit_detector
from jepakit.guard.model import GuardModel
from jepakit.guard.objective import ObjectiveConfig, build_jepa
from jepakit.guard.policy import policies_of
from jepakit.guard.training_views import RunViews, ViewConfig, balanced
from jepakit.guard.validation import Validation, validate
from jepakit.guard.views import plans
from jepakit.progress import phase
from jepakit.training import EpochLoader, FitConfig, FitResult, RunFolder, fit, results, save_trained
from jepakit.training.results import PointFacts

#: Calls of the diagnosis.
_DIAGNOSED = 1000


@dataclass
class PretrainConfig(FitConfig):
    """Everything a training run depends on.

    Args:
        per_stratum: runs of one goal and attack, or of one task, that are drawn at most.
        held_out: share of the tasks that only validation sees.
        encoder: the networks.
        objective: the loss.
        views: what is drawn.
        detector: how the detector is fitted.
        judge: how the judge of features is fitted.
        policy: a policy file or the name of a ready one, by which features of calls are judged; ``{suite}`` in it is
            the run's ``about.suite``. None: drafts for the tools of the runs.
        use_head: the head's score of a call counts for its risk, beside those of the detector and the judge of
            features; without a detector it does in any case.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-4
    clip_norm: float = 1.0
    checkpoint_every: int = 5
    per_stratum: int = 8
    held_out: float = 0.2
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    policy: str | None = None
    use_head: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, per_stratum=1)
        require_within(self, "(0, 1)", "held_out")


@dataclass(frozen=True, kw_only=True)
class Pretrained(results.Pretrained[GuardModel]):
    """A trained model; its diagnosis is of its embeddings of calls.

    Args:
        validation: of tasks that were held out.
        detector: how the detector was chosen.
        judge: how the judge of features was chosen.
    """

    validation: Validation
    detector: FittedDetector
    judge: FittedJudge


def pretrain(
    traces: Iterable[Trace],
    config: PretrainConfig,
    *,
    run: RunFolder | None = None,
    resume: bool = False,
) -> Pretrained:
    """Trains a model on labelled runs.

    Args:
        traces: the runs, see `jepakit.guard.datasets.labelled`.
        config: how.
        run: the folder that receives checkpoint, metrics and ``encoder/``; None writes nothing.
        resume: go on from the checkpoint in ``run``.

    Raises:
        DataError: there are no runs with and without a successful attack, or a policy cannot be read.
    """
    runs = labelled_runs(traces)
    features = features_of(policies_of(config.policy, runs.traces), runs.traces, runs.flows)
    fitted, judge = fit_detector(runs, config.detector), fit_judge(runs, features, config.judge)
    model, untrained, unseen, result = _trained(runs, config, fitted.detector, judge.judge, run, resume)
    with phase("validating"):
        validation = validate(model, unseen, config.objective)
    if (config.use_head or model.detector is None) and validation.high > validation.low:
        model.scale.copy_(torch.tensor([validation.low, validation.high]))
    embeddings, labels = _embeddings(model, unseen)
    reference = effective_rank(_embeddings(untrained, unseen)[0])
    diagnosis = diagnose(embeddings, group=labels, reference_rank=reference)
    if run is not None:
        save_trained(
            run,
            model,
            untrained,
            devices=config.processes,
            diagnosis=diagnosis,
            embeddings=embeddings,
            labels=labels,
            label_names=("benign", "malicious"),
            facts=_facts(unseen, len(embeddings)),
            card={
                "dataset": f"{len(runs)} labelled runs of agents, {len(np.unique(runs.group))} groups of tools",
                "method": "detector of instructions, judge of features, JEPA from policy and task to labelled calls",
            },
        )
    return Pretrained(
        encoder=model,
        random_encoder=untrained,
        fit=result,
        diagnosis=diagnosis,
        validation=validation,
        detector=fitted,
        judge=judge,
    )


def train_encoders(runs: LabelledRuns, config: PretrainConfig) -> tuple[GuardModel, LabelledRuns]:
    """A model without detector and judge, and the runs whose tasks it has not seen."""
    model, _, unseen, _ = _trained(runs, config, None, None, None, False)
    return model, unseen


def _trained(
    runs: LabelledRuns,
    config: PretrainConfig,
    detector: InstructionDetector | None,
    judge: FeatureJudge | None,
    run: RunFolder | None,
    resume: bool,
) -> tuple[GuardModel, GuardModel, LabelledRuns, FitResult]:
    """The trained model, the same one before training, the held-out runs, and what training did."""
    held_out, drawn = held_out_runs(runs, config.held_out, config.seed), balanced(runs, config.per_stratum, config.seed)
    chosen, unseen = runs.select(drawn & ~held_out), runs.select(drawn & held_out)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = GuardModel(asdict(config.encoder))
        model.detector, model.features = copy.deepcopy(detector), copy.deepcopy(judge)
        untrained = copy.deepcopy(model).eval()
    views = RunViews(chosen, config.views)
    loader = EpochLoader(len(chosen), config.batch_size, views, seed=config.seed, shared="views")
    embed = partial(_embeddings, model, unseen)
    result = fit(build_jepa(model, config.objective), loader, config, run=run, resume=resume, embed=embed)
    model.cpu().eval()
    return model, untrained, unseen, result


def held_out_runs(runs: LabelledRuns, share: float, seed: int) -> NDArray[np.bool_]:
    """Runs of a share of the tasks, drawn at random: ``[R]`` bool."""
    tasks = np.unique(runs.task)
    drawn = np.random.default_rng(seed).permutation(tasks)[: max(1, round(share * len(tasks)))]
    return np.isin(runs.task, drawn)


def _facts(runs: LabelledRuns, count: int) -> PointFacts:
    """The tools of the first calls, and the runs they are of."""
    calls = ((trace, call) for trace in runs.traces for call in trace.calls)
    titles = (f"{visible(call.tool, 80)}\nrun {visible(trace.id or '?', 80)}" for trace, call in islice(calls, count))
    return PointFacts(titles=tuple(titles))


@torch.no_grad()
def _embeddings(model: GuardModel, runs: LabelledRuns) -> tuple[Tensor, Tensor | None]:
    """Embeddings of the first calls, and whether each is malicious."""
    count = int(np.searchsorted(np.cumsum([len(trace.calls) for trace in runs.traces]), _DIAGNOSED)) + 1
    # A copy: the model may be in training, and on another device.
    encoder = copy.deepcopy(model.execution).cpu().eval()
    calls = encoder(plans(runs.traces[:count], runs.flows[:count]))
    return calls, torch.from_numpy(runs.malicious[: len(calls)]).long()
