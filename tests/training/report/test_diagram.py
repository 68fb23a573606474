"""Drawings: what is in the graph is in the SVG, escaped, each node in its layer and none over another."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.training.report.diagram import Diagram, DiagramEdge, DiagramNode, draw, layered_places


class Drawing(HTMLParser):
    """The elements, attributes and texts of an SVG; checks that tags are balanced."""

    def __init__(self, svg: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {"title": [], "text": []}
        self.feed(svg)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.open.append(tag)
        if tag in self.texts:
            self.texts[tag].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self.open[-1]][-1] += data


@st.composite
def diagrams(draw_: st.DrawFn) -> Diagram:
    layers = draw_(st.lists(st.integers(0, 3), min_size=1, max_size=10))
    nodes = tuple(DiagramNode(draw_(st.text(max_size=40)), layer) for layer in layers)
    place = st.integers(0, len(nodes) - 1)
    edges = draw_(st.lists(st.builds(DiagramEdge, place, place, st.text(max_size=30)), max_size=15))
    return Diagram(nodes, tuple(edges), draw_(st.text(max_size=20)))


@settings(max_examples=30)
@given(diagrams())
def test_whatever_the_names_are_the_drawing_has_its_elements_and_no_other(diagram: Diagram) -> None:
    drawing = Drawing(draw(diagram))
    nodes, edges = len(diagram.nodes), len(diagram.edges)
    assert set(drawing.tags) <= {"svg", "g", "title", "rect", "text", "path"}
    counts = {tag: drawing.tags.count(tag) for tag in ("svg", "g", "title", "rect", "path")}
    assert counts == {"svg": 1, "g": nodes + edges, "title": nodes + edges, "rect": nodes, "path": 2 * edges}
    assert {name for attributes in drawing.attributes for name in attributes} <= {
        *("class", "viewbox", "width", "height", "role", "aria-label", "x", "y", "rx", "d")
    }
    assert "nan" not in draw(Diagram(tuple(DiagramNode("x", n.layer) for n in diagram.nodes), diagram.edges, ""))


def test_hostile_names_are_text() -> None:
    names = ("<script>alert(1)</script>", '"><img onload=x>', "</title></svg>", "a & b", "two\nlines")
    nodes = tuple(DiagramNode(name, 0, title=name) for name in names)
    drawing = Drawing(draw(Diagram(nodes, (DiagramEdge(0, 1, "</path><b>"),), names[1])))
    assert drawing.texts["title"] == [
        f"{names[0]} — </path><b> → {names[1]}",
        *(f"{name}\n{name}" for name in names),
    ]
    assert drawing.attributes[0]["aria-label"] == names[1]


@given(diagrams())
def test_no_node_lies_on_another_and_layers_are_columns(diagram: Diagram) -> None:
    places = layered_places(diagram)
    assert (places >= 0).all()
    for number, node in enumerate(diagram.nodes):
        for other in range(number):
            same = diagram.nodes[other].layer == node.layer
            assert (places[number, 0] == places[other, 0]) == same
            assert (places[number, 0] < places[other, 0]) == (node.layer < diagram.nodes[other].layer)
            assert not same or abs(places[number, 1] - places[other, 1]) > 30


def test_layers_are_ordered_so_that_edges_do_not_cross() -> None:
    """Three parallel chains whose nodes are given crosswise."""
    nodes = tuple(DiagramNode(f"{layer}-{row}", layer) for layer in range(3) for row in range(3))
    order = {0: (0, 1, 2), 1: (2, 0, 1), 2: (1, 2, 0)}
    chains = [tuple(3 * layer + order[layer].index(chain) for layer in range(3)) for chain in range(3)]
    edges = tuple(DiagramEdge(*ends, "r") for chain in chains for ends in pairwise(chain))
    places = layered_places(Diagram(nodes, edges, ""))
    heights = np.array([[places[number, 1] for number in chain] for chain in chains])
    assert (heights == heights[:, :1]).all()


def test_several_edges_between_two_nodes_are_apart_and_one_name_is_written_once() -> None:
    nodes = (DiagramNode("a", 0), DiagramNode("b", 1), DiagramNode("c", 1))
    edges = (DiagramEdge(0, 1, "r"), DiagramEdge(1, 0, "s"), DiagramEdge(0, 1, "t"), DiagramEdge(0, 2, "r"))
    drawing = Drawing(draw(Diagram(nodes, edges, "")))
    lines = [one["d"] for one in drawing.attributes if one.get("class") == "line"]
    assert len(set(lines)) == 4
    assert sorted(drawing.texts["text"]) == ["a", "b", "c", "r", "s", "t"]
