"""Trains a path matcher on questions, with answers and without."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from jepakit.core import diagnose
from jepakit.errors import ConfigError, DataError, require_at_least, require_within
from jepakit.files import write_json
from jepakit.kgqa.abstention import with_threshold
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.paths.batches import PathBatches
from jepakit.kgqa.paths.candidates import Candidates, find_candidates
from jepakit.kgqa.paths.matcher import MatcherConfig, PathMatcher
from jepakit.kgqa.paths.objective import AnswerLikelihood, ObjectiveConfig, PathJEPA
from jepakit.kgqa.paths.reach import PathTable, Walker
from jepakit.kgqa.paths.vectors import PathVectors
from jepakit.kgqa.paths.wordings import WORDINGS
from jepakit.kgqa.retriever import SETTINGS, PathRetriever, mask_topics
from jepakit.text import TextEncoder
from jepakit.training import EpochLoader, FitConfig, RunFolder, fit, is_first_process, save_trained
from jepakit.training.results import PointFacts, Pretrained

_DIAGNOSED = 2000
#: Parameters of a matcher that learn at ``path_learning_rate``.
_PATH_SIDE = ("step", "path", "path_out")
#: The one that learns at ``length_learning_rate``.
_LENGTH = "length"


@dataclass
class RetrieverConfig(FitConfig):
    """All options of a learned retriever.

    Args:
        hops: relations of the longest path.
        wordings: wordings of each path.
        path_learning_rate: the rate of what embeds paths; ``learning_rate`` is that of what embeds questions.
        length_learning_rate: the rate of what tells the number of relations. It adds to logits, whose size is 20.
        through_topic: whether a path may return to the topic; None: as the training questions are answered better.
        matcher: the network.
        objective: what is learned without labels, beside the answers of labelled questions.
        unlabelled: the most questions without answers that are used, a random sample of them.
        steps_per_epoch: optimiser steps of an epoch; its batches are drawn at random.
        max_false: the largest share of wrong answers among those given on held-out questions; None: where their F1 is
            greatest. See `jepakit.kgqa.abstention.choose_threshold`.
    """

    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 5e-4
    path_learning_rate: float = 2e-4
    length_learning_rate: float = 1e-2
    warmup_epochs: float = 0.0
    weight_decay: float = 0.01
    clip_norm: float = 0.0
    hops: int = 3
    wordings: int = WORDINGS
    through_topic: bool | None = None
    matcher: MatcherConfig = field(default_factory=MatcherConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    unlabelled: int = 5000
    steps_per_epoch: int = 20
    max_false: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, hops=1, wordings=1, unlabelled=0, steps_per_epoch=1)
        require_within(self, "[0, 1]", "max_false")
        require_within(self, "(0, inf)", "path_learning_rate", "length_learning_rate")
        if self.wordings > WORDINGS:
            raise ConfigError("wordings", self.wordings, f"at most {WORDINGS}")


@dataclass(frozen=True, kw_only=True)
class FittedRetriever(Pretrained[PathMatcher]):
    """A trained matcher; ``random_encoder`` is the one before training, which is the cosine of frozen vectors."""

    retriever: PathRetriever


def fit_retriever(
    graph: KnowledgeGraph,
    questions: Questions,
    encoder: TextEncoder,
    config: RetrieverConfig,
    *,
    unlabelled: Questions | None = None,
    held_out: Questions | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
) -> FittedRetriever:
    """Trains a path matcher on questions with and without answers; gold paths are not needed.

    Args:
        graph: the graph.
        questions: those that no path of ``hops`` relations answers count as unlabelled, those without topic not at all.
        encoder: frozen.
        config: how.
        unlabelled: more questions, whose answers are not used.
        held_out: other questions, to choose the threshold on below which there is no answer; None: there is always one.
        run: the folder that receives checkpoint, metrics and ``encoder/``; None writes nothing.
        resume: go on from the checkpoint in ``run``.

    Raises:
        DataError: no path answers any of the questions.
    """
    pool = _with_unlabelled(questions, unlabelled, config)
    through, table, candidates = _choose_candidates(graph, pool, config)
    useful = torch.from_numpy(np.flatnonzero(candidates.best_share))
    if not len(useful) and (any(questions.answers) or not (config.objective.without_labels and len(candidates.path))):
        expected = f"questions whose answers are at most {config.hops} relations from their topics"
        raise DataError(
            "no path leads from a topic to an answer", field="questions", value=len(questions), expected=expected
        )
    vectors = PathVectors(graph, encoder, table, config.hops, config.wordings)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        matcher = PathMatcher(encoder.dim, graph.num_steps, config.hops, **asdict(config.matcher))
        random_matcher = copy.deepcopy(matcher).eval()
    texts = mask_topics(graph, pool)
    embedded = encoder.encode(texts, "query")
    batches = PathBatches(texts, embedded, candidates, vectors, useful, read=config.objective.questions_weight > 0)
    # A step is short, and contrasts a text with all paths of the batch.
    size = config.steps_per_epoch * config.batch_size
    loader = EpochLoader(size, config.batch_size, batches, seed=config.seed, shared="nothing")
    jepa, task = _losses(matcher, config, steps=config.epochs * len(loader), labelled=len(useful))
    different = _first_of_each(texts[:_DIAGNOSED])

    def embed(vectors: Tensor) -> Tensor:
        with torch.no_grad():
            return copy.deepcopy(matcher).cpu().eval().embed_questions(vectors)

    observed = embedded[different]
    rates = _with_rates(config, jepa)
    result = fit(jepa, loader, rates, run=run, task=task, resume=resume, embed=lambda: (embed(observed), None))
    matcher.cpu().eval()
    embeddings = embed(embedded[:_DIAGNOSED])
    diagnosis = diagnose(embeddings[different])
    retriever = PathRetriever(graph, encoder, matcher, through_topic=through, wordings=config.wordings, vectors=vectors)
    if held_out is not None:
        retriever = with_threshold(retriever, held_out, max_false=config.max_false, seed=config.seed)
    if run is not None:
        if is_first_process(config.processes):
            fingerprints = {"graph": graph.fingerprint, "text_encoder": encoder.fingerprint}
            settings = {"through_topic": through, "wordings": config.wordings, "threshold": retriever.threshold}
            write_json(run.path / SETTINGS, {**fingerprints, **settings})
        save_trained(
            run,
            matcher,
            random_matcher,
            devices=config.processes,
            diagnosis=diagnosis,
            embeddings=embeddings,
            facts=PointFacts(titles=pool.texts[:_DIAGNOSED]),
            card={
                "dataset": f"{graph.name}: {graph.num_entities} entities, {graph.num_triples} triples; "
                f"{len(useful)} questions with answers",
                "method": f"relation paths of at most {config.hops} steps, matched with questions",
            },
        )
    return FittedRetriever(
        encoder=matcher, random_encoder=random_matcher, fit=result, diagnosis=diagnosis, retriever=retriever
    )


def _losses(
    matcher: PathMatcher, config: RetrieverConfig, *, steps: int, labelled: int
) -> tuple[PathJEPA | None, AnswerLikelihood | None]:
    """The loss without labels and the loss with them; None where it has no weight, or nothing to learn from."""
    jepa = PathJEPA(matcher, config.objective, steps=steps) if config.objective.without_labels else None
    weight = min(1.0, labelled / config.objective.full_weight)
    return jepa, AnswerLikelihood(matcher, weight) if labelled else None


def _with_rates(config: RetrieverConfig, jepa: PathJEPA | None) -> RetrieverConfig:
    """The configuration with the rates of the parts of a matcher by the names of their parameters."""
    root = "matcher" if jepa is None else "context_encoder.matcher"
    rates = {f"{root}.{name}": config.path_learning_rate for name in _PATH_SIDE if config.matcher.path_residual}
    rates[f"{root}.{_LENGTH}"] = config.length_learning_rate
    return replace(config, learning_rates=rates | config.learning_rates)


def _with_unlabelled(questions: Questions, more: Questions | None, config: RetrieverConfig) -> Questions:
    """The questions, and after them a sample of others without their answers."""
    if more is None or not config.objective.without_labels:
        return questions
    more = more.sample(config.unlabelled, seed=config.seed)
    return Questions(
        questions.texts + more.texts, questions.topics + more.topics, questions.answers + ((),) * len(more)
    )


def _choose_candidates(
    graph: KnowledgeGraph, questions: Questions, config: RetrieverConfig
) -> tuple[bool, PathTable, Candidates]:
    """Whether paths return to the topic, and the candidates; of two choices the one whose best paths are more exact."""
    choices = (False, True) if config.through_topic is None else (config.through_topic,)
    found: list[tuple[float, bool, PathTable, Candidates]] = []
    for through in choices:
        table = PathTable(graph.num_steps)
        candidates = find_candidates(Walker(graph, through_topic=through), table, questions, config.hops)
        found.append((float(candidates.best_share.sum()), through, table, candidates))
    # The first of equals: paths that do not return are fewer.
    return max(found, key=lambda choice: choice[0])[1:]


def _first_of_each(texts: Sequence[str]) -> Tensor:
    """The rows where each text stands first, ``[N]``: questions that differ in their topics alone are one question."""
    rows = dict(zip(reversed(texts), range(len(texts) - 1, -1, -1), strict=True))
    return torch.tensor(sorted(rows.values()), dtype=torch.int64)
