"""How few questions with answers a learned retriever needs, and what each part of its training adds.

    python -m benchmarks.kgqa_paths            # hours on two cores; numbers that are measured are kept
    python -m benchmarks.kgqa_paths --quick    # minutes: PathQuestion-2H, one seed, fewer steps

Topics are given, the number of hops is not. A row is the expected hit@1 of the most probable path: the share of answers
among the entities that it reaches. Seeds draw the labelled questions and initialise the network.

MetaQA: `dev` to train, the whole `test` to measure by hops; the same with a third of the wordings kept for the test.
Classic retrieval (BM25, KNN, KNN + PCST) is measured by its first entity, on a sample of 1,000 questions.
PathQuestion: no test question shares topic and path with one to train on. Questions to train on that are not
labelled are used without their answers, where a row says so.

With 1,000 labels, and with all, every row trains twice as long. Rates and widths of the default were chosen on
questions to train on; that the number of relations is learned apart was found in errors on test questions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import Options, Steps, data_dir, main, mean_row, side_by_side, workers
from benchmarks.kgqa_floors import FLOORS, floors
from jepakit.core.packed import segment_max, segment_sum
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.datasets.questions import load_metaqa_questions, load_pathquestion
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.paths.batches import PathBatches
from jepakit.kgqa.paths.candidates import find_candidates
from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.paths.objective import AnswerLikelihood, ObjectiveConfig, QuestionBatch
from jepakit.kgqa.paths.reach import PathTable, Walker
from jepakit.kgqa.paths.vectors import PathVectors
from jepakit.kgqa.retriever import mask_topics
from jepakit.kgqa.retrievers.named import TITLES
from jepakit.text import TextEncoder
from jepakit.text.cache import load_cached_encoder
from jepakit.text.encoder import Kind
from jepakit.text.load import TextConfig
from jepakit.training.result_rows import ResultRow

METAQA, UNSEEN, PQ2, PQ3 = "MetaQA", "MetaQA, unseen wordings", "PathQuestion-2H", "PathQuestion-3H"
DATASETS = (METAQA, PQ2, PQ3, UNSEEN)
HOPS, SEEDS, ALL = 3, (0, 1, 2), -1
METRIC, CEILING = "hit@1", "ceiling: the best path"
CLASSIC = tuple(TITLES[name] for name in FLOORS)
#: Questions of a part that classic retrieval answers; it takes ten times as long as a matcher.
_CLASSIC_QUESTIONS = 1000
COSINE, WORDS, BY_HOP = (
    "cosine, nothing learned",
    "answers alone, random word vectors",
    "answers alone, a softmax a hop",
)
OURS = "wordings (InfoNCE) + self-training"
OBJECTIVES: dict[str, ObjectiveConfig] = {
    "answers alone": ObjectiveConfig(wordings_weight=0, questions_weight=0),
    "wordings (InfoNCE)": ObjectiveConfig(questions_weight=0),
    "wordings (regression)": ObjectiveConfig(questions_weight=0, contrast=0, regression=1),
    "wordings (InfoNCE + regression)": ObjectiveConfig(questions_weight=0, regression=1),
    "self-training": ObjectiveConfig(wordings_weight=0),
    OURS: ObjectiveConfig(),
}
"""Row -> what is learned; answers are added where there are labels."""
LABELS = {METAQA: (0, 10, 30, 75, 100, 1000, ALL), UNSEEN: (0, 75, ALL), PQ2: (0, 10, 30, ALL), PQ3: (0, 10, 30, ALL)}
_CLASSIC = "classic"
_UNLEARNED = (CEILING, COSINE, _CLASSIC)
#: Labels at which every row is measured; at the others, and for unseen wordings, those of `_ALWAYS`.
_COMPARED, _ALWAYS = (0, 10, 30, 75), ("answers alone", OURS, BY_HOP)
#: With so many labels, or all, training has so many epochs.
_MANY_LABELS, _MANY_EPOCHS = 1000, 20
AIMS: dict[tuple[str, int], tuple[float, ...]] = {
    (METAQA, 75): (0.90, 0.90, 0.85),
    (METAQA, ALL): (0.97, 0.965, 0.965),
    (PQ2, 10): (0.90,),
    (PQ3, 10): (0.90,),
}


@dataclass(frozen=True)
class Split:
    """Questions about a graph.

    Args:
        graph: the graph.
        through_topic: whether paths return to their topic, as the questions of the data set need it.
        train: the questions to label, or to use without their answers.
        test: the questions to measure on, by the name of their part.
    """

    graph: KnowledgeGraph
    through_topic: bool
    train: Questions
    test: dict[str, Questions]


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        dataset: a name of `DATASETS`.
        method: the row.
        labels: questions with answers; `ALL`: every one.
        seed: of draw and initialisation.
        quick: fewer steps.
    """

    dataset: str
    method: str
    labels: int
    seed: int
    quick: bool

    @property
    def key(self) -> tuple[Any, ...]:
        """Of `Steps.value`."""
        return (self.dataset, self.method, self.labels, self.seed, self.quick)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    datasets = (PQ2,) if options.quick else DATASETS
    seeds = SEEDS[:1] if options.quick else SEEDS
    jobs = [
        Job(dataset, method, labels, seed, options.quick)
        for seed in seeds
        for dataset in datasets
        for labels in _labels(dataset, options.quick)
        for method in methods(dataset, labels)
    ]
    unlearned = [Job(dataset, method, 0, 0, options.quick) for dataset in datasets for method in _UNLEARNED]
    # What has an aim goes first; a process keeps one data set.
    ordered = sorted(
        [*unlearned, *jobs],
        key=lambda job: ((job.dataset, job.labels) not in AIMS, job.method != OURS, datasets.index(job.dataset)),
    )
    with workers() as pool:
        found = side_by_side(pool, steps, {job.key: partial(measure, job) for job in ordered})
    return [row for dataset in datasets for row in _table(dataset, found, seeds, options.quick)]


