"""Fine-tunes an encoder on labels, with a linear head."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.encoder import GraphEncoder
from jepakit.training import EpochLoader, FitConfig, fit


@dataclass
class FinetuneConfig(FitConfig):
    """Options of fine-tuning: a fixed schedule, so that no held-out labels are needed to select one.

    Args:
        learning_rates: by module; the default trains the encoder more slowly than the head.
    """

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-3
    learning_rates: dict[str, float] = field(default_factory=lambda: {"encoder": 3e-4})
    weight_decay: float = 0.01
    progress: bool = False


class Predictor(nn.Module):
    """A copy of an encoder and a linear head on its pooled graph embedding, with ``outputs`` columns.

    ``target_mean`` and ``target_std`` (``[T]``) are those of the training labels, for regression.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(self, encoder: GraphEncoder, outputs: int, task: str, target_mean: Tensor, target_std: Tensor) -> None:
        super().__init__()
        self.encoder, self.task = copy.deepcopy(encoder).train(), task
        # Normalised, because sums over nodes grow with the graph.
        self.head = nn.Sequential(nn.BatchNorm1d(encoder.config.width), nn.Linear(encoder.config.width, outputs))
        self.register_buffer("target_mean", target_mean)
        self.register_buffer("target_std", target_std)

    def forward(self, graphs: Graphs) -> Tensor:
        """The training loss of a batch; ignores unlabelled entries (NaN)."""
        assert graphs.y is not None
        scores = self.scores(graphs)
        if self.task == "graph classification":
            return F.cross_entropy(scores, graphs.y)
        labelled = ~torch.isnan(graphs.y)
        if not labelled.any():
            return scores.sum() * 0
        if self.task == "graph multilabel":
            return F.binary_cross_entropy_with_logits(scores[labelled], graphs.y[labelled])
        return F.mse_loss(scores[labelled], ((graphs.y - self.target_mean) / self.target_std)[labelled])

    def scores(self, graphs: Graphs) -> Tensor:
        """Logits ``[G, C]`` or ``[G, T]``; for regression, standardised values."""
        return self.head(self.encoder(graphs)["graph"])

    @torch.no_grad()
    def predict(self, graphs: Graphs, *, batch_graphs: int = 256) -> Tensor:
        """Classes ``[G]``, or probabilities or values ``[G, T]``, in eval mode."""
        self.eval()
        graphs = self.encoder.prepare(graphs) if graphs.position is None else self.encoder.read_by_name(graphs)
        scores = torch.cat([self.scores(graphs[i]) for i in torch.arange(len(graphs)).split(batch_graphs)])
        if self.task == "graph classification":
            return scores.argmax(1)
        return scores.sigmoid() if self.task == "graph multilabel" else scores * self.target_std + self.target_mean


def finetune(encoder: GraphEncoder, dataset: GraphDataset, rows: Tensor, config: FinetuneConfig) -> Predictor:
    """Trains encoder and head on the labelled graphs ``rows`` (``[n]`` int64) of ``dataset``.

    Raises:
        DataError: fewer than two labelled graphs, or the labels are not those of graphs.
    """
    y = dataset.graphs.y
    if y is None or not dataset.task.startswith("graph"):
        raise DataError("the graphs have no labels", field="task", value=dataset.task, expected="labelled graphs")
    if rows.numel() < 2:
        raise DataError("too few labelled graphs", field="rows", value=rows.numel(), expected="at least 2")
    classes = int(y.max()) + 1 if dataset.task == "graph classification" else y.shape[1]
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        mean = y[rows].float().nanmean(0).nan_to_num()
        std = (y[rows] - mean).square().nanmean(0).sqrt().nan_to_num(1.0)
        model = Predictor(encoder, classes, dataset.task, mean, torch.where(std > 1e-6, std, 1.0))
    graphs = encoder.prepare(dataset.graphs)[rows]

    def batch(indices: Tensor, generator: torch.Generator) -> Graphs:
        # A second graph, because batch normalisation cannot train on a batch of one.
        partner = torch.randint(len(graphs), (1,), generator=generator)
        return graphs[indices if indices.numel() > 1 else torch.cat([indices, partner])]

    fit(None, EpochLoader(len(graphs), config.batch_size, batch, seed=config.seed), config, task=model)
    model = model.cpu()
    # After few steps the running averages still depend on their initial values.
    update_bn((graphs[rows] for rows in torch.arange(len(graphs)).split(256)), model)
    return model.eval()
