"""Training the base model itself: all of its weights, or low-rank additions to them, with a predictor on top.

A tuned base changes the vectors of queries and documents, so all documents must be encoded again and results on other
topics change too. It is therefore returned only where it is significantly better on the development pairs, and at the
smallest strength that is as good as the best: its weights are interpolated between the base's and the trained ones
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


Strategy = Literal["frozen", "two-phase", "full", "lora"]
"""``frozen``: the base is not trained. ``two-phase``: train the predictor first, then the base at a tiny learning rate.
``full``: train both from the start, the base at a small rate. ``lora``: train low-rank additions to the base's linear
maps."""

_BASE_RATES: dict[Strategy, float] = {"two-phase": 1e-6, "full": 2e-5, "lora": 2e-4}
#: Development queries on which strengths are compared.
_COMPARED_QUERIES = 200
#: Documents to search: the first of the base's ranking for each of these queries, then random ones up to a total.
_RANKED_DOCUMENTS, _COMPARED_DOCUMENTS = 30, 5000


@dataclass
class TuningConfig:
    """How the base is trained, for every ``strategy`` but ``frozen``.

    The objective and the predictor's network are those of the adapter. A prediction is contrasted with the documents of
    the same step.

    Args:
        epochs: passes over the training pairs.
        batch_size: pairs per step.
        base_rate: learning rate of the base's weights; None: 1e-6 for two-phase, 2e-5 for full, 2e-4 for lora.
        max_tokens: tokens after which a text is cut in training.
        rank: rank of the LoRA additions.
        strengths: interpolations between the base's weights (0) and the trained ones (1) to compare; chosen is the
            smallest that is not significantly worse than the best.
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
    """The outcome of tuning a base model.

    Args:
        encoder: the tuned base, or the given one where tuning did not improve it significantly.
        strength: interpolation between the base's weights (0) and the trained ones (1).
        base: NDCG@10 of the base on the development pairs.
        tuned: NDCG@10 at the smallest strength that is not significantly worse than the best.
        interval: confidence interval of the difference, paired by query.
        queries: number of development queries compared.
    """

    encoder: SentenceEncoder
    strength: float
    base: float
    tuned: float
    interval: tuple[float, float]
    queries: int

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        low, high = self.interval
        measured = f"development NDCG {self.base:.4f} -> {self.tuned:.4f} on {self.queries} queries"
        chosen = f"tuned weights at strength {self.strength:g}"
        if not self.strength:
            chosen = "the tuned base is not significantly better, so the original base is kept"
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
    """Trains the base on the training pairs and compares it with the original on the development pairs.

    Args:
        dataset: with splits train and dev; training pairs that share a document with dev are left out.
        encoder: the base, in torch; it is not changed.
        recipe: objective, predictor and its learning rate, precision and seed. The predictor is not kept.
        config: epochs, batch size, learning rate and strengths.
        strategy: which weights are trained.
        cached: the same base with a cache of vectors; None: ``encoder`` encodes all texts.
        confidence: level of the interval of the gain, which must lie above 0.
        run: the folder for checkpoint and metrics; None writes nothing.
        resume: continue from the checkpoint in ``run``.

    Raises:
        ConfigError: the base does not run in torch, is no transformer (for LoRA), or two options exclude each other.
        DataError: there are no training or no development pairs.
        MissingExtraError: peft is not installed, for LoRA.
    """
    require_choice("strategy", strategy, ("two-phase", "full", "lora"))
    train, dev = train_and_dev(dataset)
    _require_trainable(encoder.model, config, strategy)
    encode = (cached or encoder).encode
    vectors = encode(dataset.queries.texts, "query"), encode(dataset.documents.passages, "document")
    # A copy: the weights of ``encoder`` must go on matching its fingerprint.
    model = copy.deepcopy(encoder.model).float()
    _fit(model, dataset, train, vectors, recipe, config, strategy, run=run, resume=resume)
    model.to(encoder.model.device)
    before = encoder.model.state_dict()
    after = {name: weight.clone() for name, weight in model.state_dict().items()}
    comparison = _Comparison.of(dataset, dev, vectors, recipe.fit.seed)
    measured: dict[float, Tensor] = {}
    for strength in sorted(config.strengths):
        _interpolate(model, before, after, strength)
        measured[strength] = comparison.ndcg_of(_encoder(model, encoder))

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
    """Writes a tuned base as a model folder of sentence-transformers. A failure leaves no partial folder.

    Raises:
        ModelError: the folder cannot be written, or the model loaded from it gives other vectors.
    """
    with whole_folder(folder) as partial, quiet():
        encoder.model.save(str(partial), create_model_card=False)
        require_vectors(partial, encoder, encoder.encode(PROBES, "query"), encoder.encode(PROBES, "document"))


