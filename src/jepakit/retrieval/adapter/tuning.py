"""Training the base model itself: all of its weights, or low-rank additions to them, under a predictor.

What comes out is another base model, for queries and documents: they have to be encoded again, and searches elsewhere
change too, which an adapter of the frozen base can prevent. So the tuned base is returned only where it is surely ahead
on the development pairs, and no further from the base than it has to be: its weights are interpolated between the two
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.errors import ConfigError, MissingExtraError, require_at_least, require_choice
from jepakit.files import whole_folder
from jepakit.retrieval.adapter.recipe import Recipe
from jepakit.retrieval.adapter.selection import paired_interval, smallest_good
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.splits import train_and_dev
from jepakit.retrieval.encoder import Side, Towers, build_predictor
from jepakit.retrieval.measuring.metrics import ndcg, top_documents
from jepakit.retrieval.objective import build_jepa
from jepakit.retrieval.serving.model_folder import PROBES, require_torch, require_vectors
from jepakit.retrieval.views import RetrievalViews
from jepakit.text import Kind, SentenceEncoder, TextEncoder
from jepakit.text.encoder import readable
from jepakit.text.quiet import quiet
from jepakit.training import EpochLoader, RunFolder, fit

if TYPE_CHECKING:
    from peft import LoraModel
    from sentence_transformers import SentenceTransformer

__all__ = ["Strategy", "Tuned", "TuningConfig", "save_base", "tune"]

Strategy = Literal["frozen", "two-phase", "full", "lora"]
"""``frozen``: the base stays as it is. ``two-phase``: the predictor first, then the base with a tiny rate. ``full``:
both from the start, the base with a small rate. ``lora``: low-rank additions to the base's linear maps."""

_RATES: dict[Strategy, float] = {"two-phase": 1e-6, "full": 2e-5, "lora": 2e-4}
#: What strengths are compared on: development queries, for each the first documents of the base's ranking, and others
#: at random up to so many, among which are those that only the trained weights take for answers.
_QUERIES, _DEPTH, _DOCUMENTS = 200, 30, 5000


@dataclass
class TuningConfig:
    """How the base is trained, where ``strategy`` says that it is.

    The objective and the network of the predictor are those of the adapter; a prediction is told from the documents of
    the same step.

    Args:
        epochs: passes over the training pairs.
        batch_size: pairs per step.
        base_rate: learning rate of the base's weights; None: 1e-6 for two-phase, 2e-5 for full, 2e-4 for lora.
        max_tokens: texts are cut after so many tokens in training.
        rank: of LoRA's additions.
        strengths: how far to go from the base's weights (0) to the trained ones (1); the smallest is taken that cannot
            be told from the best.
    """

    epochs: int = 4
    batch_size: int = 32
    base_rate: float | None = None
    max_tokens: int = 128
    rank: int = 16
    strengths: list[float] = field(default_factory=lambda: [0.5, 1.0])

    def __post_init__(self) -> None:
        require_at_least(self, epochs=1, batch_size=1, max_tokens=1, rank=1)
        if self.base_rate is not None and not self.base_rate > 0:
            raise ConfigError("base_rate", self.base_rate, "a number above 0, or null")
        if not self.strengths or any(not 0 < strength <= 1 for strength in self.strengths):
            raise ConfigError("strengths", self.strengths, "numbers above 0 and up to 1")


@dataclass(frozen=True)
class Tuned:
    """What came of it.

    Args:
        encoder: the tuned base; the untouched one where that was not surely worse.
        strength: how far its weights are from the base's (0) to the trained ones (1).
        base: NDCG@10 of the base on the development pairs.
        tuned: of the trained weights at the smallest strength that cannot be told from the best.
        interval: of the difference, paired by query.
        queries: how many were compared.
    """

    encoder: SentenceEncoder
    strength: float
    base: float
    tuned: float
    interval: tuple[float, float]
    queries: int

    @property
    def sentence(self) -> str:
        """It in words."""
        low, high = self.interval
        measured = f"development NDCG {self.base:.4f} -> {self.tuned:.4f} on {self.queries} queries"
        chosen = f"tuned weights at strength {self.strength:g}"
        if not self.strength:
            chosen = "tuning the base is not surely better, so the base stays as it is"
        return f"{measured} (gain {low:+.4f} to {high:+.4f}): {chosen}"


