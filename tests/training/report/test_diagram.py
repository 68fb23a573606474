"""Drawings: what is in the graph is in the SVG, escaped, each node in its layer and none over another."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.training.report.diagram import Diagram, DiagramEdge, DiagramNode, curve_between, draw, layered_places
from jepakit.training.report.layout import GAP, HEIGHT, LABEL_HEIGHT, WIDTH, Link, Stop, layout
from jepakit.training.report.widths import fitting, text_width


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
    labels = drawing.tags.count("text") - nodes
    assert 0 <= labels <= edges
    parts = nodes + edges + labels
    assert counts == {"svg": 1, "g": parts, "title": parts, "rect": nodes, "path": 2 * edges}
    assert {name for attributes in drawing.attributes for name in attributes} <= {
        *(
            "class",
            "viewbox",
            "width",
            "height",
            "role",
            "aria-label",
            "x",
            "y",
            "rx",
            "d",
            "textlength",
            "lengthadjust",
        )
    }
    assert "nan" not in draw(Diagram(tuple(DiagramNode("x", n.layer) for n in diagram.nodes), diagram.edges, ""))


def test_hostile_names_are_text() -> None:
    names = ("<script>alert(1)</script>", '"><img onload=x>', "</title></svg>", "a & b", "two\nlines")
    nodes = tuple(DiagramNode(name, 0, title=name) for name in names)
    drawing = Drawing(draw(Diagram(nodes, (DiagramEdge(0, 1, "</path><b>"),), names[1])))
    assert drawing.texts["title"] == [
        f"{names[0]} — </path><b> → {names[1]}",
        *(f"{name}\n{name}" for name in names),
        f"{names[0]} — </path><b> → {names[1]}",
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


@st.composite
def call_graphs(draw_: st.DrawFn) -> Diagram:
    """As of an audit: what the user said, calls behind those that they have data from, names of any length."""
    count = draw_(st.integers(1, 25))
    name = st.text(st.characters(codec="latin-1", exclude_categories=["Cc", "Zs"]), max_size=60)
    pairs = st.tuples(st.integers(0, count - 1), st.integers(1, count)).filter(lambda pair: pair[0] < pair[1])
    edges = draw_(st.lists(st.tuples(pairs, name, st.sampled_from(["plain", "warned"])), max_size=40))
    layers = [0] + [1] * count
    for (source, target), *_ in sorted(edges, key=lambda edge: edge[0][1]):
        layers[target] = max(layers[target], layers[source] + 1)
    nodes = tuple(DiagramNode(draw_(name), layer) for layer in layers)
    return Diagram(nodes, tuple(DiagramEdge(*pair, text, kind) for pair, text, kind in edges), "")


@settings(max_examples=60)
@given(st.one_of(call_graphs(), diagrams()))
def test_no_edge_and_no_label_lies_on_a_node_or_on_another_label(diagram: Diagram) -> None:
    links = [Link(edge.source, edge.target, edge.kind, edge.name) for edge in diagram.edges]
    found = layout([node.layer for node in diagram.nodes], links)
    boxes = np.concatenate([found.corners, found.corners + np.array([WIDTH, HEIGHT])], 1)
    texts = [(edge.name, place) for edge, place in zip(diagram.edges, found.labels, strict=True) if place]
    labels = [box_of(fitting(name, size=11.5, width=GAP - 20), place) for name, place in texts]
    for number, label in enumerate(labels):
        assert not any(overlap(label, box) for box in boxes)
        assert not any(overlap(label, other) for other in labels[:number])
    for box in [*boxes, *labels]:
        assert min(box) >= 0
        assert (box[2:] <= found.size).all()
    for link, route in zip(links, found.routes, strict=True):
        points = np.concatenate([_points(one, other) for one, other in pairwise(route)])
        assert not any(((box[:2] + 0.1 < points) & (points < box[2:] - 0.1)).all(1).any() for box in boxes), (
            f"{link} passes behind a node"
        )
        assert (np.array([0, 0]) <= points).all()
        assert (points <= found.size).all()
    # What is cut can be read under the pointer.
    drawing = Drawing(draw(diagram))
    for text in [*(node.name for node in diagram.nodes), *(edge.name for edge in diagram.edges)]:
        assert any(text in title for title in drawing.texts["title"])


def box_of(text: str, middle: tuple[float, float]) -> np.ndarray:
    half = np.array([text_width(text, 11.5), LABEL_HEIGHT]) / 2
    return np.concatenate([middle - half, middle + half])


def overlap(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one[:2] + 1e-6 < other[2:]).all() and (other[:2] + 1e-6 < one[2:]).all())


def _points(one: Stop, other: Stop) -> np.ndarray:
    """Points of the curve between two stops, as it is drawn."""
    numbers = re.findall(r"-?[0-9.]+", f"{one.x:.1f} {one.y:.1f}{curve_between(one, other)}")
    corners = np.array(numbers, dtype=float).reshape(4, 2)
    t = np.linspace(0, 1, 25)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3], 1)
    return weights @ corners


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
