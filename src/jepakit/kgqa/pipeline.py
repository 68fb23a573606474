"""From a graph and questions to answers: pre-train the encoder, train the retriever, train the answerer, measure.

::

    run/pretrain/    the pre-trained graph encoder
    run/retriever/   the learned retriever
    run/finetune/    the answerer

Each is a run folder of its own. A step that is finished is not done again when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any, Literal

from jepakit.core import Diagnosis
from jepakit.errors import ConfigError
from jepakit.kgqa.answerer.measure import MeasureConfig, measure
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.evaluate import EvaluateConfig, evaluate
from jepakit.kgqa.features import entity_features
from jepakit.kgqa.finetune import FinetuneConfig, finetune, open_answerer
from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.kgqa.retriever import open_retriever
from jepakit.kgqa.retrievers.learned import LearnedPaths
from jepakit.text import TextConfig, TextEncoder, load_cached_encoder
from jepakit.training import RunFolder, is_first_process, load_encoder_as
from jepakit.training.checked import checked
from jepakit.training.results import Evaluation
from jepakit.training.stages import finish_stage

PRETRAIN, RETRIEVER, FINETUNE = "pretrain", "retriever", "finetune"
"""The folders of the steps in a run; also the names of their options."""

_OUTCOME = "finished.json"
_SHARED = ("text", "accelerator", "devices", "num_nodes", "progress", "seed")


@dataclass
class PipelineConfig:
    """All options of the pipeline.

    Args:
        pretrain: the graph encoder.
        retriever: the learned retriever.
        finetune: the answerer.
        skip_pretrain: the graph encoder of the answerer is random at first. With ``finetune.encoder_path`` it is that
            one, and nothing is pre-trained either.
        skip_finetune: end with the retriever.
        evaluate: how the retriever is measured.
        measure: how the answerer is measured.
        text: the sentence encoder of all steps.
        accelerator: of all steps, see `jepakit.training.FitConfig`, as the next four.
        devices: of all steps.
        num_nodes: of all steps.
        progress: of all steps.
        seed: of all steps.
    """

    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    retriever: RetrieverConfig = field(default_factory=RetrieverConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    skip_pretrain: bool = False
    skip_finetune: bool = False
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    text: TextConfig = field(default_factory=TextConfig)
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    num_nodes: int = 1
    progress: bool = True
    seed: int = 0

    @property
    def processes(self) -> int:
        """How many train together."""
        return self.pretrain.processes

    def __post_init__(self) -> None:
        shared = {name: (name, getattr(self, name)) for name in _SHARED}
        self.pretrain = _with_shared(self.pretrain, PRETRAIN, shared)
        self.retriever = _with_shared(self.retriever, RETRIEVER, shared)
        architecture = {"encoder": (f"{PRETRAIN}.encoder", self.pretrain.encoder)}
        self.finetune = _with_shared(self.finetune, FINETUNE, shared | architecture)


@dataclass(frozen=True)
class Trained:
    """The results of the pipeline.

    Args:
        diagnosis: of the embeddings of the last step.
        evaluation: of retriever and answerer; None in all processes but the first.
    """

    diagnosis: Diagnosis
    evaluation: Evaluation | None


def train(
    graph: KnowledgeGraph,
    questions: Questions,
    config: PipelineConfig,
    run: RunFolder,
    *,
    unlabelled: Questions | None = None,
    held_out: Questions,
    measured: Questions,
    resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Does all steps, and measures.

    Args:
        graph: the graph.
        questions: to train on, with topics and answers.
        config: the options.
        run: its folders receive what is trained.
        unlabelled: more questions, which the retriever reads without their answers.
        held_out: questions to choose thresholds on.
        measured: questions to measure on.
        resume: continue the run in the folder; finished steps are not done again.
        say: called with a sentence about each step.

    Raises:
        ConfigError: options exclude each other.
        DataError: there is nothing to learn from.
        ModelError: a model cannot be loaded.
    """
    text = load_cached_encoder(config.text)
    steps = _Steps(graph, config, run, text, resume)
    answerer = config.finetune
    if not config.skip_pretrain and answerer.encoder_path is None:
        say(f"1. pre-training of the graph encoder, in {run.path / PRETRAIN}")
        answerer = replace(answerer, encoder_path=run.path / PRETRAIN)
        diagnosis = steps.pretrain()
    say(f"2. training of the retriever on {len(questions)} questions, in {run.path / RETRIEVER}")
    diagnosis = steps.fit_retriever(questions, unlabelled, held_out)
    if not config.skip_finetune:
        say(f"3. training of the answerer, in {run.path / FINETUNE}")
        diagnosis = steps.finetune(questions, held_out, answerer)
    evaluation = steps.measure(measured) if is_first_process(config.processes) else None
    return Trained(diagnosis, evaluation)


