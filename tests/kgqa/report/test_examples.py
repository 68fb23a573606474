"""Answers in full: drawings of subgraphs, examples of an evaluation, and the page of an answer."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from film_samples import retriever_of
from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, Subgraph, entity_table
from jepakit.kgqa.report.examples import diagram_of, examples_of, write_answer
from kg_samples import graph_of, graphs

HOSTILE = ("<script>alert('x')</script>", "</svg></title>", 'a" onload="x', "{{ 7 * 7 }}", "&lt;", "plain")


@given(graphs(), st.integers(0, 11))
def test_layers_are_steps_from_the_topic(graph: KnowledgeGraph, topic: int) -> None:
    topic = topic % graph.num_entities
    part = graph.induced(np.arange(graph.num_entities))
    diagram = diagram_of(graph, part, np.array([topic]), np.array([], int))
    layer = [node.layer for node in diagram.nodes]
    assert layer[topic] == 0
    reached = {topic}
    for steps in range(graph.num_entities):
        assert {row for row in reached if layer[row] == steps} == {row for row in reached if layer[row] >= steps}
        reached |= {int(e) for h, _, t in part.triples.tolist() for e in (h, t) if {h, t} & reached}
    assert all(
        layer[row] > max(layer[one] for one in reached) for row in range(graph.num_entities) if row not in reached
    )
    assert [(edge.source, edge.target, edge.name) for edge in diagram.edges] == [
        (h, t, f"r{r}") for h, r, t in part.triples.tolist()
    ]


def test_topics_answers_and_gold_are_told_apart() -> None:
    graph = graph_of([(0, 0, 1), (1, 0, 2), (1, 0, 3)], 4)
    part = Subgraph(np.array([3, 0, 2, 1]), np.array([[1, 0, 3], [3, 0, 2], [3, 0, 0]]))
    kinds = {node.name: node.kind for node in diagram_of(graph, part, np.array([0]), np.array([2, 3]), gold=(3,)).nodes}
    assert kinds == {"e0": "start", "e1": "between", "e2": "answer", "e3": "gold"}


def hostile() -> KnowledgeGraph:
    table = entity_table([f"e{i}" for i in range(6)], names=HOSTILE, types=["<i>"] * 6, texts=["</p><script>"] * 6)
    relations = [Relation("<b>", ""), Relation("{% raw %}", "")]
    return KnowledgeGraph.from_rows("<h1>", table, relations, np.array([(0, 0, 1), (0, 1, 2), (1, 0, 3), (4, 1, 5)]))


class Page(HTMLParser):
    """The tags, the names of attributes and the text of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(file.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_of_an_answer_shows_paths_and_triples_and_escapes_every_text(tmp_path: Path) -> None:
    retriever = retriever_of(hostile())
    questions = Questions(("what is <script> of it?", "<i>none</i>"), ((0,), ()), ((1,), ()))
    pages: list[Page] = []
    for row, ranked in enumerate(retriever.rank(questions)):
        write_answer(tmp_path / f"{row}.html", retriever, questions.texts[row], ranked)
        page = Page(tmp_path / f"{row}.html")
        assert not {"img", "i"} & set(page.tags)
        assert page.tags.count("script") == 1, "the page's own"
        assert not {name for name in page.attributes if name.startswith("on")}
        assert questions.texts[row] in page.text
        pages.append(page)
    part = retriever.explain(retriever.rank(questions)[0])
    for name in retriever.graph.column("name", part.entities):
        # In the table of triples, and under the pointer.
        assert pages[0].text.count(name) >= 2
    assert [page.tags.count("svg") for page in pages] == [1, 0]
    assert pages[0].tags.count("path") == 2 * len(part.triples)


@pytest.mark.parametrize(("count", "wrong"), [(0, 0), (2, 1), (4, 2), (6, 3), (99, 6)])
def test_examples_are_half_of_failures(count: int, wrong: int) -> None:
    retriever = retriever_of()
    texts: Sequence[str] = [f"who made film {row}" for row in range(12)]
    questions = Questions(tuple(texts), tuple((row,) for row in range(12)), ((),) * 12)
    hits = np.array([0.0, 1.0] * 6)
    shown = examples_of(questions, retriever.rank(questions), hits, retriever, count)
    assert len(shown) == min(count, 12)
    assert sum(hits[texts.index(one.title)] == 0 for one in shown) == wrong
