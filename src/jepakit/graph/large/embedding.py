"""Embeddings of all nodes of a large graph, layer by layer: exact, with a few thousand nodes in memory at a time.

What a layer puts out lies in mapped files in a temporary folder, which the next layer reads rows of.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core.packed import RowLists
from jepakit.graph.data import Graphs
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.large.clusters import node_ranges
from jepakit.graph.large.parts import part_of, sources_of, with_degree
from jepakit.graph.networks.messages import Messages
from jepakit.progress import tracked

_EDGES_AT_ONCE = 1 << 16
"""Nodes and edges of a step; rows of as many nodes are in memory, or of one node's neighbours where they are more."""


@contextmanager
def embedded(encoder: GraphEncoder, graphs: Graphs, *, scratch: Path | None = None) -> Generator[Tensor]:
    """The embeddings of the nodes of a single graph, in eval mode, as `GraphEncoder.embed` has them.

    Args:
        encoder: of any layer but ``gps``, which attends to all nodes.
        graphs: a single graph; its tensors may be mapped files.
        scratch: the folder for temporary files, of two to three times the size of the embeddings; by default the one
            that the environment variable TMPDIR names.

    Yields:
        ``[N, width]`` float32 in a mapped file, which goes when the block ends.

    Raises:
        DataError: the features are not those of the encoder.
    """
    graphs = with_degree(encoder.prepared(graphs))
    encoder.check(graphs)
    was_training = encoder.training
    encoder.eval()
    try:
        with _temporary(scratch) as folder, torch.no_grad():
            rows = _Rows(folder, graphs)
            layers = [_features(encoder, graphs, rows)]
            for depth in range(encoder.config.layers):
                layers.append(_layer(encoder, depth, graphs, layers[-1], rows))
                if encoder.config.jumping == "last":
                    rows.forget(layers.pop(0))
            node = layers[0] if len(layers) == 1 else rows.side_by_side(layers)
            config = encoder.config
            yield _spread(graphs, node, rows, steps=config.spread, restart=config.restart)
    finally:
        encoder.train(was_training)


@contextmanager
def spread(
    graphs: Graphs, *, steps: int, restart: float, unit_rows: bool = False, scratch: Path | None = None
) -> Generator[Tensor]:
    """`Messages.spread` of the features of a single graph, ``[N, F]`` in a mapped file as in `embedded`.

    Args:
        graphs: see `embedded`, as for ``scratch``.
        steps: how often.
        restart: share of a node's own features in each step.
        unit_rows: scale the features of each node to length 1 first.
        scratch: a folder.
    """
    with _temporary(scratch) as folder:
        rows, x = _Rows(folder, graphs), graphs.x.float()
        if unit_rows:
            x = rows.new(x.shape[1])
            for first, last in rows.ranges:
                x[first:last] = F.normalize(graphs.x[first:last].float(), dim=1)
        yield _spread(graphs, x, rows, steps=steps, restart=restart)


@contextmanager
def _temporary(scratch: Path | None) -> Generator[Path]:
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="jepakit-") as folder:
        yield Path(folder)


class _Rows:
    """Rows of numbers for each node, in mapped files of a folder."""

    def __init__(self, folder: Path, graphs: Graphs) -> None:
        self.folder, self.nodes, self.ptr, self.count = folder, graphs.num_nodes, graphs.incoming_ptr, 0
        self.ranges = list(node_ranges(self.ptr, _EDGES_AT_ONCE))
        self.files: dict[int, Path] = {}

    def new(self, width: int) -> Tensor:
        """``[N, width]``, zeros."""
        file = self.folder / f"{self.count}.npy"
        self.count += 1
        array = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(self.nodes, width))
        rows = torch.from_numpy(array)
        self.files[rows.data_ptr()] = file
        return rows

    def forget(self, rows: Tensor) -> None:
        """Removes the file; its space is free when ``rows`` is."""
        self.files.pop(rows.data_ptr()).unlink()

    def side_by_side(self, parts: list[Tensor]) -> Tensor:
        """The columns of several, which are forgotten."""
        joined = self.new(sum(part.shape[1] for part in parts))
        for first, last in self.ranges:
            joined[first:last] = torch.cat([part[first:last] for part in parts], dim=1)
        for part in parts:
            self.forget(part)
        return joined


def _features(encoder: GraphEncoder, graphs: Graphs, rows: _Rows) -> Tensor:
    out, no_edges = rows.new(encoder.config.hidden), torch.zeros(0, dtype=torch.long)
    for first, last in tracked(rows.ranges, "embedding nodes: features", unit="parts"):
        part = part_of(graphs, torch.arange(first, last), no_edges)
        out[first:last] = encoder.read_features(part.to(encoder.mask_token.device)).cpu()
    return out


def _layer(encoder: GraphEncoder, depth: int, graphs: Graphs, x: Tensor, rows: _Rows) -> Tensor:
    out, device = rows.new(encoder.config.hidden), encoder.mask_token.device
    for first, last in tracked(rows.ranges, f"embedding nodes: layer {depth + 1}", unit="parts"):
        own = torch.arange(first, last)
        edges = torch.arange(int(rows.ptr[first]), int(rows.ptr[last]))
        nodes = torch.cat([own, sources_of(graphs, slice(int(rows.ptr[first]), int(rows.ptr[last])))]).unique()
        part = part_of(graphs, nodes, edges).to(device)
        edge_attr = None if encoder.edges is None else encoder.edges(part.edge_attr)
        following = encoder.propagate(depth, x[nodes].to(device), Messages(part), edge_attr).cpu()
        out[first:last] = following[torch.searchsorted(nodes, own)]
    return out


def _spread(graphs: Graphs, x: Tensor, rows: _Rows, *, steps: int, restart: float) -> Tensor:
    scale = (rows.ptr.diff() + 1).float().rsqrt()
    z = x
    for step in range(steps):
        following = rows.new(x.shape[1])
        for first, last in tracked(rows.ranges, f"spreading over the graph: step {step + 1} of {steps}", unit="parts"):
            ptr = rows.ptr[first : last + 1]
            source = sources_of(graphs, slice(int(ptr[0]), int(ptr[-1])))
            own = scale[first:last]
            weight = scale[source] * own.repeat_interleave(ptr.diff())
            smooth = RowLists(ptr - ptr[0], source, weight).sum(z) + z[first:last] * own[:, None].square()
            following[first:last] = (1 - restart) * smooth + restart * x[first:last]
        if step:
            rows.forget(z)
        z = following
    return z