class TrainedBase(nn.Module):
    """A sentence encoder that can be trained: ``Side`` of texts -> ``[N, dim]``, rows of length 1.

    Args:
        model: the encoder.
        max_tokens: tokens after which a text is cut.
    """

    def __init__(self, model: SentenceTransformer, max_tokens: int) -> None:
        super().__init__()
        self.model, self.max_tokens = model, max_tokens

    def forward(self, side: Side) -> Tensor:
        """A side of N texts -> ``[N, dim]``."""
        from sentence_transformers.util import batch_to_device

        tokens = self._tokens(side.kind)
        texts = [readable(text, tokens) for text in side.content if isinstance(text, str)]
        prompt = _prompt(self.model, side.kind)
        features = self.model.preprocess(texts, prompt=prompt, task=side.kind, max_length=tokens)
        vectors = self.model(batch_to_device(features, self.model.device), task=side.kind)["sentence_embedding"]
        return F.normalize(vectors[:, : self.model.truncate_dim].float(), dim=-1)

    def _tokens(self, kind: Kind) -> int:
        """The most tokens of a text that are encoded."""
        from sentence_transformers.base.modules import Transformer

        first, longest = self.model[0], self.model.max_seq_length
        if isinstance(first, Transformer):
            longest = (first.query_length if kind == "query" else first.document_length) or longest
        return self.max_tokens if longest is None else int(min(self.max_tokens, longest))


def _prompt(model: SentenceTransformer, kind: Kind) -> str | None:
    """The prompt that ``encode_query`` or ``encode_document`` puts before a text."""
    names = ("query",) if kind == "query" else ("document", "passage", "corpus")
    return next((model.prompts[name] for name in (*names, model.default_prompt_name) if name in model.prompts), None)


@dataclass(frozen=True)
class _Comparison:
    """A sample of development queries and of documents, on which tuned weights are compared with the base.

    Args:
        queries: texts of the queries.
        documents: texts of the relevant documents, the first of the base's ranking, and random ones.
        pairs: judgements, as rows of ``queries`` and ``documents``.
        base: NDCG@10 of the base for each query.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    pairs: Pairs
    base: Tensor

    @classmethod
    def of(cls, dataset: RetrievalDataset, dev: Pairs, vectors: tuple[Tensor, Tensor], seed: int) -> _Comparison:
        asked = dev.relevant.queries
        generator = torch.Generator().manual_seed(seed)
        asked = asked[torch.randperm(len(asked), generator=generator)[:_COMPARED_QUERIES]].sort().values
        texts = tuple(dataset.queries.texts[row] for row in asked.tolist())
        queries, documents = vectors
        _, ranked = top_documents(queries[asked], documents, _RANKED_DOCUMENTS)
        judged = dev[torch.isin(dev.query, asked)]
        rows = torch.cat([ranked.flatten(), judged.document]).unique()
        others = torch.randperm(len(documents), generator=generator)
        others = others[~torch.isin(others, rows)][: max(0, _COMPARED_DOCUMENTS - len(rows))]
        rows = torch.cat([rows, others]).sort().values
        pairs = Pairs(torch.searchsorted(asked, judged.query), torch.searchsorted(rows, judged.document), judged.grade)
        passages = dataset.documents.passages
        comparison = cls(texts, tuple(passages[row] for row in rows.tolist()), pairs, torch.empty(0))
        return replace(comparison, base=comparison._ndcg(queries[asked], documents[rows]))

    def ndcg_of(self, encoder: TextEncoder) -> Tensor:
        """NDCG@10 of an encoder for each query, ``[Q]``."""
        return self._ndcg(encoder.encode(self.queries, "query"), encoder.encode(self.documents, "document"))

    def _ndcg(self, queries: Tensor, documents: Tensor) -> Tensor:
        _, ranked = top_documents(queries, documents, 10)
        return ndcg(ranked, torch.arange(len(queries)), self.pairs)


def _require_trainable(model: SentenceTransformer, config: TuningConfig, strategy: Strategy) -> None:
    """Checks before the training what would fail after it."""
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
    """Trains the model in place, with a predictor that is not kept."""
    texts: dict[Kind, Sequence[str]] = {"query": dataset.queries.texts, "document": dataset.documents.passages}
    view_config = replace(recipe.views, candidates="batch")
    views = RetrievalViews(*vectors, train, view_config, recipe.adapter.direction, texts)
    fit_config = replace(
        recipe.fit,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rates={**recipe.fit.learning_rates, "context_encoder.base": config.base_rate or _BASE_RATES[strategy]},
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
        # Sentence encoders are in eval mode, which Lightning does not change.
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
