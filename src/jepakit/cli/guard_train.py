"""``jepakit guard train | evaluate``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from jepakit.cli.outcome import Outcome
from jepakit.cli.plan import planned
from jepakit.cli.runs import RunControl, found, say, show_evaluation, trained_run, training_run, write_results
from jepakit.errors import ConfigError, require_at_least
from jepakit.guard.corrupter import Corrupter
from jepakit.guard.data import Trace
from jepakit.guard.datasets.generated import GeneratedConfig, generated_traces
from jepakit.guard.evaluate import EvaluateConfig, evaluate
from jepakit.guard.model import GuardModel
from jepakit.guard.pretrain import PretrainConfig, Pretrained, pretrain
from jepakit.guard.sources import load_traces
from jepakit.training import RunFolder, load_encoder_as, push_to_hub
from jepakit.training.results import Evaluation, ReportSection

#: Names that options had in an earlier version -> their names now.
EARLIER_NAMES = {"dataset": "traces"}


@dataclass
class TrainOptions(PretrainConfig, RunControl):
    """Training and what surrounds it.

    Args:
        traces: a file with labelled runs; None: generated ones, to see that everything works. A model of those
            protects nothing.
        format: of the runs; by default it is found out.
        generated: how many are generated, half of them with an attack.
        push_to_hub: a hub id that gets the model.
        run: folder of the run.
    """

    traces: Path | None = None
    format: str = "auto"
    generated: int = 600
    push_to_hub: str | None = None
    run: Path = Path("runs/guard")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, generated=20)

    def load(self) -> Iterator[Trace]:
        """The runs."""
        if self.traces is not None:
            return load_traces(self.traces, self.format)
        return with_attacks(generated_traces(GeneratedConfig(self.generated // 2, self.seed)), self.seed)


@dataclass
class EvaluateOptions(EvaluateConfig):
    """Comparing a model with floors on runs that it was not trained on.

    Args:
        run: folder of a finished run.
        traces: a file with labelled runs.
        format: of the runs; by default it is found out.
    """

    run: Path | None = None
    traces: Path | None = None
    format: str = "auto"


def run_train(options: TrainOptions, out: Console) -> Outcome:
    """Trains a model.

    Raises:
        ConfigError, DataError, ModelError: options, runs or folder cannot be used.
    """
    run = RunFolder(options.run)
    if options.dry_run:
        source = "generated" if options.traces is None else options.traces
        data = f"{source}: {sum(1 for _ in options.load())} runs of agents"
        return planned(run, options, data, out, renamed=EARLIER_NAMES)
    with training_run(run, options, out, renamed=EARLIER_NAMES) as training:
        result = pretrain(options.load(), options, run=run, resume=options.resume)
        training.diagnosis = result.diagnosis
        numbers = tuple((name, float(value)) for name, value in asdict(result.validation).items())
        chosen = tuple(
            (f"{penalty:g}", f"{innocence:g}", recall)
            for (penalty, innocence), recall in result.detector.recall.items()
        )
        training.evaluation = Evaluation(
            title="A guard",
            recommendation=_advice(result, generated=options.traces is None),
            summary=("Numbers of tasks that were held out, and of groups of tools that were held out.",),
            sections=(
                ReportSection("Tasks that were held out", ("number", "value"), numbers),
                ReportSection(
                    "The detector, by settings",
                    ("penalty", "innocence", "attacks detected at 1 % of benign runs"),
                    chosen,
                ),
                ReportSection(
                    "The judge of features, by settings",
                    ("penalty", "attacks detected at 1 % of benign runs"),
                    tuple((f"{penalty:g}", recall) for penalty, recall in result.judge.recall.items()),
                ),
            ),
        )
        say(out, f"trained for {result.fit.epochs} epochs: {run.path}")
        if options.push_to_hub is not None:
            push_to_hub(run.encoder, options.push_to_hub, message=f"epoch {result.fit.epochs}")
    return found(run, training.evaluation)


def _advice(result: Pretrained, *, generated: bool) -> str:
    """Whether to use the model, by the agents that were held out in turn."""
    if generated:
        return "Use runs of your own: of generated ones a model shows that everything works, and protects nothing."
    detected = 100 * max([*result.detector.recall.values(), *result.judge.recall.values()])
    if result.detector.detector is None and result.judge.judge is None:
        return "Use the policy alone: attacks on agents that were held out do not score above benign runs."
    return (
        f"Use the model beside a policy: of agents that were held out it detects {detected:.0f} % of the attacked runs,"
        " at 1 % of the benign ones; `jepakit guard evaluate` measures it on others."
    )


def run_evaluate(options: EvaluateOptions, out: Console) -> Outcome:
    """Writes the table of a model.

    Raises:
        ConfigError, DataError, ModelError: options, runs or model cannot be used.
    """
    run = trained_run(options.run)
    if options.traces is None:
        raise ConfigError("traces", None, "a file with labelled runs")
    random_model = load_encoder_as(GuardModel, run.random_encoder) if run.random_encoder.exists() else None
    traces = load_traces(options.traces, options.format)
    evaluation = evaluate(traces, GuardModel.open(run.encoder), options, random_model=random_model)
    show_evaluation(evaluation, out)
    write_results(run, evaluation, out)
    return found(run, evaluation)


def with_attacks(benign: Iterator[Trace], seed: int) -> Iterator[Trace]:
    """Benign traces, and of each one with an attack in it, where it has a place for one."""
    traces, chance = list(benign), random.Random(seed)
    corrupter = Corrupter(traces)
    for trace in traces:
        yield trace
        attacks = list(corrupter.attacks(trace, chance))
        if attacks:
            yield chance.choice(attacks)
