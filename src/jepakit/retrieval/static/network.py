"""The static encoder in torch: what is trained, and what an encoder folder holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import IdentityPredictor, MLPPredictor
from jepakit.search.static.encoder import StaticEncoder, from_arrays, quantised
from jepakit.search.static.features import Bags, Features
from jepakit.search.static.gate import SIGNALS, Gate


@dataclass(frozen=True)
class BagTensors:
    """`Bags` as tensors: ``rows`` ``[T]``, ``counts`` ``[N]``."""

    rows: Tensor
    counts: Tensor

    @classmethod
    def of(cls, bags: Bags) -> BagTensors:
        """The same features."""
        return cls(torch.from_numpy(bags.rows), torch.from_numpy(bags.counts))


class TokenVectors(nn.Module):
    """The context encoder: the sum of a text's token vectors over the root of their number, ``BagTensors -> [N, D]``.

    Args:
        rows: of the table.
        width: of a row.
        dim: D; where it differs from ``width``, a linear map widens the sum.
    """

    def __init__(self, rows: int, width: int, dim: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(rows, width, mode="sum", sparse=True)
        self.widen = nn.Identity() if width == dim else nn.Linear(width, dim, bias=False)

    def forward(self, bags: BagTensors) -> Tensor:
        """The vectors of N texts."""
        summed = self.table(bags.rows, bags.counts.cumsum(0) - bags.counts)
        return self.widen(summed / bags.counts.clamp(min=1).sqrt().unsqueeze(-1))


class StaticNetwork(nn.Module):
    """A trained static encoder: ``BagTensors`` of N texts -> unit vectors ``[N, D]``.

    The table holds whole numbers, see `jepakit.search.static.encoder`, which answers queries without torch.

    Args:
        dim: width D of the base's vectors.
        width: of a row of the table.
        hidden: width of the perceptron as a multiple of D; 0: none.
        rules: bytes of the tokeniser.
        vocabulary: its tokens.
        singles: tokens with a vector.
        pairs: pairs of tokens with a vector.
        base: name of the base model.
        fingerprint: of the base model.
        documents: fingerprint of the vectors of documents that its vectors are compared with.
    """

    rules: Tensor
    tokens: Tensor
    pairs: Tensor
    table: Tensor
    scale: Tensor
    frequency: Tensor
    weights: Tensor
    threshold: Tensor

    def __init__(
        self,
        *,
        dim: int,
        width: int,
        hidden: float,
        rules: int,
        vocabulary: int,
        singles: int,
        pairs: int,
        base: str,
        fingerprint: str,
        documents: str,
    ) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "dim": dim,
            "width": width,
            "hidden": hidden,
            "rules": rules,
            "vocabulary": vocabulary,
            "singles": singles,
            "pairs": pairs,
            "base": base,
            "fingerprint": fingerprint,
            "documents": documents,
        }
        rows = singles + pairs
        self.register_buffer("rules", torch.zeros(rules, dtype=torch.uint8))
        self.register_buffer("tokens", torch.full((vocabulary,), -1, dtype=torch.int32))
        self.register_buffer("pairs", torch.zeros(pairs, dtype=torch.int64))
        self.register_buffer("table", torch.zeros(rows, width, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(rows))
        self.register_buffer("frequency", torch.zeros(rows))
        self.register_buffer("weights", torch.zeros(SIGNALS))
        self.register_buffer("threshold", torch.zeros(()))
        self.widen = nn.Identity() if width == dim else nn.Linear(width, dim, bias=False)
        self.predictor = build_predictor(dim, hidden)

    def forward(self, bags: BagTensors) -> Tensor:
        """The vectors; zeros for a text without features."""
        offsets = bags.counts.cumsum(0) - bags.counts
        table = self.table.float() * self.scale.unsqueeze(-1)
        summed = F.embedding_bag(bags.rows, table, offsets, mode="sum")
        context = self.widen(summed / bags.counts.clamp(min=1).sqrt().unsqueeze(-1))
        return F.normalize(self.predictor(context), dim=-1) * (bags.counts > 0).unsqueeze(-1)

    @classmethod
    def holding(cls, encoder: StaticEncoder) -> StaticNetwork:
        """The same encoder, so that `jepakit.training.save_encoder` writes it."""
        network = cls(
            dim=encoder.dim,
            width=encoder.table.shape[1],
            hidden=len(encoder.layers[0][1]) / encoder.dim if encoder.layers else 0.0,
            rules=len(encoder.features.rules.encode()),
            vocabulary=len(encoder.features.tokens),
            singles=encoder.features.singles,
            pairs=len(encoder.features.pairs),
            base=encoder.base,
            fingerprint=encoder.fingerprint,
            documents=encoder.documents,
        )
        network._fill(encoder.features, encoder.table, encoder.scale)
        network.set_gate(encoder.gate)
        continue_predictor(network.predictor, encoder)
        if isinstance(network.widen, nn.Linear) and encoder.widen is not None:
            with torch.no_grad():
                network.widen.weight.copy_(torch.from_numpy(encoder.widen))
        return network.eval()

    @torch.no_grad()
    def _fill(self, features: Features, table: np.ndarray, scale: np.ndarray) -> None:
        self.rules.copy_(torch.from_numpy(np.frombuffer(features.rules.encode(), np.uint8).copy()))
        self.tokens.copy_(torch.from_numpy(features.tokens))
        self.pairs.copy_(torch.from_numpy(features.pairs))
        self.table.copy_(torch.from_numpy(table))
        self.scale.copy_(torch.from_numpy(scale))

    def numpy(self) -> StaticEncoder:
        """The same encoder for query time."""
        arrays = {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}
        return from_arrays(arrays, self.arguments)

    @torch.no_grad()
    def set_gate(self, gate: Gate) -> None:
        """Which queries it answers for."""
        self.frequency.copy_(torch.from_numpy(gate.frequency))
        self.weights.copy_(torch.from_numpy(gate.weights))
        self.threshold.fill_(gate.threshold)

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        features: Features,
        vectors: TokenVectors,
        predictor: nn.Module,
        *,
        hidden: float,
        base: str,
        fingerprint: str,
        documents: str,
    ) -> StaticNetwork:
        """What training made, its table in whole numbers."""
        table = vectors.table.weight.detach().numpy()
        network = cls(
            dim=vectors.widen.out_features if isinstance(vectors.widen, nn.Linear) else table.shape[1],
            width=table.shape[1],
            hidden=hidden,
            rules=len(features.rules.encode()),
            vocabulary=len(features.tokens),
            singles=features.singles,
            pairs=len(features.pairs),
            base=base,
            fingerprint=fingerprint,
            documents=documents,
        )
        network._fill(features, *quantised(table))
        network.widen.load_state_dict(vectors.widen.state_dict())
        network.predictor.load_state_dict(predictor.state_dict())
        return network.eval()


def build_predictor(dim: int, hidden: float) -> nn.Module:
    """``[N, dim] -> [N, dim]``: a residual perceptron that starts as the identity, or nothing."""
    return MLPPredictor(dim, depth=2, width_factor=hidden, residual=True) if hidden else IdentityPredictor()


@torch.no_grad()
def continue_predictor(predictor: nn.Module, start: StaticEncoder) -> None:
    """A perceptron starts as that of another encoder, if the two have the same shape."""
    linear = [module for module in predictor.modules() if isinstance(module, nn.Linear)]
    if [tuple(one.weight.shape) for one in linear] == [weight.shape for weight, _ in start.layers]:
        for one, (weight, bias) in zip(linear, start.layers, strict=True):
            one.weight.copy_(torch.from_numpy(weight))
            one.bias.copy_(torch.from_numpy(bias))


def rows_in(megabytes: float, *, dim: int, width: int, hidden: float, rules: int, vocabulary: int) -> int:
    """Rows of a table that fit into a size together with everything else; 0 or less where nothing fits.

    A row has its vector, a scale, a frequency and the key of a pair.
    """
    inner = math.ceil(hidden * dim)
    fixed = rules + 4 * vocabulary + 4 * (2 * dim * inner + inner + dim) + (4 * dim * width if width != dim else 0)
    return int((megabytes * 1e6 - fixed) // (width + 16))
