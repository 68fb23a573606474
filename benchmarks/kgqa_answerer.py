"""What a graph encoder adds to a small language model, and what JEPA pre-training adds to the encoder.

    python -m benchmarks.kgqa_answerer            # 70 minutes on two cores; goes on where it was interrupted
    python -m benchmarks.kgqa_answerer --quick    # minutes: fewer questions and epochs

SmolLM2-135M-Instruct reads question and subgraph as text; soft tokens after the text come from a graph encoder (GATv2),
random at first or pre-trained by JEPA on the same graph without questions or labels, and trained on. The language model
is frozen, or has low-rank additions (LoRA) where `Sizes.epochs` has a number for it. Rows beside them: no training;
learned soft tokens that are the same for every question; the most frequent answer. All rows with the same language
model see the same questions as often, with the same options. The answer is the candidate of the greatest mean
log-probability; no retriever has a say.

ExplaGraphs: does the argument support or counter the belief? PathQuestion-2H: the candidates are the entities that two
triples lead to from the topic. Trainings run side by side in processes of one thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Options, Steps, data_dir, main, mean_row, side_by_side, workers
from benchmarks.kgqa_features import kept_features
from jepakit.kgqa.answerer.answering import AnswerSettings, QuestionAnswerer
from jepakit.kgqa.answerer.data import BatchMaker, Example, SubgraphPacker
from jepakit.kgqa.answerer.finetune import FinetuneConfig, finetune
from jepakit.kgqa.answerer.fusion import FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.answerer.model import Answerer, Tuning
from jepakit.kgqa.answerer.prefix import PrefixStates
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.data import KnowledgeGraph, Subgraph, entity_table
from jepakit.kgqa.datasets.expla_graphs import LABELS, load_expla_graphs
from jepakit.kgqa.datasets.questions import load_pathquestion
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.training.result_rows import ResultRow

MODEL = "smollm2"
ENCODER = EncoderConfig(conv="gat", hidden=128, layers=2)
MAJORITY, ZERO_SHOT, PROMPT, RANDOM, JEPA = (
    "most frequent answer",
    "text only, not trained",
    "text only, learned soft tokens",
    "GAT, random at first",
    "GAT, pre-trained by JEPA",
)
TUNINGS: dict[Tuning, str] = {"frozen": "", "lora": ", LoRA"}
"""What is trained of the language model, and what that adds to the name of a row."""
METRIC = "share of right answers"
#: Processes that share a GPU, and bytes of the texts that one of them keeps read.
_ON_GPU, _KEPT = 12, 3 << 29


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        train: questions that are learned from.
        test: questions that are measured.
        epochs: passes over them with each tuning of the language model that is measured.
        seeds: repetitions.
        pretrain_epochs: of JEPA, each of 320 subgraphs.
    """

    train: int
    test: int
    epochs: dict[Tuning, int]
    seeds: int
    pretrain_epochs: int


FULL, QUICK = Sizes(160, 200, {"frozen": 6}, 2, 18), Sizes(24, 24, {"frozen": 2}, 2, 1)


@dataclass(frozen=True)
class Task:
    """Questions about a graph.

    Args:
        graph: the graph.
        instruction: for the language model.
        train: the questions that are learned from.
        test: the questions that are measured.
    """

    graph: KnowledgeGraph
    instruction: str
    train: tuple[Example, ...]
    test: tuple[Example, ...]

    @property
    def prompt(self) -> PromptConfig:
        """Short, and with the soft tokens after the text, which a frozen model then reads once."""
        return PromptConfig(self.instruction, place="after", max_tokens=320)


