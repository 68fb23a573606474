"""Train a model on problems of a family: the KKT loss, labels where there are any, JEPA if it is wanted."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from jepakit.core import diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import ConfigError, DataError
from jepakit.lp.data import LinearProgram
from jepakit.lp.encoder import COLUMNS, EncoderConfig, GNNPolicy
from jepakit.lp.model import LPModel
from jepakit.lp.networks.batch import LPBatch, Optimum
from jepakit.lp.networks.kkt import KKTWeights
from jepakit.lp.objective import KKTTask, ObjectiveConfig, TaskConfig, build_jepa
from jepakit.lp.solving.iterates import balance_of, primal_dual
from jepakit.lp.solving.scaling import equilibrated
from jepakit.lp.starts.choice import choose
from jepakit.lp.starts.family import LearnedFamily
from jepakit.lp.starts.neighbours import Neighbours
from jepakit.lp.views import Hidden, MaskConfig, ProblemViews
from jepakit.training import EpochLoader, FitConfig, RunFolder, fit, is_first_process, results, save_trained

#: Without labels the balance is that of what so many iterations on so many problems come to.
_MANY, _FEW = 1000, 16

#: The diagnosis is of so many columns at most, of so many problems.
DIAGNOSED_PROBLEMS, DIAGNOSED_COLUMNS = 16, 2000


@dataclass
class PretrainConfig(FitConfig):
    """Everything a training run depends on.

    Args:
        use_bipartite_graphs: a graph network, for problems of any size; otherwise a perceptron, for one size.
        primal_weight: of violated rows and bounds in the KKT loss.
        dual_weight: of duals of a wrong sign.
        stationarity_weight: of reduced costs that no bound holds.
        complementary_slackness_weight: of products of duals and distances.
        gap_weight: of the duality gap.
        basis_weight: of the statuses of optimal bases, where optima are given.
        values_weight: of the distance to optimal x and y, where they are given.
        use_jepa: JEPA beside the task.
        jepa_weight: of JEPA beside the task.
        objective: JEPA's target, predictor, loss and regularisers.
        jepa_hidden: what is hidden, see `jepakit.lp.views.MaskConfig`; None: nodes of the graph network, entries of the
            perceptron.
        jepa_mask_ratio_nodes: share of nodes, rows or columns that is hidden.
        jepa_mask_ratio_entries: share of numbers that ``entries`` hides.
        encoder: the network.
    """

    epochs: int = 30
    batch_size: int = 8
    use_bipartite_graphs: bool = True
    primal_weight: float = 1.0
    dual_weight: float = 1.0
    stationarity_weight: float = 1.0
    complementary_slackness_weight: float = 1.0
    gap_weight: float = 0.0
    basis_weight: float = 1.0
    values_weight: float = 0.0
    use_jepa: bool = False
    jepa_weight: float = 0.2
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    jepa_hidden: Hidden | None = None
    jepa_mask_ratio_nodes: float = 0.3
    jepa_mask_ratio_entries: float = 0.5
    encoder: EncoderConfig = field(default_factory=EncoderConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.use_jepa and self.jepa_pretrain_epochs:
            raise ConfigError("jepa_pretrain_epochs", self.jepa_pretrain_epochs, "0 without use_jepa")
        _ = self.task, self.masks  # what is wrong with these is said now

    @property
    def task(self) -> TaskConfig:
        """Weights of the task's terms."""
        kkt = KKTWeights(
            primal=self.primal_weight,
            dual=self.dual_weight,
            stationarity=self.stationarity_weight,
            complementary_slackness=self.complementary_slackness_weight,
            gap=self.gap_weight,
        )
        return TaskConfig(kkt, self.basis_weight, self.values_weight)

    @property
    def masks(self) -> MaskConfig:
        """What JEPA hides."""
        hidden = self.jepa_hidden or ("nodes" if self.use_bipartite_graphs else "entries")
        noise = 0.0 if self.use_bipartite_graphs else MaskConfig.noise
        return MaskConfig(hidden, self.jepa_mask_ratio_nodes, self.jepa_mask_ratio_entries, noise)


@dataclass(frozen=True, kw_only=True)
class Pretrained(results.Pretrained[LPModel]):
    """A trained model; its diagnosis is of its embeddings of columns, or of problems for the perceptron.

    Args:
        family: the model and what it was trained on.
    """

    family: LearnedFamily


