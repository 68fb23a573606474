"""Where the parts of a small graph stand: nodes in columns, edges that pass behind no node, labels between columns.

Each layer is a column. An edge over several columns has a lane in those between, as a node without a box would (the
layered drawings of Sugiyama et al. 1981); edges of one kind from one node share their lanes.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

WIDTH, HEIGHT = 190, 30
"""Of a node, in pixels."""
GAP, MARGIN = 150, 14
"""Between two columns, and around the drawing."""
LABEL_HEIGHT = 16
"""Of a line of text between two columns."""

_LANE = 6.0
#: Between two nodes or a node and a lane; between two lanes.
_APART, _LANES_APART = 14.0, 4.0
#: Times that each column is put in the order of its neighbours, to have fewer crossings.
_SWEEPS = 4
#: How far from the middle of a node an edge may begin or end.
_MOST_SHIFTED = 11.0


@dataclass(frozen=True)
class Link:
    """An edge to lay out.

    Args:
        source: place of a node.
        target: place of a node.
        kind: edges of one kind share lanes.
        label: the name between the columns; of equal ones from one column into one gap a single one is placed.
    """

    source: int
    target: int
    kind: Hashable
    label: str


@dataclass(frozen=True)
class Stop:
    """A point that an edge passes, and the unit vector along which it does."""

    x: float
    y: float
    along: tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """The places of a drawing's parts, in pixels.

    Args:
        corners: left upper corner of each node, ``[n, 2]``.
        routes: of each link the points from its source to its target.
        labels: of each link the middle of its label; None: it has none.
        size: width and height.
    """

    corners: np.ndarray
    routes: tuple[tuple[Stop, ...], ...]
    labels: tuple[tuple[float, float] | None, ...]
    size: tuple[float, float]


def layout(layers: Sequence[int], links: Sequence[Link]) -> Layout:
    """Lays out nodes, given by their layers, and the links between them."""
    grid = _Grid(layers, links)
    labels = _labels(grid, links)
    routes = [_route(grid, number, link, labels[number]) for number, link in enumerate(links)]
    corners = np.array([(grid.left(column), y - HEIGHT / 2) for column, y in zip(grid.column, grid.y, strict=True)])
    corners = corners[: len(layers)].reshape(-1, 2)
    placed = [label for label in labels if label is not None]
    y = [*grid.y, *(label[1] for label in placed)]
    # A node is the highest of what has a middle.
    down = MARGIN + HEIGHT / 2 - min(y, default=0.0)
    stops = [stop.x for route in routes for stop in route]
    right = max([*(corners[:, 0] + WIDTH), *(label[0] + GAP / 2 for label in placed), *stops], default=0.0)
    return Layout(
        corners + np.array([0, down]),
        tuple(tuple(Stop(stop.x, stop.y + down, stop.along) for stop in route) for route in routes),
        tuple(label and (label[0], label[1] + down) for label in labels),
        (right + MARGIN, max(y, default=0.0) + down + HEIGHT / 2 + MARGIN),
    )


@dataclass
class _Grid:
    """Nodes and lanes in their columns: the column and the height of the middle of each, nodes first."""

    layers: Sequence[int]
    links: Sequence[Link]
    column: list[int] = field(init=False)
    y: np.ndarray = field(init=False)
    chains: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        known = sorted({*self.layers})
        self.column = [known.index(layer) for layer in self.layers]
        lanes: dict[tuple[int, Hashable, int], int] = {}
        self.chains = [self._chain(link, lanes) for link in self.links]
        self.y = self._ordered()

    def left(self, column: int) -> float:
        """The left edge of a column."""
        return MARGIN + column * (WIDTH + GAP)

    def _chain(self, link: Link, lanes: dict[tuple[int, Hashable, int], int]) -> list[int]:
        """The items that a link passes: its source, lanes, its target."""
        first, last = self.column[link.source], self.column[link.target]
        between = range(first + 1, last) if first < last else range(first - 1, last, -1)
        chain = [link.source]
        for column in between:
            key = link.source, link.kind, column
            if key not in lanes:
                lanes[key] = len(self.column)
                self.column.append(column)
            chain.append(lanes[key])
        return [*chain, link.target]

    def _ordered(self) -> np.ndarray:
        """Heights: each column in the order of the mean heights of its items' neighbours in other columns."""
        near: list[set[int]] = [set() for _ in self.column]
        for chain in self.chains:
            for one, other in pairwise(chain):
                if self.column[one] != self.column[other]:
                    near[one].add(other)
                    near[other].add(one)
        columns: list[list[int]] = [[] for _ in {*self.column}]
        for item, column in enumerate(self.column):
            columns[column].append(item)
        y = np.zeros(len(self.column))
        for items in columns:
            y[items] = self._stacked(items)
        for sweep in range(_SWEEPS):
            for items in columns if sweep % 2 == 0 else columns[::-1]:
                wanted = [np.mean(y[list(near[item])]) if near[item] else y[item] for item in items]
                ordered = [items[place] for place in np.argsort(wanted, kind="stable")]
                y[ordered] = self._stacked(ordered)
        return y

    def _stacked(self, items: Sequence[int]) -> np.ndarray:
        """The middles of items that stand one under another, around 0."""
        is_node = [item < len(self.layers) for item in items]
        heights = np.array([HEIGHT if node else _LANE for node in is_node])
        apart = [_APART if one or other else _LANES_APART for one, other in pairwise(is_node)]
        tops = np.concatenate([[0.0], np.cumsum(heights[:-1] + apart)])
        return tops + heights / 2 - (tops[-1] + heights[-1]) / 2