def tune(
    dataset: RetrievalDataset,
    encoder: SentenceEncoder,
    recipe: Recipe,
    config: TuningConfig,
    strategy: Strategy,
    *,
    cached: TextEncoder | None = None,
    confidence: float = 0.9,
    run: RunFolder | None = None,
    resume: bool = False,
) -> Tuned:
    """Trains the base on the training pairs and decides by the development pairs whether that was any good.

    Args:
        dataset: with splits train and dev; training pairs that share a document with dev are left out.
        encoder: the base, in torch; it is left as it is.
        recipe: objective and predictor, which are not kept; precision, seed and the predictor's learning rate.
        config: how.
        strategy: what is trained.
        cached: the same base with a cache of vectors; None: the base's own vectors are made anew.
        confidence: of the interval of the gain that has to lie above 0.
        run: the folder that receives checkpoint and metrics; None keeps nothing.
        resume: go on from its checkpoint.

    Raises:
        ConfigError: the base does not run in torch, is no transformer (for LoRA), or options do not go together.
        DataError: there are no training or no development pairs.
        MissingExtraError: peft is not installed, for LoRA.
    """
    require_choice("strategy", strategy, ("two-phase", "full", "lora"))
    train, dev = train_and_dev(dataset)
    _require_trainable(encoder.model, config, strategy)
    encode = (cached or encoder).encode
    vectors = encode(dataset.queries.texts, "query"), encode(dataset.documents.passages, "document")
    # The weights that a fingerprint was made of must not change under it.
    model = copy.deepcopy(encoder.model).float()
    _fit(model, dataset, train, vectors, recipe, config, strategy, run=run, resume=resume)
    model.to(encoder.model.device)
    before = encoder.model.state_dict()
    after = {name: weight.clone() for name, weight in model.state_dict().items()}
    comparison = _Comparison.of(dataset, dev, vectors, recipe.fit.seed)
    measured: dict[float, Tensor] = {}
    for strength in sorted(config.strengths):
        _interpolate(model, before, after, strength)
        measured[strength] = comparison.values(_encoder(model, encoder))

    def gain(ours: Tensor, other: Tensor) -> tuple[float, float]:
        return paired_interval((ours - other).numpy(), confidence=confidence, seed=recipe.fit.seed)

    strength = smallest_good(measured, gain)
    interval = gain(measured[strength], comparison.base)
    chosen = encoder
    if interval[0] > 0:
        _interpolate(model, before, after, strength)
        chosen = _encoder(model, encoder)
    return Tuned(
        encoder=chosen,
        strength=strength if interval[0] > 0 else 0.0,
        base=float(comparison.base.mean()),
        tuned=float(measured[strength].mean()),
        interval=interval,
        queries=len(comparison.queries),
    )


def save_base(encoder: SentenceEncoder, folder: Path) -> None:
    """Writes a tuned base as a model folder of sentence-transformers, whole or not at all.

    Raises:
        ModelError: it cannot be written, or gives other vectors when it is loaded again.
    """
    with whole_folder(folder) as partial, quiet():
        encoder.model.save(str(partial), create_model_card=False)
        require_vectors(partial, encoder, encoder.encode(PROBES, "query"), encoder.encode(PROBES, "document"))


class TrainedBase(nn.Module):
    """A sentence encoder that can be trained: ``Side`` of texts -> ``[N, dim]``, rows of length 1.

    Args:
        model: the encoder.
        max_tokens: texts are cut after so many.
    """

    def __init__(self, model: SentenceTransformer, max_tokens: int) -> None:
        super().__init__()
        self.model, self.max_tokens = model, max_tokens

    def forward(self, side: Side) -> Tensor:
        from sentence_transformers.util import batch_to_device

        tokens = self._tokens(side.kind)
        texts = [readable(text, tokens) for text in side.content if isinstance(text, str)]
        prompt = _prompt(self.model, side.kind)
        features = self.model.preprocess(texts, prompt=prompt, task=side.kind, max_length=tokens)
        vectors = self.model(batch_to_device(features, self.model.device), task=side.kind)["sentence_embedding"]
        return F.normalize(vectors[:, : self.model.truncate_dim].float(), dim=-1)

    def _tokens(self, kind: Kind) -> int:
        """How many of a text are read."""
        from sentence_transformers.base.modules import Transformer

        first, longest = self.model[0], self.model.max_seq_length
        if isinstance(first, Transformer):
            longest = (first.query_length if kind == "query" else first.document_length) or longest
        return self.max_tokens if longest is None else int(min(self.max_tokens, longest))


def _prompt(model: SentenceTransformer, kind: Kind) -> str | None:
    """What ``encode_query`` and ``encode_document`` put before a text."""
    names = ("query",) if kind == "query" else ("document", "passage", "corpus")
    return next((model.prompts[name] for name in (*names, model.default_prompt_name) if name in model.prompts), None)