@dataclass(frozen=True)
class Job:
    """One training, or a floor.

    Args:
        dataset: a name of `TASKS`.
        tuning: of the language model.
        method: the row.
        seed: of initialisation, order and pre-training.
        quick: the sizes.
    """

    dataset: str
    tuning: Tuning
    method: str
    seed: int
    quick: bool

    @property
    def key(self) -> tuple[Any, ...]:
        """Of `Steps.value`."""
        return (self.dataset, self.tuning, self.method, self.seed, self.quick)

    @property
    def sizes(self) -> Sizes:
        """See `Sizes`."""
        return QUICK if self.quick else FULL


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    sizes = QUICK if options.quick else FULL
    methods = product(sizes.epochs, (JEPA, RANDOM, PROMPT), TASKS, range(sizes.seeds))
    trained = [Job(dataset, tuning, method, seed, options.quick) for tuning, method, dataset, seed in methods]
    floors = [Job(dataset, "frozen", ZERO_SHOT, 0, options.quick) for dataset in TASKS]
    with workers(_ON_GPU if torch.cuda.is_available() else None) as pool:
        found = side_by_side(pool, steps, {job.key: partial(measure, job) for job in [*trained, *floors]})
    table: list[ResultRow] = []
    for dataset in TASKS:
        majority = _majority(_task(dataset, options.quick))
        table += [mean_row(dataset, MAJORITY, METRIC, [majority], seeds=None)]
        table += [
            mean_row(dataset, ZERO_SHOT, METRIC, [found[job.key]["right"]], seeds=None)
            for job in floors
            if job.dataset == dataset
        ]
        for tuning in sizes.epochs:
            by_method = {
                method: [found[Job(dataset, tuning, method, seed, options.quick).key] for seed in range(sizes.seeds)]
                for method in (PROMPT, RANDOM, JEPA)
            }
            shares = {method: [one["right"] for one in several] for method, several in by_method.items()}
            aim = max(float(np.mean(shares[method])) for method in (PROMPT, RANDOM))
            for method, several in by_method.items():
                first, last = (float(np.mean([one[name] for one in several])) for name in ("first", "last"))
                table.append(
                    mean_row(
                        dataset,
                        f"{method}{TUNINGS[tuning]}",
                        METRIC,
                        shares[method],
                        aim=aim if method == JEPA else None,
                        note=f"loss {first:.2f} -> {last:.2f}; {sizes.train} questions, {sizes.epochs[tuning]} epochs",
                        ours=method == JEPA,
                    )
                )
    return table


def measure(job: Job) -> dict[str, float]:
    """Share of right answers and, with training, the loss of training answers before and in the last epoch."""
    task = _task(job.dataset, job.quick)
    # The additions of LoRA stay in a model.
    model = _frozen_model() if job.tuning == "frozen" else load_language_model(MODEL)
    if job.tuning != "frozen":
        _states.cache_clear()
    states = _states() if job.tuning == "frozen" else None
    if job.method == ZERO_SHOT:
        make = BatchMaker(task.graph, model, task.prompt, soft_tokens=0, states=states)
        return {
            "right": _share(QuestionAnswerer(Answerer(model, None, None), make, AnswerSettings(weight=1)), task.test)
        }
    encoder = _encoder(task.graph, job)
    pack = None if encoder is None else SubgraphPacker(task.graph, kept_features(task.graph), encoder)
    config = FinetuneConfig(
        llm_model=MODEL,
        tuning=job.tuning,
        fusion=FusionConfig("prompt" if encoder is None else "cross_attention", tokens=4, hidden=128),
        prompt=task.prompt,
        epochs=job.sizes.epochs[job.tuning],
        batch_size=4 if job.quick else 16,
        learning_rate=3e-3,
        learning_rates=({} if encoder is None else {"encoder": 1e-3})
        | ({} if job.tuning == "frozen" else {"llm": 1e-3}),
        warmup_epochs=0.5,
        progress=False,
        seed=job.seed,
    )
    options: dict[str, Any] = {"encoder": encoder, "pack": pack, "states": states}
    # One step at a rate of almost 0: the loss before training.
    start = replace(config, epochs=1, learning_rate=1e-12, learning_rates={}, tuning="frozen")
    first = finetune(task.graph, task.train[:16], start, language_model=model, **options)
    tuned = finetune(task.graph, task.train, config, language_model=model, **options)
    answerer = QuestionAnswerer(tuned.answerer.answerer, tuned.answerer.make, AnswerSettings(weight=1), batch_size=32)
    losses = {"first": first.fit.metrics["train/task"], "last": tuned.fit.metrics["train/task"]}
    return {"right": _share(answerer, task.test), **losses}


@lru_cache(maxsize=2)
def _task(dataset: str, quick: bool) -> Task:
    return TASKS[dataset](QUICK if quick else FULL)


@lru_cache(maxsize=1)
def _frozen_model() -> LanguageModel:
    return load_language_model(MODEL)


@lru_cache(maxsize=1)
def _states() -> PrefixStates:
    return PrefixStates(_frozen_model(), limit=_KEPT)


