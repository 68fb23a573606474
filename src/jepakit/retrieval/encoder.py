"""The adapter: a small network on a frozen sentence encoder, which starts as the identity.

::

    base vector of a query     -> projection -> predictor -> search vector
    base vector of a document  -> projection              -> indexed vector

Without a projection (the default) documents keep their base vectors, so an existing index stays valid.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import BidirectionalPredictor, IdentityPredictor, MLPPredictor, Where
from jepakit.errors import ConfigError, require_at_least, require_choice, require_within
from jepakit.retrieval.adapter.familiarity import Familiarity
from jepakit.text import Kind
from jepakit.training import HubMixin


@dataclass
class AdapterConfig:
    """The network.

    Args:
        output_dim: width of the search and index vectors; None: that of the base.
        projection_depth: linear layers of the projection; 0: no projection, documents keep their base vectors.
        separate_projections: use one projection for queries and another for documents.
        predictor_depth: linear layers of the predictor; 0: no predictor, 1: a linear map.
        direction: ``query`` predicts the document from the query; ``document`` predicts the query from the document,
            at indexing time; ``both`` does both and averages the two scores.
        width_factor: hidden width as a multiple of the input width.
        dropout: dropout rate after every hidden activation.
        start: ``identity``: the untrained adapter returns the base vectors. ``random``: it returns random projections;
            an ablation.
    """

    output_dim: int | None = None
    projection_depth: int = 0
    separate_projections: bool = False
    predictor_depth: int = 1
    direction: Literal["query", "document", "both"] = "query"
    width_factor: float = 2.0
    dropout: float = 0.1
    start: Literal["identity", "random"] = "identity"

    def __post_init__(self) -> None:
        require_choice("direction", self.direction, ("query", "document", "both"))
        require_choice("start", self.start, ("identity", "random"))
        require_at_least(self, output_dim=1, projection_depth=0, predictor_depth=0)
        require_within(self, "[0, 1)", "dropout")
        if self.projection_depth == 0 and self.predictor_depth == 0:
            raise ConfigError("predictor_depth", 0, "at least 1 where projection_depth is 0, or nothing is trained")
        if self.separate_projections and self.projection_depth == 0:
            raise ConfigError("separate_projections", True, "false where projection_depth is 0")


@dataclass(frozen=True)
class Side:
    """A view: base vectors ``[N, D]`` of queries or of documents, or N texts where the base model is trained too."""

    kind: Kind
    content: Tensor | tuple[str, ...]


class Towers(nn.Module):
    """The encoder of both sides, base model then projection: ``Side -> [N, output_dim]``.

    Args:
        dim: width of the base vectors.
        config: the network.
        base: a trainable base model, texts -> base vectors ``[N, dim]``; None: sides hold base vectors.
    """

    start: Tensor

    def __init__(self, dim: int, config: AdapterConfig, base: nn.Module | None = None) -> None:
        super().__init__()
        self.base = base
        out_dim = config.output_dim or dim
        self.register_buffer("start", _orthogonal(dim, out_dim))
        kinds: tuple[Kind, ...] = ("query", "document") if config.separate_projections else ("query",)
        self.projections = nn.ModuleDict(
            {kind: _map(out_dim, config.projection_depth, config) for kind in kinds if config.projection_depth}
        )

    def forward(self, side: Side) -> Tensor:
        """``Side`` of N queries or documents -> ``[N, output_dim]``."""
        vectors = side.content if self.base is None else self.base(side)
        assert isinstance(vectors, Tensor)
        return self.project(vectors, side.kind)

    def project(self, vectors: Tensor, kind: Kind) -> Tensor:
        """Projects base vectors: ``[N, dim] -> [N, output_dim]``."""
        vectors = self.resized(vectors)
        for network in self.networks(kind):
            vectors = network(vectors)
        return vectors

    def networks(self, kind: Kind) -> list[nn.Module]:
        """The projection of one side; empty without a projection."""
        return [self.projections[kind if kind in self.projections else "query"]] if self.projections else []

    def resized(self, vectors: Tensor) -> Tensor:
        """Base vectors at the output width, without any trained layer: ``[N, dim] -> [N, output_dim]``."""
        return vectors @ self.start if self.start.numel() else vectors

    @torch.no_grad()
    def fit_start(self, vectors: Tensor) -> None:
        """If the output is narrower than the base, keeps the principal directions of ``vectors``, ``[N, dim]``."""
        if self.start.numel() and self.start.shape[1] < self.start.shape[0]:
            directions = torch.linalg.eigh(vectors.T @ vectors).eigenvectors
            self.start.copy_(directions.flip(1)[:, : self.start.shape[1]])


class Adapter(HubMixin):
    """Maps base vectors to vectors for search (queries) and for the index (documents).

    Args:
        dim: width of the base vectors.
        base: name of the base model.
        fingerprint: fingerprint of the base model, see `jepakit.text.TextEncoder`.
        familiar_queries: training queries that are remembered; 0: every query is familiar.
        familiar_documents: training documents that are remembered; 0: every document is familiar.
        home: whether the memory of documents tells them from near neighbours; that of earlier versions does not.
        **network: fields of `AdapterConfig`.
    """

    strength: Tensor

    def __init__(
        self,
        dim: int,
        *,
        base: str,
        fingerprint: str,
        familiar_queries: int = 0,
        familiar_documents: int = 0,
        home: bool = False,
        **network: Any,
    ) -> None:
        super().__init__()
        self.config = AdapterConfig(**network)
        self.dim, self.base, self.fingerprint = dim, base, fingerprint
        self.towers = Towers(dim, self.config)
        self.predictor = build_predictor(self.config.output_dim or dim, self.config)
        self.familiar_queries = Familiarity(dim, familiar_queries)
        self.familiar_documents = Familiarity(dim, familiar_documents, home=home)
        self.register_buffer("strength", torch.ones(()))

    @property
    def arguments(self) -> dict[str, Any]:
        """Keywords of the constructor, for `jepakit.training.save_encoder`."""
        memory = {"familiar_queries": len(self.familiar_queries), "familiar_documents": len(self.familiar_documents)}
        memory["home"] = self.familiar_documents.home is not None
        return {"dim": self.dim, "base": self.base, "fingerprint": self.fingerprint, **memory, **asdict(self.config)}

    @property
    def out_dim(self) -> int:
        """Width of the vectors that `queries` and `documents` return."""
        return (self.config.output_dim or self.dim) * (2 if self.config.direction == "both" else 1)

    @property
    def starts_as_base(self) -> bool:
        """Whether before training the adapter ranks as the base does."""
        return self.config.start == "identity" and (self.config.output_dim or self.dim) >= self.dim

    @property
    def changes_documents(self) -> bool:
        """Whether indexed vectors differ from the base vectors of documents."""
        config = self.config
        return config.projection_depth > 0 or config.direction != "query" or config.output_dim is not None

    def forward(self, vectors: Tensor, kind: Kind = "query") -> Tensor:
        """`queries` or `documents`, at full familiarity."""
        return self.queries(vectors) if kind == "query" else self.documents(vectors)

    @torch.no_grad()
    def queries(self, vectors: Tensor, familiarity: Tensor | None = None) -> Tensor:
        """Search vectors of queries from their base vectors: ``[N, dim] -> [N, out_dim]``, rows of length 1.

        ``familiarity``: ``[N]`` from 0 (keep the base vector) to 1 (full strength); None: 1.
        """
        strength = self.strength if familiarity is None else (self.strength * familiarity).unsqueeze(-1)
        return self._blend(vectors, "query", strength)

    @torch.no_grad()
    def documents(self, vectors: Tensor) -> Tensor:
        """Index vectors of documents: ``[N, dim] -> [N, out_dim]``, rows of length 1; a zero vector stays zero."""
        if not self.changes_documents:
            return F.normalize(vectors, dim=-1)
        return self._blend(vectors, "document", self.strength)

    def _blend(self, vectors: Tensor, kind: Kind, strength: Tensor) -> Tensor:
        projected = self.towers.project(vectors, kind)
        resized = self.towers.resized(vectors)
        predicted = self.predictor(projected, Where(backward=kind == "document"))
        # With "both", the predicted half of a query is compared with the projected half of a document, and vice versa.
        parts = [predicted, projected] if kind == "query" else [projected, predicted]
        if self.config.direction != "both":
            parts = [predicted if self.config.direction == kind else projected]
        blended = [F.normalize(resized.lerp(part, strength), dim=-1) for part in parts]
        return torch.cat(blended, dim=-1) / len(blended) ** 0.5


def build_predictor(dim: int, config: AdapterConfig) -> nn.Module:
    """``(projected [N, dim], where) -> [N, dim]``; ``where.backward`` predicts a query from a document."""
    if config.predictor_depth == 0:
        return IdentityPredictor()
    forward = _map(dim, config.predictor_depth, config)
    if config.direction != "both":
        return forward
    return BidirectionalPredictor(forward, _map(dim, config.predictor_depth, config))


def _map(dim: int, depth: int, config: AdapterConfig) -> nn.Module:
    residual = config.start == "identity"
    return MLPPredictor(dim, depth=depth, width_factor=config.width_factor, dropout=config.dropout, residual=residual)


def _orthogonal(dim: int, out_dim: int) -> Tensor:
    """``[dim, out_dim]`` with orthonormal rows, or columns where narrower; empty where the widths are equal."""
    if dim == out_dim:
        return torch.empty(0)
    wide = torch.randn(max(dim, out_dim), min(dim, out_dim), generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(wide).Q
    return basis.T.contiguous() if out_dim > dim else basis
