"""A small graph drawn as inline SVG: nodes in layers from left to right, edges as curves, titles under the pointer.

Lines, colours and fonts come from the style sheet of the page, so a drawing follows light and dark. It needs no script.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from jepakit.training.report.layout import GAP, HEIGHT, WIDTH, Link, Stop, layout
from jepakit.training.report.widths import fitting, is_known, text_width

NodeKind = Literal["start", "between", "answer", "gold", "asked", "denied"]
EdgeKind = Literal["plain", "warned"]

#: Sizes of the letters of nodes and of edges, as in the style sheet.
_NODE_SIZE, _EDGE_SIZE = 13.0, 11.5
#: What the texts may be wide.
_NODE_TEXT, _EDGE_TEXT = WIDTH - 14.0, GAP - 20.0
_ARROW = 7.0


@dataclass(frozen=True)
class DiagramNode:
    """A node.

    Args:
        name: of which the label shows the beginning.
        layer: 0 for those on the left.
        kind: ``start`` of the paths, ``between``, ``answer``, or ``gold``: an answer that is right; of a plan also
            ``asked`` and ``denied``.
        title: what is shown under the pointer, beside the name.
    """

    name: str
    layer: int
    kind: NodeKind = "between"
    title: str = ""


@dataclass(frozen=True)
class DiagramEdge:
    """An arrow.

    Args:
        source: place of a node.
        target: place of a node.
        name: of which the label shows the beginning.
        kind: ``warned``: the reader is to look at it.
    """

    source: int
    target: int
    name: str
    kind: EdgeKind = "plain"


@dataclass(frozen=True)
class Diagram:
    """Nodes and arrows, and the whole in words for readers who cannot see it."""

    nodes: tuple[DiagramNode, ...]
    edges: tuple[DiagramEdge, ...]
    description: str


def draw(diagram: Diagram) -> str:
    """The drawing as an ``<svg>`` element; all texts in it are escaped, and those that are cut have titles."""
    links = [Link(edge.source, edge.target, edge.kind, edge.name) for edge in diagram.edges]
    found = layout([node.layer for node in diagram.nodes], links)
    width, height = found.size
    parts = [
        f'<svg class="diagram" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{html.escape(diagram.description)}">'
    ]
    # Labels lie on all lines, and lines to look at on the others.
    order = sorted(range(len(links)), key=lambda number: diagram.edges[number].kind == "warned")
    titles = [_edge_title(diagram, edge) for edge in diagram.edges]
    parts += [_line(diagram.edges[number], titles[number], found.routes[number]) for number in order]
    parts += [_node(node, *corner) for node, corner in zip(diagram.nodes, found.corners.tolist(), strict=True)]
    for number, place in enumerate(found.labels):
        if place is not None:
            shown = fitting(links[number].label, size=_EDGE_SIZE, width=_EDGE_TEXT)
            text = _text(shown, *place, size=_EDGE_SIZE, width=_EDGE_TEXT)
            parts.append(f'<g class="edge"><title>{titles[number]}</title>{text}</g>')
    return "".join([*parts, "</svg>"])


def layered_places(diagram: Diagram) -> np.ndarray:
    """The left upper corner of each node, ``[n, 2]``; see `jepakit.training.report.layout`."""
    links = [Link(edge.source, edge.target, edge.kind, edge.name) for edge in diagram.edges]
    return layout([node.layer for node in diagram.nodes], links).corners


def _node(node: DiagramNode, x: float, y: float) -> str:
    title = f"{node.name}\n{node.title}" if node.title else node.name
    shown = fitting(node.name, size=_NODE_SIZE, width=_NODE_TEXT)
    text = _text(shown, x + WIDTH / 2, y + HEIGHT / 2, size=_NODE_SIZE, width=_NODE_TEXT)
    return (
        f'<g class="node {node.kind}"><title>{html.escape(title)}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>{text}</g>'
    )


def _edge_title(diagram: Diagram, edge: DiagramEdge) -> str:
    source, target = (diagram.nodes[number].name for number in (edge.source, edge.target))
    return html.escape(f"{source} — {edge.name} → {target}")


def _line(edge: DiagramEdge, title: str, route: Sequence[Stop]) -> str:
    first, last = route[0], route[-1]
    curve = "".join(curve_between(one, other) for one, other in pairwise(route))
    tip, direction = np.array([last.x, last.y]), np.array(last.along)
    return (
        f'<g class="edge {edge.kind}"><title>{title}</title>'
        f'<path class="line" d="M{first.x:.1f},{first.y:.1f}{curve}"/>'
        f'<path class="head" d="{_arrow(tip, direction)}"/></g>'
    )


def curve_between(one: Stop, other: Stop) -> str:
    """A cubic Bézier curve that stays between the two stops."""
    x, y = abs(other.x - one.x) / 2, abs(other.y - one.y) / 2
    first = one.x + one.along[0] * x, one.y + one.along[1] * y
    second = other.x - other.along[0] * x, other.y - other.along[1] * y
    return " C" + " ".join(f"{a:.1f},{b:.1f}" for a, b in (first, second, (other.x, other.y)))


def _arrow(tip: np.ndarray, direction: np.ndarray) -> str:
    along = direction * _ARROW
    across = np.array([-along[1], along[0]]) / 2
    corners = [tip, tip - along + across, tip - along - across]
    return "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in corners) + " Z"


def _text(text: str, x: float, y: float, *, size: float, width: float) -> str:
    """A text around a point; one in letters whose width is not known is made to fit."""
    held = ""
    if not is_known(text):
        held = f' textLength="{min(text_width(text, size), width):.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{held}>{html.escape(text)}</text>'