def _table(
    dataset: str, found: Mapping[tuple[Any, ...], Mapping[str, float]], seeds: Sequence[int], quick: bool
) -> Iterator[ResultRow]:
    """The rows of a data set, for each part of its test: what is not learned, then by labels."""
    unlearned = {job: found[Job(dataset, job, 0, 0, quick).key] for job in _UNLEARNED}
    parts = list(unlearned[CEILING])
    for place, part in enumerate(parts):
        name = dataset if len(parts) == 1 else f"{dataset}, {part}"
        fixed = {method: unlearned[method][part] for method in (CEILING, COSINE)}
        fixed |= {method: unlearned[_CLASSIC][f"{part}: {method}"] for method in CLASSIC}
        yield from (mean_row(name, method, METRIC, [value], seeds=None) for method, value in fixed.items())
        for labels in _labels(dataset, quick):
            # Without labels the aim is to be above the cosine.
            aims = AIMS.get((dataset, labels), ()) if labels else (fixed[COSINE],) * len(parts)
            for method in methods(dataset, labels):
                values = [found[Job(dataset, method, labels, seed, quick).key][part] for seed in seeds]
                shown = f"{'all' if labels == ALL else labels} labels: {method}"
                aim = aims[place] if aims and method == OURS else None
                yield mean_row(name, shown, METRIC, values, aim=aim, ours=method == OURS)


def _labels(dataset: str, quick: bool) -> tuple[int, ...]:
    return LABELS[dataset][:2] if quick else LABELS[dataset]


def methods(dataset: str, labels: int) -> list[str]:
    """The rows with so many labels."""
    if labels in _COMPARED and dataset != UNSEEN:
        return [*OBJECTIVES, BY_HOP, WORDS] if labels else [name for name in OBJECTIVES if name != "answers alone"]
    return list(_ALWAYS) if labels else [OURS]


