"""Trains a model on problems of a family: the KKT loss, with labels the optima too, and JEPA beside it on request."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from jepakit.core import diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import ConfigError, DataError, require_at_least, require_within
from jepakit.lp.data import LinearProgram
from jepakit.lp.encoder import COLUMNS, EncoderConfig, GNNPolicy
from jepakit.lp.model import LPModel
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.objective import KKTTask, ObjectiveConfig, build_jepa
from jepakit.lp.solving.basis import Optimum
from jepakit.lp.solving.iterates import balance_of, primal_dual
from jepakit.lp.solving.scaling import equilibrated
from jepakit.lp.starts.family import LearnedFamily
from jepakit.lp.starts.timing import measured_family
from jepakit.lp.views import Hidden, MaskConfig, ProblemViews
from jepakit.training import EpochLoader, FitConfig, RunFolder, fit, is_first_process, results, save_trained
from jepakit.training.results import PointFacts

#: Without labels the balance is that of the last iterates of so many iterations, on so many problems.
BALANCE_ITERATIONS, BALANCE_PROBLEMS = 1000, 16
#: The diagnosis is of at most so many columns, of so many problems.
DIAGNOSED_PROBLEMS, DIAGNOSED_COLUMNS = 16, 2000
_TERMS = ("primal", "dual", "stationarity", "complementary_slackness", "gap", "basis", "values")


@dataclass
class PretrainConfig(FitConfig):
    """Everything a training run depends on.

    Args:
        use_bipartite_graphs: a graph network, for problems of any size; otherwise a perceptron, for one size.
        primal_weight: of violated rows and bounds in the KKT loss.
        dual_weight: of row duals of the wrong sign.
        stationarity_weight: of reduced costs of the wrong sign.
        complementary_slackness_weight: of products of duals and distances to their sides.
        gap_weight: of the duality gap.
        basis_weight: of the cross-entropy of the statuses of optimal bases, with labels.
        values_weight: of the squared distance to optimal x and y, with labels.
        use_jepa: JEPA beside the task.
        jepa_weight: of JEPA beside the task.
        objective: JEPA's target, predictor, loss and regularisers.
        jepa_hidden: see `jepakit.lp.views.MaskConfig`; None: nodes for the graph network, entries for the perceptron.
        jepa_mask_ratio_nodes: hidden share of nodes, rows or columns.
        jepa_mask_ratio_entries: hidden share of the numbers, for ``entries``.
        encoder: the network.
        held_out: number of problems, the last ones, that are not trained on, and on which the ways to start are timed;
            None: a fifth, at most 8, and none of fewer than 4 problems.
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
    held_out: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.use_jepa and self.jepa_pretrain_epochs:
            raise ConfigError("jepa_pretrain_epochs", self.jepa_pretrain_epochs, "0 without use_jepa")
        require_at_least(self, held_out=0, **{f"{name}_weight": 0 for name in _TERMS})
        require_within(self, "(0, 1)", "jepa_mask_ratio_nodes", "jepa_mask_ratio_entries")
        _ = self.masks  # checks their options

    @property
    def task_weights(self) -> dict[str, float]:
        """Weights of the terms of `jepakit.lp.objective.KKTTask`."""
        return {name: getattr(self, f"{name}_weight") for name in _TERMS}

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
        family: the model, with labels the optima of all problems, and the choice between the ways to start.
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
        problems: in their own units, in their order; the last ones are held out.
        config: how.
        optima: one for each problem, in its units: see `jepakit.lp.starts.labels.label`. None: the KKT loss alone.
        run: the folder that receives checkpoint, metrics, ``encoder/`` and the family; None writes nothing.
        resume: go on from the checkpoint in ``run``.

    Raises:
        ConfigError: no problem would be left to train on.
        DataError: no problems, another number of optima, a problem with fewer than two rows or columns, or for the
            perceptron of another size than the first.
    """
    if not problems:
        raise DataError("no problem", field="problems", expected="at least one")
    if optima is not None and len(optima) != len(problems):
        raise DataError("not an optimum each", field="optima", value=len(optima), expected=str(len(problems)))
    for place, problem in enumerate(problems):
        if min(problem.rows, problem.columns) < 2:
            expected = "at least two rows and two columns"
            raise DataError("too small", field=f"problems[{place}]", value=problem.matrix.shape, expected=expected)
        if not config.use_bipartite_graphs and problem.matrix.shape != problems[0].matrix.shape:
            raise DataError(
                "a problem of another size than the perceptron's",
                field=f"problems[{place}]",
                value=problem.matrix.shape,
                expected=f"{problems[0].matrix.shape}, or the graph network (use_bipartite_graphs)",
            )
    training = _training_part(problems, config.held_out)
    scaled, scalings = zip(*map(equilibrated, problems[:training]), strict=True)
    scaled_optima = optima and [
        Optimum(optimum.x / scaling.x, optimum.y / scaling.y, optimum.basis)
        for scaling, optimum in zip(scalings, optima, strict=False)
    ]
    iterations = config.encoder.iterations
    balance = _balance(scaled, scaled_optima) if iterations else 1.0
    batch = LPBatch.of(scaled, scaled_optima, iterations=iterations, balance=balance)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        first = problems[0]
        model = LPModel(config.use_bipartite_graphs, first.columns, first.rows, asdict(config.encoder), balance)
        random_model = copy.deepcopy(model).eval()
        task = KKTTask(model.encoder, model.heads, config.task_weights)
        views = ProblemViews(batch, config.masks, per_node=isinstance(model.encoder, GNNPolicy))
        loader = EpochLoader(len(batch), config.batch_size, views, seed=config.seed, shared="views")
        jepa = build_jepa(model.encoder, config.objective) if config.use_jepa else None
    # Without JEPA its weight has no effect.
    fitted = config if jepa is not None else replace(config, jepa_weight=1.0)
    sample = batch[torch.arange(min(len(batch), DIAGNOSED_PROBLEMS))]
    result = fit(jepa, loader, fitted, run=run, task=task, resume=resume, embed=partial(_embeddings, model, sample))
    model.cpu().eval()
    family = measured_family(problems, model, optima, training)
    embeddings, group = _embeddings(model, sample)
    random_rank = effective_rank(_embeddings(random_model, sample)[0])
    diagnosis = diagnose(embeddings, group=group, reference_rank=random_rank, predictability=result.predictability)
    if run is not None:
        labels = "without labels" if optima is None else "with optimal bases"
        method = f"KKT loss {labels}" + (f", JEPA ({config.objective.target})" if config.use_jepa else "")
        if is_first_process(config.processes):
            family.save(run.path)
        save_trained(
            run,
            model,
            random_model,
            devices=config.processes,
            diagnosis=diagnosis,
            embeddings=embeddings,
            labels=group,
            facts=_facts(problems, sample, embedded=len(embeddings)),
            card={"dataset": f"{len(problems)} linear programs, such as {first.name!r}", "method": method},
        )
    return Pretrained(encoder=model, random_encoder=random_model, fit=result, diagnosis=diagnosis, family=family)


def _training_part(problems: Sequence[LinearProgram], held_out: int | None) -> int:
    """Number of problems to train on."""
    count = len(problems)
    if held_out is None:
        held_out = min(8, max(1, count // 5)) if count >= 4 else 0
    if held_out >= count:
        raise ConfigError("held_out", held_out, f"fewer than the {count} problems")
    return count - held_out


@torch.no_grad()
def _embeddings(model: LPModel, sample: LPBatch) -> tuple[Tensor, Tensor | None]:
    """Evenly chosen columns and the problem of each; from the perceptron, problems."""
    # A copy: the model may be in training, and on another device than the problems.
    embeddings = copy.deepcopy(model.encoder).cpu().eval()(sample)
    if isinstance(embeddings, Tensor):
        return embeddings, None
    columns = embeddings[COLUMNS]
    chosen = _chosen(len(columns))
    return columns[chosen], sample.column_of[chosen]


def _facts(problems: Sequence[LinearProgram], sample: LPBatch, *, embedded: int) -> PointFacts:
    """The columns, or the problems, whose embeddings `_embeddings` returns."""
    names = [problem.name or f"problem {number}" for number, problem in enumerate(problems, start=1)]
    if embedded == len(sample):
        return PointFacts(titles=tuple(names[:embedded]))
    chosen = _chosen(sum(problem.columns for problem in problems[: len(sample)]))
    places = [(number, column) for number in range(len(sample)) for column in range(problems[number].columns)]
    columns = (places[row] for row in chosen.tolist())
    titles = (f"{problems[number].column_name(column)}\nof {names[number]}" for number, column in columns)
    return PointFacts(titles=tuple(titles))


def _chosen(columns: int) -> Tensor:
    """Evenly spaced columns."""
    return torch.arange(0, columns, -(-columns // DIAGNOSED_COLUMNS))


def _balance(scaled: Sequence[LinearProgram], optima: Sequence[Optimum] | None) -> float:
    """The median over problems of the balance that fits their optima, or without labels their last iterates."""
    if optima is None:
        points = [(problem, *primal_dual(problem, BALANCE_ITERATIONS)) for problem in scaled[:BALANCE_PROBLEMS]]
    else:
        points = [(problem, optimum.x, optimum.y) for problem, optimum in zip(scaled, optima, strict=True)]
    return float(np.median([balance_of(*point) for point in points]))
