"""``jepakit lp generate | label | train | solve | batch | evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from jepakit.cli.command import config_yaml
from jepakit.cli.lp_solve import COMMANDS as SOLVE_COMMANDS
from jepakit.cli.lp_solve import files_of
from jepakit.cli.outcome import Outcome
from jepakit.cli.plan import planned
from jepakit.cli.ray_options import RayOptions
from jepakit.cli.reading import Command
from jepakit.cli.runs import (
    NOT_CONFIGURATION,
    RunControl,
    found,
    say,
    show_evaluation,
    trained_run,
    training_run,
    write_results,
)
from jepakit.errors import ConfigError, require_at_least
from jepakit.files import write_text
from jepakit.lp.data import LinearProgram
from jepakit.lp.evaluate import EvaluateConfig, evaluate, measured_ways
from jepakit.lp.families.named import FamilyName, make_family
from jepakit.lp.formats.files import read_problem, write_problem
from jepakit.lp.model import LPModel
from jepakit.lp.presets import PRESETS
from jepakit.lp.pretrain import PretrainConfig, pretrain
from jepakit.lp.solving.basis import Optimum
from jepakit.lp.starts.family import LearnedFamily
from jepakit.lp.starts.labels import with_optimum
from jepakit.mapping import Map, mapping
from jepakit.training import RunFolder, load_encoder_as


@dataclass
class GenerateOptions:
    """Making problems of a family.

    Args:
        family: which.
        out: folder for the problems.
        count: how many.
        seed: of the first; the others follow.
        size: what else the family takes, such as ``{"rows": 500, "columns": 1000}``; see the documentation.
        like: problems of one matrix, for ``perturbed``: a file or a folder.
        case: a MATPOWER file, for ``power-flow``.
        relax: take the relaxation of problems with integer columns.
    """

    family: FamilyName = "set-cover"
    out: Path | None = None
    count: int = 10
    seed: int = 0
    size: dict[str, float] = field(default_factory=dict)
    like: Path | None = None
    case: Path | None = None
    relax: bool = True

    def __post_init__(self) -> None:
        require_at_least(self, count=1, seed=0)


@dataclass
class LabelOptions(RayOptions):
    """Solving problems to learn from their optima.

    Args:
        problems: a file, or a folder of them; the optima are kept in its folder ``labels``.
        jobs: processes.
        relax: take the relaxation of problems with integer columns.
    """

    problems: Path | None = None
    jobs: int = 1
    relax: bool = True


@dataclass
class TrainOptions(PretrainConfig, RunControl):
    """Training and what surrounds it.

    Args:
        problems: a folder of problems.
        use_labels: learn from optima too; those that the folder ``labels`` lacks are computed first.
        jobs: processes that compute them.
        relax: take the relaxation of problems with integer columns.
        run: folder of the run.
    """

    problems: Path | None = None
    use_labels: bool = True
    jobs: int = 1
    relax: bool = True
    run: Path = Path("runs/lp")


@dataclass
class EvaluateOptions(EvaluateConfig):
    """Comparing starts on problems that were not trained on.

    Args:
        run: folder of a finished run.
        problems: a folder of problems.
        relax: take the relaxation of problems with integer columns.
    """

    run: Path | None = None
    problems: Path | None = None
    relax: bool = True


def _generate(options: GenerateOptions, out: Console) -> None:
    if options.out is None:
        raise ConfigError("out", None, "a folder for the problems")
    like = [] if options.like is None else _read(options.like, relax=options.relax)[0]
    family = make_family(options.family, options.size, like, options.case)
    for seed in range(options.seed, options.seed + options.count):
        write_problem(family.problem(seed), options.out / f"{options.family}-{seed:06}.mps.gz")
    say(out, f"{options.count} problems in {options.out}")


def _label(options: LabelOptions, out: Console) -> None:
    problems, labels = _read(options.problems, relax=options.relax)
    with mapping(ray=options.ray) as mapped:
        problems, _ = _with_optimum(problems, labels, options.jobs, out, mapped if options.ray else None)
    say(out, f"optima of {len(problems)} problems in {labels}")


def _train(options: TrainOptions, out: Console) -> Outcome:
    problems, labels = _read(options.problems, relax=options.relax)
    run = RunFolder(options.run)
    if options.dry_run:
        return planned(run, options, f"{len(problems)} problems", out, renamed=NAMES)
    held_none_out = options.resume and run.config.exists() and "held_out" not in run.read_config()
    with training_run(run, options, out, renamed=NAMES) as training:
        if held_none_out and training.is_first:
            write_text(run.config, config_yaml(options, leave_out=(*NOT_CONFIGURATION, "held_out")))
        if held_none_out:
            # A run of an earlier version goes on as it has begun.
            options = replace(options, held_out=0)
        optima = None
        if options.use_labels:
            problems, optima = _with_optimum(problems, labels, options.jobs, out)
        result = pretrain(problems, options, optima=optima, run=run, resume=options.resume)
        training.diagnosis = result.diagnosis
        training.evaluation = measured_ways(result.family.choice)
        show_evaluation(training.evaluation, out)
        say(out, f"trained on {len(problems)} problems for {result.fit.epochs} epochs: {run.path}")
    return found(run, training.evaluation)


def _evaluate(options: EvaluateOptions, out: Console) -> Outcome:
    run = trained_run(options.run)
    problems, _ = _read(options.problems, relax=options.relax)
    random_model = load_encoder_as(LPModel, run.random_encoder) if run.random_encoder.exists() else None
    evaluation = evaluate(problems, LearnedFamily.open(run.path), options, random_model=random_model)
    show_evaluation(evaluation, out)
    write_results(run, evaluation, out)
    return found(run, evaluation)


def _with_optimum(
    problems: list[LinearProgram], labels: Path, jobs: int, out: Console, mapped: Map | None = None
) -> tuple[list[LinearProgram], list[Optimum]]:
    """The problems that have an optimum, and their optima; a line is printed for each problem left out."""
    solved, optima, reasons = with_optimum(problems, cache=labels, workers=jobs, mapped=mapped)
    for reason in reasons:
        say(out, f"left out: {reason}")
    return solved, optima


def _read(problems: Path | None, *, relax: bool) -> tuple[list[LinearProgram], Path]:
    """Problems, and the folder beside them that keeps their optima."""
    files = files_of(problems)
    return [read_problem(file, relax=relax) for file in files], files[0].parent / "labels"


#: Other names of the options of lp train: those of JEPA in the original KKT networks, and of an earlier version.
NAMES = {
    "workers": "jobs",
    "jepa_mode": "objective.target",
    "ema_momentum": "objective.momentum",
    "jepa_sigreg": "objective.sigreg",
}

COMMANDS = {
    "generate": Command(GenerateOptions, _generate, optional=("family",)),
    "label": Command(LabelOptions, _label, ("problems",), aliases={"workers": "jobs"}),
    "train": Command(TrainOptions, _train, ("problems",), presets=PRESETS, aliases=NAMES, json=True),
    **SOLVE_COMMANDS,
    "evaluate": Command(EvaluateOptions, _evaluate, ("run", "problems"), json=True),
}