def pretrain(
    problems: Sequence[LinearProgram],
    config: PretrainConfig,
    *,
    optima: Sequence[Optimum] | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
) -> Pretrained:
    """Trains a model on problems.

    Args:
        problems: in their own units.
        config: how.
        optima: one for each problem, in its units: see `jepakit.lp.starts.labels.label`. None: the KKT loss alone.
        run: the folder that receives checkpoint, metrics and ``encoder/``; None keeps nothing.
        resume: go on from the checkpoint in ``run``.

    Raises:
        DataError: there are no problems, or one is too small to hide a part of, or of another size than the first
            where that matters.
        ConfigError: options that do not go together.
    """
    iterations = config.encoder.iterations
    scaled, scaled_optima = _scaled(problems, optima)
    balance = _balance(scaled, scaled_optima) if iterations else 1.0
    batch = LPBatch.of(scaled, scaled_optima, iterations=iterations, balance=balance)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        first = problems[0]
        model = LPModel(config.use_bipartite_graphs, first.columns, first.rows, asdict(config.encoder), balance)
        random_model = copy.deepcopy(model).eval()
        task = KKTTask(model.encoder, model.heads, config.task)
        views = ProblemViews(batch, config.masks, per_node=isinstance(model.encoder, GNNPolicy))
        loader = EpochLoader(len(batch), config.batch_size, views, seed=config.seed)
        jepa = build_jepa(model.encoder, config.objective) if config.use_jepa else None
    # Without JEPA its weight weighs nothing.
    fitted = config if jepa is not None else replace(config, jepa_weight=1.0)
    sample = batch[torch.arange(min(len(batch), DIAGNOSED_PROBLEMS))]

    def observed(model: LPModel) -> tuple[Tensor, Tensor | None]:
        return _embeddings(model, sample)

    result = fit(jepa, loader, fitted, run=run, task=task, resume=resume, embed=lambda: observed(model))
    family = _family(model.cpu().eval(), problems, optima)
    embeddings, group = observed(model)
    diagnosis = diagnose(embeddings, group=group, reference_rank=effective_rank(observed(random_model)[0]))
    if run is not None:
        labels = "without labels" if optima is None else "with optimal bases"
        method = f"KKT loss {labels}" + (f", JEPA ({config.objective.target})" if config.use_jepa else "")
        if is_first_process(config.devices):
            family.save(run.path)
        save_trained(
            run,
            model,
            random_model,
            devices=config.devices,
            diagnosis=diagnosis,
            embeddings=embeddings,
            labels=group,
            card={"dataset": f"{len(problems)} linear programs, such as {first.name!r}", "method": method},
        )
    return Pretrained(encoder=family.model, random_encoder=random_model, fit=result, diagnosis=diagnosis, family=family)


@torch.no_grad()
def _embeddings(model: LPModel, sample: LPBatch) -> tuple[Tensor, Tensor | None]:
    """Of an even choice of columns with the problem of each, or, from the perceptron, of problems."""
    # A copy: the model may be in training, and on another device than the problems.
    embeddings = copy.deepcopy(model.encoder).cpu().eval()(sample)
    if isinstance(embeddings, Tensor):
        return embeddings, None
    columns = embeddings[COLUMNS]
    chosen = torch.arange(0, len(columns), -(-len(columns) // DIAGNOSED_COLUMNS))
    return columns[chosen], sample.column_of[chosen]


def _family(model: LPModel, problems: Sequence[LinearProgram], optima: Sequence[Optimum] | None) -> LearnedFamily:
    """With labels also the neighbours, and which of both to ask."""
    if optima is None:
        return LearnedFamily(model)
    neighbours = Neighbours.of(problems, optima)
    return LearnedFamily(model, neighbours, choose(problems, model, neighbours))


def _scaled(
    problems: Sequence[LinearProgram], optima: Sequence[Optimum] | None
) -> tuple[list[LinearProgram], list[Optimum] | None]:
    """The problems, and their optima, scaled."""
    for place, problem in enumerate(problems):
        if min(problem.rows, problem.columns) < 2:
            expected = "two rows and two columns at least"
            raise DataError("too small", field=f"problems[{place}]", value=problem.matrix.shape, expected=expected)
    scaled = [equilibrated(problem) for problem in problems]
    if optima is None:
        return [problem for problem, _ in scaled], None
    if len(optima) != len(problems):
        raise DataError("not an optimum each", field="optima", value=len(optima), expected=str(len(problems)))
    return [problem for problem, _ in scaled], [
        Optimum(scaling.scaled_x(optimum.x), scaling.scaled_y(optimum.y), optimum.basis)
        for (_, scaling), optimum in zip(scaled, optima, strict=True)
    ]


def _balance(scaled: Sequence[LinearProgram], optima: Sequence[Optimum] | None) -> float:
    """The balance of the iterations that fits the family: the median over problems, of their optima or nearly so."""
    if optima is None:
        near = [(problem, *primal_dual(problem, _MANY)) for problem in scaled[:_FEW]]
    else:
        near = [(problem, optimum.x, optimum.y) for problem, optimum in zip(scaled, optima, strict=True)]
    return float(np.median([balance_of(*one) for one in near])) if near else 1.0
