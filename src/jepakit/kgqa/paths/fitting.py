"""Trains a path matcher on questions with answers."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from jepakit.core import diagnose
from jepakit.core.packed import select_groups
from jepakit.errors import ConfigError, DataError, require_at_least, require_within
from jepakit.files import write_json
from jepakit.kgqa.abstention import with_threshold
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.paths.candidates import Candidates, find_candidates
from jepakit.kgqa.paths.matcher import MatcherConfig, PathMatcher
from jepakit.kgqa.paths.objective import AnswerLikelihood, PathBatch
from jepakit.kgqa.paths.reach import PathTable, Walker
from jepakit.kgqa.paths.vectors import PathVectors
from jepakit.kgqa.paths.wordings import WORDINGS
from jepakit.kgqa.retriever import SETTINGS, PathRetriever, mask_topics
from jepakit.text import TextEncoder
from jepakit.training import EpochLoader, FitConfig, RunFolder, fit, is_first_process, save_trained
from jepakit.training.results import Pretrained

_DIAGNOSED = 2000


@dataclass
class RetrieverConfig(FitConfig):
    """All options of a learned retriever.

    Args:
        hops: relations of the longest path.
        wordings: wordings of each path.
        through_topic: whether a path may return to the topic; None: as the training questions are answered better.
        matcher: the network.
        max_false: see `jepakit.kgqa.abstention.choose_threshold`.
    """

    epochs: int = 150
    batch_size: int = 256
    learning_rate: float = 5e-4
    learning_rates: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("matcher.step", "matcher.path"), 2e-4)
    )
    warmup_epochs: float = 0.0
    weight_decay: float = 0.01
    hops: int = 3
    wordings: int = WORDINGS
    through_topic: bool | None = None
    matcher: MatcherConfig = field(default_factory=MatcherConfig)
    max_false: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, hops=1, wordings=1)
        require_within(self, "[0, 1]", "max_false")
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
    held_out: Questions | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
) -> FittedRetriever:
    """Trains a path matcher on questions with answers; gold paths are not needed.

    Args:
        graph: the graph.
        questions: those without topic, or that no path of ``hops`` relations answers, do not count.
        encoder: frozen.
        config: how.
        held_out: other questions, to choose the threshold on below which there is no answer; None: there is always one.
        run: the folder that receives checkpoint, metrics and ``encoder/``; None writes nothing.
        resume: go on from the checkpoint in ``run``.

    Raises:
        DataError: no path answers any of the questions.
    """
    through, table, candidates = _choose_candidates(graph, questions, config)
    useful = torch.from_numpy(np.flatnonzero(candidates.best_share))
    if not len(useful):
        expected = f"questions whose answers are at most {config.hops} relations from their topics"
        raise DataError(
            "no path leads from a topic to an answer", field="questions", value=len(questions), expected=expected
        )
    vectors = PathVectors(graph, encoder, table, config.hops, config.wordings)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        matcher = PathMatcher(encoder.dim, graph.num_steps, config.hops, **asdict(config.matcher))
        random_matcher = copy.deepcopy(matcher).eval()
    batches = _Batches(encoder.encode(mask_topics(graph, questions), "query"), candidates, vectors, useful)
    loader = EpochLoader(len(useful), config.batch_size, batches, seed=config.seed)
    sample = batches.questions[useful[:_DIAGNOSED]]

    def embed() -> tuple[Tensor, None]:
        with torch.no_grad():
            return copy.deepcopy(matcher).cpu().eval().embed_questions(sample), None

    result = fit(None, loader, config, run=run, task=AnswerLikelihood(matcher), resume=resume, embed=embed)
    matcher.cpu().eval()
    embeddings, _ = embed()
    diagnosis = diagnose(embeddings)
    retriever = PathRetriever(graph, encoder, matcher, through_topic=through, wordings=config.wordings, vectors=vectors)
    if held_out is not None:
        retriever = with_threshold(retriever, held_out, max_false=config.max_false, seed=config.seed)
    if run is not None:
        if is_first_process(config.devices):
            fingerprints = {"graph": graph.fingerprint, "text_encoder": encoder.fingerprint}
            settings = {"through_topic": through, "wordings": config.wordings, "threshold": retriever.threshold}
            write_json(run.path / SETTINGS, {**fingerprints, **settings})
        save_trained(
            run,
            matcher,
            random_matcher,
            devices=config.devices,
            diagnosis=diagnosis,
            embeddings=embeddings,
            card={
                "dataset": f"{graph.name}: {graph.num_entities} entities, {graph.num_triples} triples; "
                f"{len(useful)} questions with answers",
                "method": f"relation paths of at most {config.hops} steps, matched with questions",
            },
        )
    return FittedRetriever(
        encoder=matcher, random_encoder=random_matcher, fit=result, diagnosis=diagnosis, retriever=retriever
    )


class _Batches:
    """``(indices, generator) -> PathBatch``."""

    def __init__(self, questions: Tensor, candidates: Candidates, vectors: PathVectors, rows: Tensor) -> None:
        self.questions, self.vectors, self.rows = questions, vectors, rows
        self.ptr, self.path = torch.from_numpy(candidates.ptr), torch.from_numpy(candidates.path)
        self.share = torch.from_numpy(candidates.share.astype(np.float32))

    def __call__(self, indices: Tensor, generator: torch.Generator) -> PathBatch:
        rows = self.rows[indices]
        places, ptr = select_groups(self.ptr, rows)
        different, path = self.path[places].unique(return_inverse=True)
        owner = torch.repeat_interleave(ptr.diff())
        return PathBatch(self.questions[rows], ptr, owner, path, *self.vectors(different), self.share[places])


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
