"""The rows of the table that need no pre-training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from jepakit.graph.data import Graphs
from jepakit.graph.encoder import EncoderConfig, GraphEncoder
from jepakit.graph.probe.classes import first_split_seconds, probe_kernel
from jepakit.graph.probe.kernels import KernelKind, wl_kernel_series
from jepakit.graph.probe.propagation import principal_components, rare_words, smoothed_features, spread_features
from jepakit.graph.recommendation import Measured
from jepakit.graph.words import is_bag_of_words
from jepakit.progress import phase

Floor = Literal["no network", "random", "wl", "wl-oa"]
FEATURES = "features alone"
COUNTS = "counts of nodes, edges, degrees and labels"
RANDOM_GCN = "a GCN of one layer, random"
SMOOTHING = "features averaged twice over neighbours (SGC)"
SPREADING = "features spread over the graph (PageRank)"
WORDS = "rare words weighted (TF-IDF), spread over the graph"
LABELS = "labels spread over the graph"
# With few labels fewer dimensions are better than all of them.
COMPONENTS = 32
KERNELS: dict[str, tuple[str, KernelKind]] = {
    "wl": ("WL subtree kernel", "subtree"),
    "wl-oa": ("WL optimal assignment kernel", "optimal assignment"),
}
WL_ITERATIONS = 5
# Matrices after 0 to 5 rounds and their sum, in float64: about 4 GB.
MAX_KERNEL_GRAPHS = 8_000


def random_encoders(first: GraphEncoder, graphs: Graphs, count: int) -> list[GraphEncoder]:
    """``first`` and encoders of the same architecture with other random weights, calibrated on ``graphs``."""
    return [first, *(untrained(first, graphs, seed=seed) for seed in range(1, count))]


def untrained(like: GraphEncoder, graphs: Graphs, *, seed: int) -> GraphEncoder:
    """An encoder of the architecture of another, with random weights, calibrated on ``graphs``; in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = GraphEncoder(**like.arguments)  # pyright: ignore[reportArgumentType]
        if encoder.word_weight is not None and like.word_weight is not None:
            encoder.word_weight.copy_(like.word_weight)
        prepared = encoder.prepare(graphs)
        # With dropout this draws, too.
        encoder.calibrate(prepared)
        encoder.eval().fit_readout(prepared, seed=seed)
    return encoder


def random_gcn(graphs: Graphs, *, seed: int = 0, layers: int = 1) -> Tensor:
    """Nodes embedded by a GCN that is not trained, ``[N, 512]``."""
    config = EncoderConfig(conv="gcn", hidden=512, layers=layers, scale_rows=True, norm="none", jumping="last")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GraphEncoder.for_data(graphs, config).embed(graphs, key="node")


def node_features(graphs: Graphs, floors: Sequence[Floor]) -> dict[str, Callable[[], Tensor]]:
    """The baselines that are features of the nodes, ``[N, D]``, beside the encoder before training."""
    found: dict[str, Callable[[], Tensor]] = {}
    if "random" in floors:
        found[RANDOM_GCN] = lambda: random_gcn(graphs)
    if "no network" in floors:
        found[FEATURES] = lambda: graphs.x
        found[SMOOTHING] = lambda: smoothed_features(graphs)
        found[SPREADING] = lambda: spread_features(graphs)
        spread = SPREADING
        if is_bag_of_words(graphs.x):
            found[WORDS] = lambda: spread_features(rare_words(graphs))
            spread = WORDS
        if min(graphs.x.shape) > COMPONENTS:
            whole = found[spread]
            found[f"{spread}, {COMPONENTS} principal components"] = lambda: principal_components(whole(), COMPONENTS)
    return found


def kernel_floor(
    graphs: Graphs, floor: str, *, folds: int, seeds: Sequence[int], jobs: int, limit: float
) -> Measured | str:
    """The score of a kernel; the number of rounds is selected on the inner folds. In words why there is none.

    Args:
        graphs: with classes.
        floor: of `KERNELS`.
        folds: of the cross-validation.
        seeds: of the shuffles of the folds.
        jobs: processes.
        limit: seconds that it may take, judged by those of the matrices and of one split.
    """
    assert graphs.y is not None
    method, kind = KERNELS[floor]
    if len(graphs) > MAX_KERNEL_GRAPHS:
        return f"The {method} was left out: there are more than {MAX_KERNEL_GRAPHS:,} graphs."
    start = time.perf_counter()
    with phase(f"matrices of the {method}"):
        series = floor_kernels(graphs, kind)
        split = first_split_seconds(series, graphs.y, folds=folds)
    expected = time.perf_counter() - start + split * folds * len(seeds) / jobs
    if expected > limit:
        return f"The {method} was left out: it would have taken {expected:.0f} s, and {limit:.0f} s are allowed."
    result = probe_kernel(series, graphs.y, folds=folds, seeds=seeds, jobs=jobs)
    return Measured(result, time.perf_counter() - start - split)


def floor_kernels(graphs: Graphs, kind: KernelKind) -> list[np.ndarray]:
    """The normalised Weisfeiler-Lehman kernels ``[G, G]`` of a baseline, after 0, 1, ... rounds of refinement."""
    # The kernels need discrete labels: the columns of x that hold whole numbers.
    whole = (graphs.x == graphs.x.round()).all(0)
    labels = torch.zeros(graphs.num_nodes, dtype=torch.long)
    if whole.any():
        labels = torch.unique(graphs.x[:, whole], dim=0, return_inverse=True)[1]
    use_edges = graphs.edge_attr is not None
    return wl_kernel_series(
        graphs, WL_ITERATIONS, kind=kind, normalize=True, use_edges=use_edges, initial=labels.numpy()
    )
