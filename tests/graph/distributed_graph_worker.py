"""One process of the test of mistake 5: the graph objective on this process's graphs, its value and its gradients."""

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from graph_samples import FEATURES, star_of
from jepakit.graph import GraphEncoder, GraphViews, Masking, ObjectiveConfig, ViewConfig, build_jepa


def measure(rank: int, world: int) -> dict[str, Tensor]:
    """The total, every term and every gradient after the backward pass; in a world of one, on all graphs."""
    torch.manual_seed(0)
    encoder = GraphEncoder(FEATURES, conv="gin", hidden=8, layers=2, norm="batch", dropout=0.0, prototypes=0)
    options = ObjectiveConfig(
        **{"target": "lejepa", "predict": ["node", "graph"], "predictor": "mlp", "loss": "mse"},
        **{"normalize_target": False, "sigreg": 0.5, "vicreg": 0.3, "isotropy": 0.2, "decorrelation": 0.1},
    )
    jepa = build_jepa(encoder, options, total_steps=1)
    # Five graphs here and three there, and seven masked nodes here and two there.
    graphs = star_of(4, 1, 3, 1, 2, 5, 3, 4, features=(0.1, -0.2, 0.15))
    masked = torch.zeros(graphs.num_nodes, dtype=torch.bool)
    masked[[1, 2, 5, 6, 9, 10, 11, 17, 20]] = True
    if world > 1:
        mine = torch.arange(8) < 5 if rank == 0 else torch.arange(8) >= 5
        masked = masked[mine[graphs.graph_of_node]]
        graphs = graphs[mine]
    model = DistributedDataParallel(jepa, find_unused_parameters=True) if world > 1 else jepa
    views = GraphViews(graphs, Masking(), ViewConfig(context="token", target="whole")).of(graphs, masked)
    output = model(views)
    output.total.backward()
    terms = {f"term/{name}": value for name, value in output.terms.items()}
    gradients = {f"grad/{name}": p.grad for name, p in jepa.named_parameters() if p.grad is not None}
    statistics = {f"statistic/{name}": value.clone() for name, value in jepa.named_buffers() if "running" in name}
    return {"total": output.total.detach(), **terms, **gradients, **statistics}