def _labels(grid: _Grid, links: Sequence[Link]) -> list[tuple[float, float] | None]:
    """The middle of each label, in the gap before its target; those of one gap stand one under another."""
    wanted = [(grid.y[chain[-2]] + grid.y[chain[-1]]) / 2 for chain in grid.chains]
    gaps = [_gap(grid, link) for link in links]
    groups: dict[tuple[str, int, int], list[int]] = {}
    for number, link in enumerate(links):
        groups.setdefault((link.label, grid.column[link.source], gaps[number]), []).append(number)
    middle = [sorted(some, key=lambda number: wanted[number])[len(some) // 2] for some in groups.values()]
    labels: list[tuple[float, float] | None] = [None] * len(links)
    for gap in {*gaps}:
        here = sorted((number for number in middle if gaps[number] == gap), key=lambda number: wanted[number])
        x = grid.left(gap + 1) - GAP / 2
        for number, y in zip(here, _apart([wanted[number] for number in here], LABEL_HEIGHT), strict=True):
            labels[number] = x, y
    return labels


def _gap(grid: _Grid, link: Link) -> int:
    """The gap that a link comes to its target from, by the column on its left."""
    first, last = grid.column[link.source], grid.column[link.target]
    return last - 1 if first < last else last


def _apart(wanted: Sequence[float], least: float) -> list[float]:
    """Increasing numbers that are ``least`` apart, as near to the wanted ones, which are sorted, as can be.

    The differences to an even row are an isotonic regression, by pooling of adjacent violators.
    """
    pools: list[tuple[float, int]] = []
    for place, value in enumerate(wanted):
        mean, count = value - place * least, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        pools.append((mean, count))
    means = [mean for mean, count in pools for _ in range(count)]
    return [mean + place * least for place, mean in enumerate(means)]


def _route(grid: _Grid, number: int, link: Link, label: tuple[float, float] | None) -> tuple[Stop, ...]:
    chain = grid.chains[number]
    shift = float(np.clip(9 * _offset(grid.links, number), -_MOST_SHIFTED, _MOST_SHIFTED))
    first, last = grid.column[link.source], grid.column[link.target]
    begin, end = float(grid.y[link.source]), float(grid.y[link.target])
    if first == last:
        # Within a column, or a loop: a bow on its right.
        side = grid.left(first) + WIDTH
        apart = 8.0 if link.source == link.target else 0.0
        begin, end = begin + shift - apart, end + shift + apart
        x, y = label or (side + GAP / 2, (begin + end) / 2)
        down = 1.0 if end > begin else -1.0
        return Stop(side, begin, (1, 0)), Stop(x, y, (0, down)), Stop(side, end, (-1, 0))
    along = 1.0 if first < last else -1.0
    before, after = (0, WIDTH) if along > 0 else (WIDTH, 0)
    stops = [Stop(grid.left(first) + after, begin + shift, (along, 0))]
    for lane in chain[1:-1]:
        x, y = grid.left(grid.column[lane]), float(grid.y[lane])
        stops += [Stop(x + before, y, (along, 0)), Stop(x + after, y, (along, 0))]
    if label is not None:
        stops.append(Stop(*label, (along, 0)))
    return (*stops, Stop(grid.left(last) + before, end + shift, (along, 0)))


def _offset(links: Sequence[Link], number: int) -> int:
    """How far a link is moved, so that several between the same nodes are apart: 0, 1, -1, 2, ..."""
    ends = {links[number].source, links[number].target}
    before = sum({link.source, link.target} == ends for link in links[:number])
    return (before + 1) // 2 * (1 if before % 2 else -1)
