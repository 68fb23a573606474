"""The adapter: a small network on a frozen sentence encoder, which starts as the identity.

::

    base vector of a query     -> projection -> predictor -> what is searched with
    base vector of a document  -> projection              -> what is indexed

Without a projection (the default) documents keep the base's vectors: an index that exists stays valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import BidirectionalPredictor, IdentityPredictor, MLPPredictor, Where
from jepakit.errors import ConfigError, require_choice
from jepakit.retrieval.adapter.familiarity import Familiarity
from jepakit.text import Kind

__all__ = ["Adapter", "AdapterConfig", "Side", "Towers"]


@dataclass
class AdapterConfig:
    """The network.

    Args:
        output_dim: width of the vectors that are compared; None: the base's.
        projection_depth: linear layers of the projection; 0: none, documents stay as they are.
        separate_projections: one projection for queries and one for documents.
        predictor_depth: linear layers of the predictor; 0: none, 1: a linear map, 3 and 4: deep.
        direction: which side is predicted from which: ``query`` predicts the document from the query, ``document`` the
            query from the document (at indexing time), ``both`` does both, and the two scores are averaged.
        width_factor: hidden width in units of the input's.
        dropout: after every hidden activation.
        start: ``identity``: before training the adapter is the base model. ``random``: it is not, and the base's
            knowledge has to be learned again; kept to show what that costs.
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
        for name, least in (("output_dim", 1), ("projection_depth", 0), ("predictor_depth", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(name, value, f"at least {least}")
        if not 0 <= self.dropout < 1:
            raise ConfigError("dropout", self.dropout, "at least 0 and below 1")
        if self.projection_depth == 0 and self.predictor_depth == 0:
            raise ConfigError("predictor_depth", 0, "at least 1 where projection_depth is 0, or nothing is trained")
        if self.separate_projections and self.projection_depth == 0:
            raise ConfigError("separate_projections", True, "false where projection_depth is 0")


@dataclass(frozen=True)
class Side:
    """A view: some queries, or some documents.

    Args:
        kind: which.
        content: base vectors ``[N, D]``, or, where the base is trained too, N texts.
    """

    kind: Kind
    content: Tensor | tuple[str, ...]


class Towers(nn.Module):
    """The encoder of both sides: base, then projection: ``Side -> [N, output_dim]``.

    Args:
        dim: width of the base's vectors.
        config: the network.
        base: side of texts -> base vectors ``[N, dim]``, trained with the rest; None: the content is base vectors.
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
        vectors = side.content if self.base is None else self.base(side)
        assert isinstance(vectors, Tensor)
        return self.project(vectors, side.kind)

    def project(self, vectors: Tensor, kind: Kind) -> Tensor:
        """``[N, dim] -> [N, output_dim]``."""
        started = self.started(vectors)
        if not self.projections:
            return started
        return self.projections[kind if kind in self.projections else "query"](started)

    def started(self, vectors: Tensor) -> Tensor:
        """The vectors in the width of the output and otherwise unchanged: what the adapter made of them at first."""
        return vectors @ self.start if self.start.numel() else vectors

    @torch.no_grad()
    def fit_start(self, vectors: Tensor) -> None:
        """For an output narrower than the base: keep the directions in which ``[N, dim]`` vectors lie."""
        if self.start.numel() and self.start.shape[1] < self.start.shape[0]:
            directions = torch.linalg.eigh(vectors.T @ vectors).eigenvectors
            self.start.copy_(directions.flip(1)[:, : self.start.shape[1]])


class Adapter(nn.Module):
    """Base vectors in, vectors to search with or to index out.

    Args:
        dim: width of the base's vectors.
        base: the base's name.
        fingerprint: the base's fingerprint, see `jepakit.text.TextEncoder`.
        familiar_queries: rows of the memory of training queries; 0: every query is familiar.
        familiar_documents: the same of documents.
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
        **network: Any,
    ) -> None:
        super().__init__()
        self.config = AdapterConfig(**network)
        self.dim, self.base, self.fingerprint = dim, base, fingerprint
        self.towers = Towers(dim, self.config)
        self.predictor = build_predictor(self.config.output_dim or dim, self.config)
        self.familiar_queries = Familiarity(dim, familiar_queries)
        self.familiar_documents = Familiarity(dim, familiar_documents)
        self.register_buffer("strength", torch.ones(()))

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's keywords, as `jepakit.training.save_encoder` wants them."""
        memory = {"familiar_queries": len(self.familiar_queries), "familiar_documents": len(self.familiar_documents)}
        return {"dim": self.dim, "base": self.base, "fingerprint": self.fingerprint, **memory, **asdict(self.config)}

    @property
    def out_dim(self) -> int:
        """Width of what `queries` and `documents` return."""
        return (self.config.output_dim or self.dim) * (2 if self.config.direction == "both" else 1)

    @property
    def changes_documents(self) -> bool:
        """Whether documents are indexed as anything else than the base's vectors."""
        return (
            self.config.projection_depth > 0 or self.config.direction != "query" or self.config.output_dim is not None
        )

    def forward(self, vectors: Tensor, kind: Kind = "query") -> Tensor:
        """`queries` or `documents`, at full familiarity."""
        return self.queries(vectors) if kind == "query" else self.documents(vectors)

    @torch.no_grad()
    def queries(self, vectors: Tensor, familiarity: Tensor | None = None) -> Tensor:
        """What to search with: ``[N, dim] -> [N, out_dim]``, rows of length 1.

        Args:
            vectors: the base's, of queries.
            familiarity: ``[N]`` from 0, at which a query stays as the base made it, to 1; None: 1.
        """
        strength = self.strength if familiarity is None else (self.strength * familiarity).unsqueeze(-1)
        return self._blend(vectors, "query", strength)

    @torch.no_grad()
    def documents(self, vectors: Tensor) -> Tensor:
        """What to index: ``[N, dim] -> [N, out_dim]``, rows of length 1, or of zeros where the vector is zero."""
        if not self.changes_documents:
            return F.normalize(vectors, dim=-1)
        return self._blend(vectors, "document", self.strength)

    def _blend(self, vectors: Tensor, kind: Kind, strength: Tensor) -> Tensor:
        projected = self.towers.project(vectors, kind)
        started = self.towers.started(vectors)
        predicted = self.predictor(projected, Where(backward=kind == "document"))
        # The query's half that is predicted meets the document's half that is not, and the other way round.
        parts = [predicted, projected] if kind == "query" else [projected, predicted]
        if self.config.direction != "both":
            parts = [predicted if self.config.direction == kind else projected]
        blended = [F.normalize(started.lerp(part, strength), dim=-1) for part in parts]
        return torch.cat(blended, dim=-1) / len(blended) ** 0.5


def build_predictor(dim: int, config: AdapterConfig) -> nn.Module:
    """``(projected [N, dim], where) -> [N, dim]``; ``where.backward`` asks for the query of a document."""
    make: Callable[[], nn.Module] = lambda: _map(dim, config.predictor_depth, config)  # noqa: E731
    if config.predictor_depth == 0:
        return IdentityPredictor()
    return BidirectionalPredictor(make(), make()) if config.direction == "both" else make()


def _map(dim: int, depth: int, config: AdapterConfig) -> nn.Module:
    return MLPPredictor(
        dim,
        depth=depth,
        width_factor=config.width_factor,
        dropout=config.dropout,
        residual=config.start == "identity",
    )


def _orthogonal(dim: int, out_dim: int) -> Tensor:
    """``[dim, out_dim]`` with orthonormal rows (or, where narrower, columns); empty where nothing changes."""
    if dim == out_dim:
        return torch.empty(0)
    wide = torch.randn(max(dim, out_dim), min(dim, out_dim), generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(wide).Q
    return basis.T.contiguous() if out_dim > dim else basis