class _Steps:
    """The steps, each in its folder of the run."""

    def __init__(
        self, graph: KnowledgeGraph, config: PipelineConfig, run: RunFolder, text: TextEncoder, resume: bool
    ) -> None:
        self.graph, self.config, self.text, self.resume = graph, config, text, resume
        self.runs = {name: RunFolder(run.path / name) for name in (PRETRAIN, RETRIEVER, FINETUNE)}
        self.features = cache(lambda: entity_features(graph, text))

    def pretrain(self) -> Diagnosis:
        """The graph encoder."""
        run, config = self.runs[PRETRAIN], self.config.pretrain
        return self._step(
            PRETRAIN,
            lambda: pretrain(self.graph, config, features=self.features(), run=run, resume=self.resume).diagnosis,
        )

    def fit_retriever(self, questions: Questions, unlabelled: Questions | None, held_out: Questions) -> Diagnosis:
        """The retriever."""
        run, config = self.runs[RETRIEVER], self.config.retriever
        options: dict[str, Any] = {"unlabelled": unlabelled, "held_out": held_out, "run": run, "resume": self.resume}
        return self._step(
            RETRIEVER, lambda: fit_retriever(self.graph, questions, self.text, config, **options).diagnosis
        )

    def finetune(self, questions: Questions, held_out: Questions, config: FinetuneConfig) -> Diagnosis:
        """The answerer, with the subgraphs of the retriever."""
        run = self.runs[FINETUNE]
        options: dict[str, Any] = {"held_out": held_out, "run": run, "resume": self.resume}

        def work() -> Diagnosis:
            retriever = LearnedPaths(open_retriever(self.runs[RETRIEVER], self.graph, self.text))
            return finetune(self.graph, questions, retriever, config, features=self.features(), **options).diagnosis

        return self._step(FINETUNE, work)

    def measure(self, questions: Questions) -> Evaluation:
        """Retriever and answerer, as they are on disk."""
        run, config = self.runs[RETRIEVER], self.config
        retriever = open_retriever(run, self.graph, self.text)
        untrained = load_encoder_as(PathMatcher, run.random_encoder)
        evaluation = evaluate(self.graph, questions, retriever, untrained, config.evaluate)
        if config.skip_finetune:
            return evaluation
        answers = measure(
            self.graph,
            questions,
            open_answerer(self.runs[FINETUNE], self.graph, self.features()),
            LearnedPaths(retriever),
            config.measure,
            candidates=config.finetune.candidates,
        )
        return replace(
            evaluation,
            summary=evaluation.summary + answers.summary,
            recommendation=f"{evaluation.recommendation} {answers.recommendation}",
            rows=evaluation.rows + answers.rows,
            sections=evaluation.sections + answers.sections,
        )

    def _step(self, name: str, work: Callable[[], Diagnosis]) -> Diagnosis:
        run = self.runs[name]
        outcome = finish_stage(
            run,
            _OUTCOME,
            lambda: asdict(work()),
            products=lambda _: [run.encoder],
            devices=self.config.processes,
            resume=self.resume,
        )
        return checked(Diagnosis, outcome)


def _with_shared(config: Any, step: str, shared: Mapping[str, tuple[str, Any]]) -> Any:
    """The configuration of a step with the options that all steps have: name -> the option that stands for it, value.

    Raises:
        ConfigError: one of these is given for the step alone.
    """
    own = {one.name for one in fields(config)}
    given = {name: value for name, (_, value) in shared.items() if name in own}
    for name, value in given.items():
        found, default = getattr(config, name), getattr(type(config)(), name)
        if found not in (value, default):
            option, instead = name, shared[name][0]
            if is_dataclass(found):
                part = next(one.name for one in fields(found) if getattr(found, one.name) != getattr(default, one.name))
                found, option, instead = getattr(found, part), f"{name}.{part}", f"{instead}.{part}"
            raise ConfigError(f"{step}.{option}", found, f"its default; for all steps: {instead}")
    return replace(config, **given)