def _encoder(graph: KnowledgeGraph, job: Job) -> KnowledgeEncoder | None:
    """The graph encoder of a row."""
    if job.method == PROMPT:
        return None
    features = kept_features(graph)
    if job.method == JEPA:
        length: dict[str, Any] = {"epochs": job.sizes.pretrain_epochs, "subgraphs": 320, "progress": False}
        config = PretrainConfig(encoder=ENCODER, seed=job.seed, **length)
        return pretrain(graph, config, features=features).encoder
    torch.manual_seed(job.seed)
    return KnowledgeEncoder.for_graph(graph, features, ENCODER)


def _majority(task: Task) -> float:
    """The candidate that was the answer of most training questions; one that never was: the first candidate."""
    counts = Counter(example.answers[0] for example in task.train)
    chosen = [max(example.candidates, key=lambda name: counts[name]) for example in task.test]
    return float(np.mean([name in example.answers for name, example in zip(chosen, task.test, strict=True)]))


def _share(answerer: QuestionAnswerer, examples: Sequence[Example]) -> float:
    answers = answerer.answer(examples)
    return float(np.mean([one.text in example.answers for one, example in zip(answers, examples, strict=True)]))


def _expla_graphs(sizes: Sizes) -> Task:
    pairs = load_expla_graphs(data_dir() / "kgqa" / "expla_graphs" / "train_dev.tsv")
    examples = [
        Example(f"{belief} / {argument}", subgraph, LABELS, answers=(label,))
        for belief, argument, subgraph, label in zip(
            pairs.beliefs, pairs.arguments, pairs.subgraphs, pairs.labels, strict=True
        )
    ]
    asked = "Two arguments are given. Does the second support or counter the first? Answer support or counter."
    return _split(pairs.graph, asked, examples, sizes)


def _path_question(sizes: Sizes) -> Task:
    folder = data_dir() / "kgqa" / "pathquestion"
    graph = load_triples(folder / "2H-kb.txt")
    questions = load_pathquestion(folder / "PQ-2H.txt", graph)
    # Names as a language model knows them.
    names = [name.replace("_", " ") for name in graph.column("name")]
    graph = replace(graph, entities=entity_table(graph.entities["id"], names=names))
    examples: list[Example] = []
    for text, topics, answers in zip(questions.texts, questions.topics, questions.answers, strict=True):
        subgraph = _forward(graph, topics[0])
        candidates = tuple(names[row] for row in subgraph.entities[1:])
        right = tuple(names[row] for row in answers if names[row] in candidates)
        if right:
            examples.append(Example(text.replace("_", " "), subgraph, candidates, answers=right))
    return _split(graph, "Answer the question from the facts. Reply with the name only.", examples, sizes)


def _forward(graph: KnowledgeGraph, topic: int) -> Subgraph:
    """The entities that at most two triples lead to from the topic, the topic first, with all triples between them."""
    reached = np.array([topic])
    for _ in range(2):
        entries = np.concatenate([np.arange(int(graph.ptr[row]), int(graph.ptr[row + 1])) for row in reached])
        forward = graph.neighbour[entries[graph.step[entries] < len(graph.relations)]]
        reached = np.concatenate([reached, np.setdiff1d(forward, reached)])
    return graph.induced(reached.astype(np.int64))


def _split(graph: KnowledgeGraph, instruction: str, examples: Sequence[Example], sizes: Sizes) -> Task:
    """A fixed random split; the same test questions for every seed, and the same share of each answer in both parts."""
    order = np.random.default_rng(0).permutation(len(examples))
    answers = np.array([examples[row].answers[0] for row in order])
    # Every so many rows of the order by answer.
    by_answer = order[np.argsort(answers, kind="stable")]
    chosen = by_answer[np.linspace(0, len(order) - 1, sizes.train + sizes.test).astype(int)]
    is_test = np.zeros(len(chosen), bool)
    is_test[np.linspace(0, len(chosen) - 1, sizes.test).astype(int)] = True
    parts = (chosen[~is_test].tolist(), chosen[is_test].tolist())
    return Task(graph, instruction, *(tuple(examples[row] for row in part) for part in parts))


TASKS = {"ExplaGraphs": _expla_graphs, "PathQuestion-2H": _path_question}

if __name__ == "__main__":
    main("kgqa_answerer", rows, depends_on="kgqa/**/*.py")