@dataclass(frozen=True)
class _Comparison:
    """Some development queries, and documents among which their answers have to be found.

    Args:
        queries: texts.
        documents: the answers, the first of the base's ranking, and others.
        pairs: rows of these queries and documents.
        base: NDCG@10 of the base, of each query.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    pairs: Pairs
    base: Tensor

    @classmethod
    def of(cls, dataset: RetrievalDataset, dev: Pairs, vectors: tuple[Tensor, Tensor], seed: int) -> _Comparison:
        asked = dev.relevant.queries
        generator = torch.Generator().manual_seed(seed)
        asked = asked[torch.randperm(len(asked), generator=generator)[:_QUERIES]].sort().values
        texts = tuple(dataset.queries.texts[row] for row in asked.tolist())
        queries, documents = vectors
        _, found = top_documents(queries[asked], documents, min(_DEPTH, len(documents)))
        pairs = dev[torch.isin(dev.query, asked)]
        rows = torch.cat([found.flatten(), pairs.document]).unique()
        others = torch.randperm(len(documents), generator=generator)
        others = others[~torch.isin(others, rows)][: max(0, _DOCUMENTS - len(rows))]
        rows = torch.cat([rows, others]).sort().values
        place = Pairs(torch.searchsorted(asked, pairs.query), torch.searchsorted(rows, pairs.document), pairs.grade)
        passages = dataset.documents.passages
        among = cls(texts, tuple(passages[row] for row in rows.tolist()), place, torch.empty(0))
        return replace(among, base=among.measured(queries[asked], documents[rows]))

    def values(self, encoder: TextEncoder) -> Tensor:
        """NDCG@10 of each query, ``[Q]``."""
        return self.measured(encoder.encode(self.queries, "query"), encoder.encode(self.documents, "document"))

    def measured(self, queries: Tensor, documents: Tensor) -> Tensor:
        """The same, of vectors."""
        _, found = top_documents(queries, documents, min(10, len(documents)))
        return ndcg(found, torch.arange(len(queries)), self.pairs)


def _require_trainable(model: SentenceTransformer, config: TuningConfig, strategy: Strategy) -> None:
    """Whatever can be said before hours of training."""
    from sentence_transformers.base.modules import Transformer

    require_torch(model)
    if strategy == "two-phase" and config.epochs < 2:
        raise ConfigError("epochs", config.epochs, "at least 2 for two-phase: one for each phase")
    if strategy == "lora":
        if not isinstance(model[0], Transformer):
            raise ConfigError("strategy", "lora", "full or two-phase: this base has no transformer to add maps to")
        try:
            import_module("peft")
        except ModuleNotFoundError as error:
            raise MissingExtraError("peft", "lora") from error


def _fit(
    model: SentenceTransformer,
    dataset: RetrievalDataset,
    train: Pairs,
    vectors: tuple[Tensor, Tensor],
    recipe: Recipe,
    config: TuningConfig,
    strategy: Strategy,
    *,
    run: RunFolder | None,
    resume: bool,
) -> None:
    """Trains the model in place, under a predictor that is not kept."""
    texts: dict[Kind, Sequence[str]] = {"query": dataset.queries.texts, "document": dataset.documents.passages}
    view_config = replace(recipe.views, candidates="batch")
    views = RetrievalViews(*vectors, train, view_config, recipe.adapter.direction, texts)
    fit_config = replace(
        recipe.fit,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rates={**recipe.fit.learning_rates, "context_encoder.base": config.base_rate or _RATES[strategy]},
        warmup_epochs=0.1 * config.epochs,
        freeze=["context_encoder.base"] if strategy == "two-phase" else [],
        unfreeze_epoch=config.epochs // 2 if strategy == "two-phase" else None,
    )
    model.requires_grad_(strategy != "lora")
    with torch.random.fork_rng():
        torch.manual_seed(recipe.fit.seed)
        low_rank = _low_rank(model, config.rank) if strategy == "lora" else None
        dim = vectors[0].shape[1]
        towers = Towers(dim, recipe.adapter, TrainedBase(model, config.max_tokens))
        towers.fit_start(vectors[1])
        predictor = build_predictor(recipe.adapter.output_dim or dim, recipe.adapter)
        loader = EpochLoader(len(views), config.batch_size, views, seed=recipe.fit.seed)
        total_steps = fit_config.epochs * len(loader)
        jepa = build_jepa(towers, predictor, recipe.objective, total_steps=total_steps)
        # Encoders come in eval mode, and Lightning leaves that as it is.
        fit(jepa.train(), loader, fit_config, run=run, resume=resume)
    if low_rank is not None:
        low_rank.merge_and_unload()
    model.eval().requires_grad_(False)


def _low_rank(model: SentenceTransformer, rank: int) -> LoraModel:
    """Adds trainable low-rank maps to the linear maps of the model's transformer, in place.

    Source: Hu et al. 2021, "LoRA: low-rank adaptation of large language models"; scaled by 2.
    """
    from peft import LoraConfig, LoraModel

    options = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.1, target_modules="all-linear")
    return LoraModel(model[0].get_submodule("model"), options, "default")


@torch.no_grad()
def _interpolate(
    model: SentenceTransformer, before: Mapping[str, Tensor], after: Mapping[str, Tensor], strength: float
) -> None:
    for name, weight in model.state_dict().items():
        if weight.is_floating_point():
            weight.copy_(before[name].float().lerp(after[name], strength))


def _encoder(model: SentenceTransformer, base: SentenceEncoder) -> SentenceEncoder:
    return SentenceEncoder(model, name=f"{base.name}, tuned", batch_size=base.batch_size)
