"""A small graph drawn as inline SVG: nodes in layers from left to right, edges as curves, titles under the pointer.

Lines, colours and fonts come from the style sheet of the page, so a drawing follows light and dark. It needs no script.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

NodeKind = Literal["start", "between", "answer", "gold", "asked", "denied"]
EdgeKind = Literal["plain", "warned"]

_WIDTH, _HEIGHT = 168, 30
_ROW, _GAP = 44, 132
_MARGIN = 14
#: Characters of a label that fit into a node, and between two layers.
_NODE_CHARACTERS, _EDGE_CHARACTERS = 22, 18
#: Times that each layer is put in the order of its neighbours, to have fewer crossings.
_SWEEPS = 4
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
    """The drawing as an ``<svg>`` element; all texts in it are escaped."""
    places = layered_places(diagram)
    # Edges within the last column are bows on its right.
    bows = any(places[edge.source, 0] == places[edge.target, 0] == places[:, 0].max() for edge in diagram.edges)
    width, height = places.max(0, initial=0) + np.array([_WIDTH + _GAP * bows, _HEIGHT]) + _MARGIN
    parts = [
        f'<svg class="diagram" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{html.escape(diagram.description)}">'
    ]
    labelled = _labelled(diagram, places)
    for number, edge in enumerate(diagram.edges):
        parts.append(_edge(diagram, edge, places, offset=_offset(diagram.edges, number), label=number in labelled))
    parts += [_node(node, *place) for node, place in zip(diagram.nodes, places.tolist(), strict=True)]
    return "".join([*parts, "</svg>"])


def layered_places(diagram: Diagram) -> np.ndarray:
    """The left upper corner of each node, ``[n, 2]``.

    Each layer is a column. Its nodes stand in the order of the mean places of their neighbours in the layer before and
    after (the barycentre heuristic of Sugiyama et al. 1981), and in the middle of the drawing.
    """
    layers: dict[int, list[int]] = {}
    for number, node in enumerate(diagram.nodes):
        layers.setdefault(node.layer, []).append(number)
    columns = [layers[layer] for layer in sorted(layers)]
    near: list[set[int]] = [set() for _ in diagram.nodes]
    for edge in diagram.edges:
        near[edge.source].add(edge.target)
        near[edge.target].add(edge.source)
    row = np.zeros(len(diagram.nodes))
    for column in columns:
        row[column] = _centred(len(column))
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            inside = set(column)
            others = [[row[one] for one in near[number] - inside] for number in column]
            wanted = [np.mean(some) if some else row[number] for number, some in zip(column, others, strict=True)]
            row[[column[place] for place in np.argsort(wanted, kind="stable")]] = _centred(len(column))
    if not len(row):
        return np.zeros((0, 2))
    x = np.array([sorted(layers).index(node.layer) for node in diagram.nodes]) * (_WIDTH + _GAP)
    return np.stack([x, (row - row.min()) * _ROW], 1) + _MARGIN


def _centred(count: int) -> np.ndarray:
    return np.arange(count) - (count - 1) / 2


def _offset(edges: Sequence[DiagramEdge], number: int) -> float:
    """How far an edge is moved, so that several between the same nodes are apart: 0, 1, -1, 2, ..."""
    ends = {edges[number].source, edges[number].target}
    before = sum({edge.source, edge.target} == ends for edge in edges[:number])
    return (before + 1) // 2 * (1 if before % 2 else -1)


def _labelled(diagram: Diagram, places: np.ndarray) -> set[int]:
    """One edge of each name between the same two columns: the one in the middle. The others have their titles."""
    groups: dict[tuple[str, float, float], list[int]] = {}
    for number, edge in enumerate(diagram.edges):
        left, right = sorted((float(places[edge.source, 0]), float(places[edge.target, 0])))
        groups.setdefault((edge.name, left, right), []).append(number)
    middles = {number: places[[edge.source, edge.target], 1].mean() for number, edge in enumerate(diagram.edges)}
    return {sorted(members, key=lambda number: middles[number])[len(members) // 2] for members in groups.values()}


def _node(node: DiagramNode, x: float, y: float) -> str:
    title = f"{node.name}\n{node.title}" if node.title else node.name
    return (
        f'<g class="node {node.kind}"><title>{html.escape(title)}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{x + _WIDTH / 2:.1f}" y="{y + _HEIGHT / 2:.1f}">{_shown(node.name, _NODE_CHARACTERS)}</text></g>'
    )


def _edge(diagram: Diagram, edge: DiagramEdge, places: np.ndarray, *, offset: float, label: bool) -> str:
    source, target = places[edge.source], places[edge.target]
    start, end, bend_start, bend_end = _curve(source, target, offset)
    # Labels of edges between the same nodes are apart along the edges, too.
    share = np.clip(0.5 + 0.15 * offset * (1 if edge.source <= edge.target else -1), 0.2, 0.8)
    weights = [(1 - share) ** 3, 3 * (1 - share) ** 2 * share, 3 * (1 - share) * share**2, share**3]
    middle = np.array(weights) @ np.stack([start, bend_start, bend_end, end])
    names = [diagram.nodes[number].name for number in (edge.source, edge.target)]
    title = html.escape(f"{names[0]} — {edge.name} → {names[1]}")
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (bend_start, bend_end, end))
    text = (
        f'<text x="{middle[0]:.1f}" y="{middle[1]:.1f}">{_shown(edge.name, _EDGE_CHARACTERS)}</text>' if label else ""
    )
    return (
        f'<g class="edge {edge.kind}"><title>{title}</title>'
        f'<path class="line" d="M{start[0]:.1f},{start[1]:.1f} C{points}"/>'
        f'<path class="head" d="{_arrow(end, end - bend_end)}"/>{text}</g>'
    )


def _curve(source: np.ndarray, target: np.ndarray, offset: float) -> tuple[np.ndarray, ...]:
    """Start, end and the two points that bend a cubic Bézier curve between two nodes."""
    shift = np.array([0, 9.0 * offset])
    height = np.array([0, _HEIGHT / 2])
    if source[0] == target[0]:
        # Within a column, or a loop: a bow on its right.
        side, bow = np.array([_WIDTH, 0]), np.array([46.0 + 9 * abs(offset), 0])
        apart = np.array([0, 8.0]) if np.array_equal(source, target) else np.zeros(2)
        start, end = source + height + side - apart, target + height + side + apart
        return start, end, start + bow - apart, end + bow + apart
    along = 1.0 if target[0] > source[0] else -1.0
    start = source + height + shift + [_WIDTH if along > 0 else 0, 0]
    end = target + height + shift + [0 if along > 0 else _WIDTH, 0]
    reach = np.array([along * max(48.0, abs(end[0] - start[0]) / 2), 0])
    return start, end, start + reach, end - reach


def _arrow(tip: np.ndarray, direction: np.ndarray) -> str:
    along = direction / (np.linalg.norm(direction) or 1) * _ARROW
    across = np.array([-along[1], along[0]]) / 2
    corners = [tip, tip - along + across, tip - along - across]
    return "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in corners) + " Z"


def _shown(name: str, characters: int) -> str:
    """The beginning of a name, escaped, in one line."""
    line = " ".join(name.split())
    return html.escape(line if len(line) <= characters else line[: characters - 1] + "…")
