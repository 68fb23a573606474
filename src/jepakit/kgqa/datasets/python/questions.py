"""Questions about the built-in graph whose answers are exact, because they are computed from the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepakit.errors import require_at_least
from jepakit.files import numbered_lines
from jepakit.kgqa.data import Ids, KnowledgeGraph, Questions
from jepakit.kgqa.paths.reach import PathTable, Walker

UNSEEN_WORDINGS = 2
"""How many wordings of each path, the last ones in the file, only the split ``wordings`` has."""

_WORDINGS = Path(__file__).with_name("wordings.txt")
_FRACTIONS = {"train": 0.6, "dev": 0.15, "test": 0.25}
#: Topics whose paths are looked at at once.
_TOPICS_AT_ONCE = 512


@dataclass(frozen=True)
class PythonQuestionsConfig:
    """Which questions are made.

    Args:
        per_path: topics of each relation path, at most.
        most_answers: of a question; topics with more answers are left out.
        seed: for the choice of topics and wordings.
    """

    per_path: int = 60
    most_answers: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, per_path=1, most_answers=1, seed=0)


@dataclass(frozen=True)
class Template:
    """A relation path and what it is asked with.

    Args:
        path: steps.
        types: of the topics that the wordings are for.
        wordings: questions with ``{}`` in place of the topic.
    """

    path: tuple[int, ...]
    types: tuple[str, ...]
    wordings: tuple[str, ...]


@dataclass(frozen=True)
class _Fact:
    """A topic, a template and the answers."""

    topic: int
    template: Template
    answers: tuple[int, ...]


def python_questions(graph: KnowledgeGraph, config: PythonQuestionsConfig | None = None) -> Mapping[str, Questions]:
    """Questions of one, two and three hops about the graph of `load_python_graph`.

    The answers are all entities that the path reaches from the topic without coming back to it, as
    `jepakit.kgqa.paths.reach.Walker` follows it. The topic is named by its qualified name.

    No topic and path of one split is in another, but for ``test`` and ``wordings``: these ask the same in different
    words, ``test`` in wordings that training has too, ``wordings`` in two for each path that it does not have.

    Args:
        graph: the built-in one.
        config: sizes and seed.

    Returns:
        ``train``, ``dev``, ``test`` and ``wordings``, each with gold paths.
    """
    config = config or PythonQuestionsConfig()
    generator = np.random.default_rng(config.seed)
    facts: dict[str, list[_Fact]] = {name: [] for name in _FRACTIONS}
    for of_path in _facts(graph, config, generator):
        ends = np.round(np.cumsum(list(_FRACTIONS.values())) * len(of_path)).astype(int)
        for name, part in zip(facts, np.split(np.arange(len(of_path)), ends[:-1]), strict=True):
            facts[name] += [of_path[row] for row in part]
    seen, unseen = slice(None, -UNSEEN_WORDINGS), slice(-UNSEEN_WORDINGS, None)
    splits = {name: _asked(graph, rows, seen, generator) for name, rows in facts.items()}
    return {**splits, "wordings": _asked(graph, facts["test"], unseen, generator)}


def templates(graph: KnowledgeGraph) -> Iterator[Template]:
    """The templates of the file of wordings, their paths as steps of the graph."""
    steps = {graph.step_name(step): step for step in range(graph.num_steps)}
    heading, wordings = "", list[str]()
    for _, line in [*numbered_lines(_WORDINGS), (0, "end")]:
        text = line.strip()
        if line.startswith("    "):
            wordings.append(text)
        elif text and not text.startswith("#"):
            if heading:
                path, _, types = heading.rstrip(")").partition(" (")
                yield Template(
                    tuple(steps[name] for name in path.split(" > ")), tuple(types.split(", ")), tuple(wordings)
                )
            heading, wordings = text, []


def _facts(
    graph: KnowledgeGraph, config: PythonQuestionsConfig, generator: np.random.Generator
) -> Iterator[list[_Fact]]:
    """For each template some topics with their answers, in random order."""
    types, walker = np.array(graph.column("type")), Walker(graph, beam=None)
    for template in templates(graph):
        topics = generator.permutation(np.flatnonzero(np.isin(types, template.types)))
        found: list[_Fact] = []
        for start in range(0, len(topics), _TOPICS_AT_ONCE):
            found += _answered(walker, template, topics[start : start + _TOPICS_AT_ONCE], config.most_answers)
            if len(found) >= config.per_path:
                break
        yield found[: config.per_path]


def _answered(walker: Walker, template: Template, topics: Ids, most: int) -> Iterator[_Fact]:
    table = PathTable(walker.graph.num_steps)
    level = walker.paths(topics, len(template.path), table)[-1]
    row = table.row(template.path)
    for place in np.flatnonzero((level.path == row) & (level.size <= most)) if row is not None else ():
        answers = level.sets.indices[level.sets.indptr[place] : level.sets.indptr[place + 1]]
        yield _Fact(int(topics[level.topic[place]]), template, tuple(answers.tolist()))


def _asked(graph: KnowledgeGraph, facts: Sequence[_Fact], wordings: slice, generator: np.random.Generator) -> Questions:
    """Each fact in one of the wordings, in random order."""
    chosen = [facts[row] for row in generator.permutation(len(facts))]
    names = graph.column("name", [fact.topic for fact in chosen])
    texts = [
        str(generator.choice(fact.template.wordings[wordings])).format(name)
        for fact, name in zip(chosen, names, strict=True)
    ]
    none = (0,) * len(chosen)
    return Questions(
        tuple(texts),
        tuple((fact.topic,) for fact in chosen),
        tuple(fact.answers for fact in chosen),
        tuple(fact.template.path for fact in chosen),
        none,
        none,
    )