def measure(job: Job) -> dict[str, float]:
    """Expected hit@1 by the part of the test."""
    split, encoder = load_split(job.dataset), _Words() if job.method == WORDS else _encoder()
    if job.method == _CLASSIC:
        return {
            f"{part}: {method}": value
            for part, questions in split.test.items()
            for method, value in floors(split.graph, questions, _encoder(), _CLASSIC_QUESTIONS, job.seed).items()
        }
    test = {part: _test_set(job.dataset, part, words=job.method == WORDS) for part in split.test}
    if job.method == CEILING:
        return {part: one.ceiling for part, one in test.items()}
    if job.method == COSINE:
        with torch.random.fork_rng():
            matcher: PathMatcher = PathMatcher(encoder.dim, split.graph.num_steps, HOPS).eval()
        return {part: one.hit(matcher) for part, one in test.items()}
    order = np.random.default_rng(job.seed).permutation(len(split.train))
    many = job.labels in (_MANY_LABELS, ALL)
    labelled = split.train[order if job.labels == ALL else order[: job.labels]]
    config = RetrieverConfig(
        through_topic=split.through_topic,
        seed=job.seed,
        progress=False,
        accelerator="cpu",
        objective=OBJECTIVES.get(job.method, OBJECTIVES["answers alone"]),
        epochs=2 if job.quick else _MANY_EPOCHS if many else RetrieverConfig.epochs,
    )
    if job.method == BY_HOP:
        matcher = _fit_by_hop(split, labelled, encoder, config)
    else:
        unlabelled = split.train[order[len(labelled) :]]
        matcher = fit_retriever(split.graph, labelled, encoder, config, unlabelled=unlabelled).encoder
    return {part: one.hit(matcher) for part, one in test.items()}


@lru_cache(maxsize=1)
def load_split(dataset: str) -> Split:
    """Graph and questions."""
    folder = data_dir() / "kgqa"
    if dataset in (METAQA, UNSEEN):
        graph = load_triples(folder / "metaqa" / "kb.tsv")
        parts = {
            name: {
                f"{hops} hop{'s' * (hops > 1)}": load_metaqa_questions(folder / f"metaqa/{hops}-hop/{name}.txt", graph)
                for hops in range(1, HOPS + 1)
            }
            for name in ("dev", "test")
        }
        train, test = _joined(list(parts["dev"].values())), parts["test"]
        if dataset == UNSEEN:
            train = train[[row for row, text in enumerate(mask_topics(graph, train)) if not _held_out(text)]]
            test = {
                part: one[[row for row, text in enumerate(mask_topics(graph, one)) if _held_out(text)]]
                for part, one in test.items()
            }
        return Split(graph, False, train, test)
    hops = 2 if dataset == PQ2 else 3
    graph = load_triples(folder / "pathquestion" / f"{hops}H-kb.txt")
    questions = load_pathquestion(folder / "pathquestion" / f"PQ-{hops}H.txt", graph)
    keys = [repr((topics, path)) for topics, path in zip(questions.topics, questions.paths, strict=True)]
    train, test = ([row for row, key in enumerate(keys) if _held_out(key) == held] for held in (False, True))
    return Split(graph, True, questions[train], {"all": questions[test]})


def _held_out(text: str) -> bool:
    """A third of the texts, always the same."""
    return hashlib.sha256(text.encode()).digest()[0] % 3 == 0


def _joined(parts: Sequence[Questions]) -> Questions:
    texts, topics, answers = (
        tuple(row for one in parts for row in getattr(one, name)) for name in ("texts", "topics", "answers")
    )
    return Questions(texts, topics, answers)


