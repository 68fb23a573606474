"""One process of the test of mistake 5: the objective on this process's subgraphs, its value and its gradients."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from jepakit.graph.data import Graphs
from jepakit.graph.masking import Masking
from jepakit.graph.objective import build_jepa
from jepakit.graph.views import BatchViews, ViewConfig
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.features import as_graphs
from jepakit.kgqa.objective import ObjectiveConfig
from jepakit.kgqa.sampling import Sampling
from kg_samples import TEXT, two_groups


def batch_of(count: int) -> Graphs:
    """Subgraphs of ten entities each."""
    graph, features = two_groups()
    sampling = Sampling(nodes=10, hops=2, fanout=3)
    return as_graphs(sampling(graph, np.arange(count), np.random.default_rng(0)), features, len(graph.relations))


def measure(rank: int, world: int) -> dict[str, Tensor]:
    """The total, every term and every gradient after the backward pass; in a world of one, on all subgraphs."""
    torch.manual_seed(0)
    encoder = KnowledgeEncoder(TEXT, ["r0", "r1"], hidden=8, heads=2)
    options = ObjectiveConfig(target="lejepa", predict=["node"], loss="mse", normalize_target=False, sigreg=0.5)
    jepa = build_jepa(encoder, options, total_steps=1)
    graphs = batch_of(6)
    masked = Masking(strategy="random", ratio=0.3)(graphs, torch.Generator().manual_seed(0))
    if world > 1:
        mine = torch.arange(6) % 2 == rank
        masked, graphs = masked[mine[graphs.graph_of_node]], graphs[mine]
    model = DistributedDataParallel(jepa, find_unused_parameters=True) if world > 1 else jepa
    output = model(BatchViews(Masking(), ViewConfig()).of(graphs, masked))
    output.total.backward()
    terms = {f"term/{name}": value for name, value in output.terms.items()}
    gradients = {f"grad/{name}": p.grad for name, p in jepa.named_parameters() if p.grad is not None}
    return {"total": output.total.detach(), **terms, **gradients}
