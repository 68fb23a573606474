"""Fine-tunes an encoder on labels, with a linear head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from jepakit.core.distributed import alone, own_part, own_rows
from jepakit.errors import ConfigError, DataError
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.networks.layers import BatchNorm
from jepakit.training import EpochLoader, FitConfig, FitResult, HubMixin, fit


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


class Predictor(HubMixin):
    """An encoder and a linear head on its pooled graph embedding.

    ``target_mean`` and ``target_std`` (``[T]``) are those of the training labels, for regression.

    Args:
        encoder: the arguments of a `GraphEncoder`.
        task: the kind of the labels, see `GraphDataset`.
        label_names: of the classes or of the targets, one for each output of the head.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(self, encoder: Mapping[str, object], task: str, label_names: Sequence[str]) -> None:
        super().__init__()
        self.task, self.label_names = task, tuple(label_names)
        # The weights are those of a trained encoder: drawing others must not change those of the head.
        with torch.random.fork_rng(devices=[]):
            self.encoder = GraphEncoder(**encoder)  # pyright: ignore[reportArgumentType]
        width, outputs = self.encoder.config.width, len(self.label_names)
        # Normalised, because sums over nodes grow with the graph.
        self.head = nn.Sequential(BatchNorm(width), nn.Linear(width, outputs))
        self.register_buffer("target_mean", torch.zeros(outputs))
        self.register_buffer("target_std", torch.ones(outputs))

    @property
    def arguments(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {"encoder": self.encoder.arguments, "task": self.task, "label_names": list(self.label_names)}

    def forward(self, graphs: Graphs) -> Tensor:
        """The training loss of a batch, as `own_part` of that of all processes; ignores unlabelled entries (NaN)."""
        assert graphs.y is not None
        scores = self.scores(graphs)
        if self.task == "graph classification":
            return own_part(F.cross_entropy(scores, graphs.y), len(scores))
        labelled = ~torch.isnan(graphs.y)
        return own_part(self._loss(scores[labelled], graphs.y, labelled), int(labelled.sum()))

    def _loss(self, scores: Tensor, y: Tensor, labelled: Tensor) -> Tensor:
        if not labelled.any():
            return scores.sum()
        if self.task == "graph multilabel":
            return F.binary_cross_entropy_with_logits(scores, y[labelled])
        return F.mse_loss(scores, ((y - self.target_mean) / self.target_std)[labelled])

    def scores(self, graphs: Graphs) -> Tensor:
        """Logits ``[G, C]`` or ``[G, T]``; for regression, standardised values."""
        return self.head(self.encoder(graphs)["graph"])

    @torch.no_grad()
    def predict(self, graphs: Graphs, *, batch_graphs: int = 256) -> Tensor:
        """Classes ``[G]``, or probabilities or values ``[G, T]``, in eval mode."""
        scores = self._all_scores(graphs, batch_graphs)
        if self.task == "graph classification":
            return scores.argmax(1)
        return scores.sigmoid() if self.task == "graph multilabel" else scores * self.target_std + self.target_mean

    @torch.no_grad()
    def probabilities(self, graphs: Graphs, *, batch_graphs: int = 256) -> Tensor:
        """Of each class, or of each label of several, ``[G, C]``, in eval mode.

        Raises:
            ConfigError: the task is regression.
        """
        if self.task == "graph regression":
            raise ConfigError("task", self.task, "classes")
        scores = self._all_scores(graphs, batch_graphs)
        return scores.softmax(1) if self.task == "graph classification" else scores.sigmoid()

    def _all_scores(self, graphs: Graphs, batch_graphs: int) -> Tensor:
        self.eval()
        graphs = self.encoder.prepare(graphs) if graphs.position is None else self.encoder.read_by_name(graphs)
        return torch.cat([self.scores(graphs[i]) for i in torch.arange(len(graphs)).split(batch_graphs)])


def labelled(y: Tensor) -> Tensor:
    """Which graphs have a label, ``[G]`` bool, of classes ``[G]`` or targets ``[G, T]``."""
    return y >= 0 if y.ndim == 1 else ~torch.isnan(y).all(1)


def labelled_part(dataset: GraphDataset) -> GraphDataset:
    """The graphs that have a class, where the labels are classes; else the data as they are."""
    y = dataset.graphs.y
    if y is None or dataset.task != "graph classification" or bool(labelled(y).all()):
        return dataset
    return replace(dataset, graphs=dataset.graphs[labelled(y)], splits={}, origins=None, node_ids=None)


def finetune(encoder: GraphEncoder, dataset: GraphDataset, rows: Tensor, config: FinetuneConfig) -> Predictor:
    """The first part of `finetune_with_metrics`."""
    return finetune_with_metrics(encoder, dataset, rows, config)[0]


def finetune_with_metrics(
    encoder: GraphEncoder, dataset: GraphDataset, rows: Tensor, config: FinetuneConfig
) -> tuple[Predictor, FitResult]:
    """Trains a copy of the encoder, and a head, on the labelled graphs among ``rows`` (``[n]`` int64) of ``dataset``.

    Raises:
        DataError: fewer than two labelled graphs, or the labels are not those of graphs.
    """
    y = dataset.graphs.y
    if y is None or not dataset.task.startswith("graph"):
        raise DataError("the graphs have no labels", field="task", value=dataset.task, expected="labelled graphs")
    rows = rows[labelled(y)[rows]]
    if rows.numel() < 2:
        raise DataError("too few labelled graphs", field="rows", value=rows.numel(), expected="at least 2")
    is_classes = dataset.task == "graph classification"
    outputs = max(int(y.max()) + 1, len(dataset.label_names)) if is_classes else y.shape[1]
    names = dataset.label_names if len(dataset.label_names) == outputs else tuple(map(str, range(outputs)))
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = Predictor(encoder.arguments, dataset.task, names).train()
    model.encoder.load_state_dict(encoder.state_dict())
    if not is_classes:
        model.target_mean = y[rows].nanmean(0).nan_to_num()
        std = (y[rows] - model.target_mean).square().nanmean(0).sqrt().nan_to_num(1.0)
        model.target_std = torch.where(std > 1e-6, std, 1.0)
    graphs = encoder.prepare(dataset.graphs)[rows]

    def batch(indices: Tensor, generator: torch.Generator) -> Graphs:
        # A second graph, because batch normalisation cannot train on a batch of one.
        partner = torch.randint(len(graphs), (1,), generator=generator)
        indices = indices if indices.numel() > 1 else torch.cat([indices, partner])
        return graphs[indices[own_rows(len(indices))]]

    loader = EpochLoader(len(graphs), config.batch_size, batch, seed=config.seed, shared="views")
    trained = fit(None, loader, config, task=model)
    model = model.cpu()
    # After few steps the running averages still depend on their initial values.
    with alone():
        update_bn((graphs[rows] for rows in torch.arange(len(graphs)).split(256)), model)
    return model.eval(), trained