class _TestSet:
    """Questions with the shares of their paths, to measure matchers on."""

    def __init__(self, split: Split, questions: Questions, encoder: TextEncoder) -> None:
        table = PathTable(split.graph.num_steps)
        walker = Walker(split.graph, through_topic=split.through_topic)
        candidates = find_candidates(walker, table, questions, HOPS)
        wordings, wording = np.unique(mask_topics(split.graph, questions), return_inverse=True)
        self.ceiling = float(candidates.best_share.mean())
        self.paths = PathVectors(split.graph, encoder, table, HOPS, RetrieverConfig().wordings)(np.arange(len(table)))
        self.batch = QuestionBatch(
            encoder.encode(wordings.tolist(), "query"),
            torch.from_numpy(wording),
            torch.from_numpy(candidates.ptr),
            torch.from_numpy(candidates.path),
            torch.from_numpy(candidates.share.astype(np.float32)),
        )

    @torch.no_grad()
    def hit(self, matcher: PathMatcher) -> float:
        """The mean share of the most probable path; of equals, their mean."""
        batch, owner = self.batch, self.batch.owner
        logits = matcher(batch.texts, *self.paths)[batch.wording[owner], batch.path]
        best = (logits >= segment_max(logits, batch.ptr, 0.0)[owner]).float()
        return float((segment_sum(best * batch.share, batch.ptr) / segment_sum(best, batch.ptr).clamp(min=1)).mean())


@lru_cache(maxsize=8)
def _test_set(dataset: str, part: str, *, words: bool) -> _TestSet:
    split = load_split(dataset)
    return _TestSet(split, split.test[part], _Words() if words else _encoder())


@lru_cache(maxsize=1)
def _encoder() -> TextEncoder:
    return load_cached_encoder(TextConfig())


class _Words:
    """A random vector for each word, and their mean: no language is known."""

    dim, name, fingerprint = 384, "random words", "random words"

    def encode(self, texts: Sequence[str], kind: Kind = "document") -> Tensor:
        """``[N, dim]`` unit vectors."""
        return F.normalize(
            torch.stack([torch.stack([*map(_of_word, text.split() or [""])]).mean(0) for text in texts]), dim=-1
        )


@cache
def _of_word(word: str) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:7], "big")
    return torch.randn(_Words.dim, generator=torch.Generator().manual_seed(seed))


class _ByHop(PathMatcher):
    """The step of every hop by a softmax on the question, and the number of hops: no path has a text.

    As in TransferNet (Shi et al. 2021), but a path reaches a set, not a number of walks.
    """

    def __init__(self, dim: int, num_steps: int, hops: int) -> None:
        super().__init__(dim, num_steps, hops)
        self.heads = nn.Linear(dim, hops * (num_steps + 1))
        nn.init.zeros_(self.log_scale)

    def cosines(self, questions: Tensor, vectors: Tensor, steps: Tensor) -> Tensor:
        """In place of cosines, log-probabilities; an absent step is one of the choices."""
        # A unit vector has entries of 1 / sqrt(dim), too small to learn from at this rate.
        scores = self.heads(questions * self.dim**0.5).view(len(questions), self.hops, -1).log_softmax(-1)
        return sum((scores[:, hop, steps[:, hop]] for hop in range(self.hops)), torch.zeros(()))


def _fit_by_hop(split: Split, labelled: Questions, encoder: TextEncoder, config: RetrieverConfig) -> _ByHop:
    """The same batches and as many steps as `fit_retriever`."""
    graph, table = split.graph, PathTable(split.graph.num_steps)
    candidates = find_candidates(Walker(graph, through_topic=split.through_topic), table, labelled, HOPS)
    texts = mask_topics(graph, labelled)
    useful = torch.from_numpy(np.flatnonzero(candidates.best_share))
    vectors = PathVectors(graph, encoder, table, HOPS, config.wordings)
    batches = PathBatches(texts, encoder.encode(texts, "query"), candidates, vectors, useful, read=False)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = _ByHop(encoder.dim, graph.num_steps, HOPS)
    loss, generator = AnswerLikelihood(network), torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=config.weight_decay)
    for _ in range(config.epochs * config.steps_per_epoch):
        optimizer.zero_grad()
        sum(loss(batches(torch.arange(config.batch_size), generator)).values(), torch.zeros(())).backward()
        optimizer.step()
    return network.eval()


if __name__ == "__main__":
    main("kgqa_paths", rows, depends_on="kgqa/paths/*.py")
