"""What a graph encoder adds to a small language model, and what JEPA pre-training adds to the encoder.

    python -m benchmarks.kgqa_answerer            # two hours on two cores
    python -m benchmarks.kgqa_answerer --quick    # minutes: fewer questions and epochs

SmolLM2-135M-Instruct, frozen, reads question and subgraph as text; soft tokens after the text come from a graph encoder
(GATv2), random at first or pre-trained by JEPA on the same graph without questions or labels, and trained on. Rows
beside them: no training; learned soft tokens that are the same for every question; the most frequent answer. All
trained rows see the same questions as often, with the same options. The answer is the candidate of the greatest mean
log-probability; no retriever has a say.

ExplaGraphs: does the argument support or counter the belief? PathQuestion-2H: the candidates are the entities that two
triples lead to from the topic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from jepakit.kgqa.answerer.answering import AnswerSettings, QuestionAnswerer
from jepakit.kgqa.answerer.data import BatchMaker, Example, SubgraphPacker
from jepakit.kgqa.answerer.finetune import FinetuneConfig, finetune
from jepakit.kgqa.answerer.fusion import FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.answerer.model import Answerer
from jepakit.kgqa.answerer.prefix import PrefixStates
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.data import KnowledgeGraph, Subgraph, entity_table
from jepakit.kgqa.datasets.expla_graphs import LABELS, load_expla_graphs
from jepakit.kgqa.datasets.questions import load_pathquestion
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures, load_features
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.text import TextConfig
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
_LIMIT = 6 << 30


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    train: int
    test: int
    epochs: int
    seeds: int
    pretrain_epochs: int


FULL, QUICK = Sizes(300, 300, 6, 3, 10), Sizes(24, 24, 2, 2, 1)


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
        """Short, and with the soft tokens after the text, which is then read once."""
        return PromptConfig(self.instruction, place="after", max_tokens=320)


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    sizes = QUICK if options.quick else FULL
    table: list[ResultRow] = []
    for dataset, load in TASKS.items():
        task = cache(partial(load, sizes))
        model = cache(partial(load_language_model, MODEL, device="cpu"))
        states = cache(lambda model=model: PrefixStates(model(), limit=_LIMIT))
        table += _rows(dataset, task, model, states, sizes, options, steps)
    return table


def _rows(
    dataset: str,
    task: Callable[[], Task],
    model: Callable[[], LanguageModel],
    states: Callable[[], PrefixStates],
    sizes: Sizes,
    options: Options,
    steps: Steps,
) -> list[ResultRow]:
    features = cache(lambda: load_features(task().graph, TextConfig()))
    trained = cache(lambda seed: _pretrained(task().graph, features(), sizes, seed))

    def encoder(method: str, seed: int) -> KnowledgeEncoder | None:
        if method == PROMPT:
            return None
        if method == JEPA:
            return trained(seed)
        torch.manual_seed(seed)
        return KnowledgeEncoder.for_graph(task().graph, features(), ENCODER)

    def measure(method: str, seed: int) -> dict[str, float]:
        network = encoder(method, seed)
        return _trained(task(), model(), states(), network, None if network is None else features(), sizes, seed)

    floors = {MAJORITY: lambda: _majority(task()), ZERO_SHOT: lambda: _zero_shot(task(), model(), states())}
    metric, found = "share of right answers", []
    for method, floor in floors.items():
        value = steps.value((dataset, method, options.quick), floor)
        found.append(mean_row(dataset, method, metric, [value], seeds=None))
    for method in (PROMPT, RANDOM, JEPA):
        values = [
            steps.value((dataset, method, seed, options.quick), lambda method=method, seed=seed: measure(method, seed))
            for seed in range(sizes.seeds)
        ]
        first, last = (float(np.mean([value[name] for value in values])) for name in ("first", "last"))
        note = f"loss {first:.2f} -> {last:.2f}; {sizes.train} questions, {sizes.epochs} epochs"
        found.append(
            mean_row(dataset, method, metric, [value["right"] for value in values], note=note, ours=method == JEPA)
        )
    return found


def _majority(task: Task) -> float:
    """The candidate that was the answer of most training questions; one that never was: the first candidate."""
    counts = Counter(example.answers[0] for example in task.train)
    chosen = [max(example.candidates, key=lambda name: counts[name]) for example in task.test]
    return float(np.mean([name in example.answers for name, example in zip(chosen, task.test, strict=True)]))


def _zero_shot(task: Task, model: LanguageModel, states: PrefixStates) -> float:
    make = BatchMaker(task.graph, model, task.prompt, soft_tokens=0, states=states)
    return _share(QuestionAnswerer(Answerer(model, None, None), make, AnswerSettings(weight=1)), task.test)


def _share(answerer: QuestionAnswerer, examples: Sequence[Example]) -> float:
    answers = answerer.answer(examples)
    return float(np.mean([one.text in example.answers for one, example in zip(answers, examples, strict=True)]))


def _trained(
    task: Task,
    model: LanguageModel,
    states: PrefixStates,
    encoder: KnowledgeEncoder | None,
    features: EntityFeatures | None,
    sizes: Sizes,
    seed: int,
) -> dict[str, float]:
    """Share of right answers, and the loss of the test questions' answers before and after training."""
    pack = None if encoder is None or features is None else SubgraphPacker(task.graph, features, encoder)
    config = FinetuneConfig(
        llm_model=MODEL,
        fusion=FusionConfig("prompt" if encoder is None else "cross_attention", tokens=4, hidden=128),
        prompt=task.prompt,
        epochs=sizes.epochs,
        batch_size=4,
        learning_rate=3e-3,
        learning_rates={} if encoder is None else {"encoder": 1e-3},
        warmup_epochs=0.5,
        progress=False,
        accelerator="cpu",
        seed=seed,
    )
    options: dict[str, Any] = {"encoder": encoder, "pack": pack, "language_model": model, "states": states}
    # One step at a rate of almost 0: the loss before training.
    first = finetune(
        task.graph, task.train[:8], replace(config, epochs=1, learning_rate=1e-12, learning_rates={}), **options
    )
    tuned = finetune(task.graph, task.train, config, **options)
    answerer = QuestionAnswerer(tuned.answerer.answerer, tuned.answerer.make, AnswerSettings(weight=1))
    losses = {"first": first.fit.metrics["train/task"], "last": tuned.fit.metrics["train/task"]}
    return {"right": _share(answerer, task.test), **losses}


def _pretrained(graph: KnowledgeGraph, features: EntityFeatures, sizes: Sizes, seed: int) -> KnowledgeEncoder:
    config = PretrainConfig(encoder=ENCODER, epochs=sizes.pretrain_epochs, seed=seed, progress=False, accelerator="cpu")
    return pretrain(graph, config, features=features).encoder


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
    main("kgqa_answerer", rows)
