"""Answers in full: the paths with their probabilities, the subgraph as a drawing, its triples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from jepakit.kgqa.data import Ids, KnowledgeGraph, Questions, Subgraph
from jepakit.kgqa.retriever import PathRetriever, Ranked
from jepakit.training.report.diagram import Diagram, DiagramEdge, DiagramNode, NodeKind
from jepakit.training.report.page import write_page
from jepakit.training.results import ReportExample, ReportSection

#: Entities of a drawing; answers and paths that are named.
_DRAWN, _NAMED, _PATHS = 20, 3, 3
#: Less probable paths are not named: 0.00 says nothing.
_LEAST = 0.005
#: Characters of an entity's text under the pointer.
_TEXT = 200


def examples_of(
    questions: Questions, ranked: Sequence[Ranked], hits: NDArray[np.float64], retriever: PathRetriever, count: int
) -> tuple[ReportExample, ...]:
    """At most ``count`` questions in full: up to half of them not answered right, the others right, where there are."""
    wrong, right = (np.flatnonzero(hits == value) for value in (0, 1))
    most = max(count // 2, count - len(right))
    chosen = np.sort(np.concatenate([_spread(wrong, most), _spread(right, count - min(most, len(wrong)))]))
    return tuple(
        example_of(retriever, questions.texts[row], ranked[row], gold=questions.answers[row]) for row in chosen.tolist()
    )


def example_of(
    retriever: PathRetriever, question: str, ranked: Ranked, *, gold: Collection[int] | None = None
) -> ReportExample:
    """A question with paths, answers and the subgraph that leads to them; ``gold`` answers where they are known.

    Where answers are found by text, the subgraph is around them.
    """
    graph = retriever.graph
    withheld = ": not in this graph, the nearest is shown" if ranked.abstained else ""
    facts = [
        ("paths", "none: found by text" if ranked.found_by == "text" else path_texts(graph, ranked)),
        ("answers", _names(graph, ranked.entities.tolist())),
        ("confidence", f"{ranked.confidence:.2f}{withheld}"),
    ]
    if gold is not None:
        facts.append(("gold", _names(graph, list(gold))))
    if not ranked.explainable:
        return ReportExample(question, tuple(facts))
    part = retriever.explain(ranked, _DRAWN)
    topics = np.array([path.topic for path in ranked.paths[:1]], np.int64)
    return ReportExample(question, tuple(facts), diagram_of(graph, part, topics, ranked.entities, gold))


def path_texts(graph: KnowledgeGraph, ranked: Ranked) -> str:
    """The most probable paths of a question: ``0.93 director / ~director (4), ...``, with the number of entities."""
    texts = [
        f"{path.probability:.2f} {' / '.join(map(graph.step_name, path.steps))} ({path.size})"
        for path in ranked.paths[:_PATHS]
        if path.probability >= _LEAST
    ]
    return ", ".join(texts) or "no path"


def diagram_of(
    graph: KnowledgeGraph, part: Subgraph, topics: Ids, answers: Ids, gold: Collection[int] | None = None
) -> Diagram:
    """A subgraph as a drawing, in layers by the number of steps from the topics or, without any, from the answers."""
    layers = _layers(part, topics if len(topics) else answers)
    rows = part.entities.tolist()
    right = set() if gold is None else set(gold)

    def kind(row: int) -> NodeKind:
        if row in topics:
            return "start"
        return "gold" if row in right else "answer" if row in answers else "between"

    names, ids, types, texts = (graph.column(name, rows) for name in ("name", "id", "type", "text"))
    titles = ["\n".join(filter(None, (one, text[:_TEXT]))) for one, text in zip(types, texts, strict=True)]
    nodes = tuple(
        DiagramNode(names[place] or ids[place], layers[place], kind(row), titles[place])
        for place, row in enumerate(rows)
    )
    edges = tuple(
        DiagramEdge(head, tail, graph.relations[relation].name) for head, relation, tail in part.triples.tolist()
    )
    return Diagram(
        nodes,
        edges,
        f"{len(nodes)} entities and {len(edges)} triples {'that lead to' if len(topics) else 'around'} the answers",
    )


def write_answer(file: Path, retriever: PathRetriever, question: str, ranked: Ranked) -> None:
    """Writes a page with a question, its paths and answers, the subgraph as a drawing, and its triples.

    Raises:
        ModelError: the file cannot be written.
    """
    graph = retriever.graph
    sections = [
        ReportSection(
            "Paths",
            ("path", "from", "probability", "entities reached"),
            tuple(
                (
                    " / ".join(map(graph.step_name, path.steps)),
                    graph.column("name", [path.topic])[0],
                    path.probability,
                    float(path.size),
                )
                for path in ranked.paths
            ),
        ),
        ReportSection(
            "Answers",
            ("entity", "id", "score"),
            tuple(
                zip(
                    graph.column("name", ranked.entities),
                    graph.column("id", ranked.entities),
                    ranked.scores.tolist(),
                    strict=True,
                )
            ),
        ),
    ]
    if ranked.explainable:
        sections.append(triples_section(graph, retriever.explain(ranked)))
    shown = example_of(retriever, question, ranked)
    write_page(file, title=question, eyebrow=f"answered from {graph.name}", examples=[shown], sections=sections)


def triples_section(graph: KnowledgeGraph, part: Subgraph) -> ReportSection:
    """The triples of a subgraph as a table."""
    names = graph.column("name", part.entities)
    triples = part.triples.tolist()
    rows = tuple((names[head], graph.relations[relation].name, names[tail]) for head, relation, tail in triples)
    return ReportSection("Triples", ("head", "relation", "tail"), rows)


def _layers(part: Subgraph, topics: Ids) -> list[int]:
    """Steps of each entity from the topics; those that no topic reaches stand behind all others."""
    size = len(part.entities)
    if not size:
        return []
    head, _, tail = part.triples.T
    links = coo_array((np.ones(len(head)), (head, tail)), shape=(size, size)).tocsr()
    starts = np.flatnonzero(np.isin(part.entities, topics))
    if not len(starts):
        return [0] * size
    steps: Any = dijkstra(links, directed=False, unweighted=True, indices=starts, min_only=True)
    steps[np.isinf(steps)] = steps[np.isfinite(steps)].max() + 1
    return steps.astype(int).tolist()


def _spread(rows: Ids, count: int) -> Ids:
    """``count`` of some rows, evenly spread over them; all where there are fewer."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]


def _names(graph: KnowledgeGraph, entities: Sequence[int]) -> str:
    shown = ", ".join(graph.column("name", entities[:_NAMED]))
    return f"{shown} and {len(entities) - _NAMED} more" if len(entities) > _NAMED else shown or "none"
