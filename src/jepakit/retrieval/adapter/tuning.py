"""Training the base model itself: all of its weights, or low-rank additions to them, with a predictor on top.

A tuned base changes the vectors of queries and documents, so all documents must be encoded again and results on other
topics change too. It is therefore returned only if it is significantly better on the development pairs, and at the
smallest strength that is as good as the best: its weights are interpolated between the base's and the trained ones
(Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.errors import ConfigError, MissingExtraError, require_at_least, require_choice
from jepakit.files import whole_folder
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.splits import train_and_dev
from jepakit.retrieval.encoder import Side, Towers, build_predictor
from jepakit.retrieval.measuring.metrics import ndcg, paired_interval, smallest_good, top_documents
from jepakit.retrieval.objective import build_jepa
from jepakit.retrieval.serving.model_folder import PROBES, require_torch, require_vectors
from jepakit.retrieval.views import RetrievalViews
from jepakit.text import Kind, SentenceEncoder, TextEncoder
from jepakit.text.encoder import longest, readable
from jepakit.text.quiet import quiet
from jepakit.training import EpochLoader, RunFolder, fit

if TYPE_CHECKING:
    from peft import LoraModel
    from sentence_transformers import SentenceTransformer

    from jepakit.retrieval.pretrain import PretrainConfig


Strategy = Literal["frozen", "two-phase", "full", "lora"]
"""``frozen``: the base is not trained. ``two-phase``: train the predictor first, then the base at a tiny learning rate.
``full``: train both from the start, the base at a small rate. ``lora``: train low-rank additions to the base's linear
maps."""

_BASE_RATES: dict[Strategy, float] = {"two-phase": 1e-6, "full": 2e-5, "lora": 2e-4}
#: Development queries on which strengths are compared.
_COMPARED_QUERIES = 200
#: Documents to search: the first of the base's ranking for each of these queries, then random documents up to a total.
_RANKED_DOCUMENTS, _COMPARED_DOCUMENTS = 30, 5000


@dataclass
class TuningConfig:
    """Training of the base, for every ``strategy`` but ``frozen``.

    The objective and the predictor's network are those of the adapter. The candidates are the documents of the step.

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
    config: PretrainConfig,
    *,
    cached: TextEncoder | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
) -> Tuned:
    """Trains the base on the training pairs and compares it with the original on the development pairs.

    Args:
        dataset: with splits train and dev; training pairs that share a document with dev are left out.
        encoder: the base, in torch; it is not changed.
        config: strategy (not ``frozen``), tuning, objective, network of the predictor, which is not kept, seed, and
            the confidence of the selection.
        cached: the same base with a cache of vectors; None: ``encoder`` encodes all texts.
        run: the folder for checkpoint and metrics; None writes nothing.
        resume: continue from the checkpoint in ``run``.

    Raises:
        ConfigError: the base does not run in torch, is no transformer (for LoRA), or two options exclude each other.
        DataError: there are no training or no development pairs.
        MissingExtraError: peft is not installed, for LoRA.
    """
    require_choice("strategy", config.strategy, _BASE_RATES)
    train, dev = train_and_dev(dataset)
    _require_trainable(encoder.model, config)
    encode = (cached or encoder).encode
    vectors = encode(dataset.queries.texts, "query"), encode(dataset.documents.passages, "document")
    # A copy: the weights of ``encoder`` must go on matching its fingerprint.
    model = copy.deepcopy(encoder.model).float()
    _fit(model, dataset, train, vectors, config, run=run, resume=resume)
    model.to(encoder.model.device)
    before = encoder.model.state_dict()
    after = {name: weight.clone() for name, weight in model.state_dict().items()}

    def interpolated(strength: float) -> SentenceEncoder:
        with torch.no_grad():
            for name, weight in model.state_dict().items():
                if weight.is_floating_point():
                    weight.copy_(before[name].float().lerp(after[name], strength))
        return SentenceEncoder(model, name=f"{encoder.name}, tuned", batch_size=encoder.batch_size)

    def gain(ours: Tensor, other: Tensor) -> tuple[float, float]:
        return paired_interval((ours - other).numpy(), confidence=config.selection.confidence, seed=config.seed)

    sample = _Sample.drawn(dataset, dev, vectors, config.seed)
    measured = {strength: sample.ndcg_of(interpolated(strength)) for strength in sorted(config.tuning.strengths)}
    strength = smallest_good(measured, gain)
    interval = gain(measured[strength], sample.base)
    better = interval[0] > 0
    return Tuned(
        encoder=interpolated(strength) if better else encoder,
        strength=strength if better else 0.0,
        base=float(sample.base.mean()),
        tuned=float(measured[strength].mean()),
        interval=interval,
        queries=len(sample.queries),
    )


def save_base(encoder: SentenceEncoder, folder: str | Path) -> None:
    """Writes a tuned base as a model folder of sentence-transformers. A failure leaves no partial folder.

    Raises:
        ModelError: the folder cannot be written, or the model loaded from it gives other vectors.
    """
    with whole_folder(Path(folder)) as partial, quiet():
        encoder.model.save(str(partial), create_model_card=False)
        require_vectors(partial, encoder, encoder.encode(PROBES, "query"), encoder.encode(PROBES, "document"))


class TrainedBase(nn.Module):
    """A sentence encoder that can be trained: ``Side`` of N texts, cut at ``max_tokens`` -> ``[N, dim]``, unit rows."""

    def __init__(self, model: SentenceTransformer, max_tokens: int) -> None:
        super().__init__()
        self.model, self.max_tokens = model, max_tokens

    def forward(self, side: Side) -> Tensor:
        """``Side`` of N texts -> ``[N, dim]``."""
        from sentence_transformers.util import batch_to_device

        tokens = min(self.max_tokens, longest(self.model, side.kind) or self.max_tokens)
        texts = [readable(text, tokens) for text in side.content if isinstance(text, str)]
        prompt = _prompt(self.model, side.kind)
        features = self.model.preprocess(texts, prompt=prompt, task=side.kind, max_length=tokens)
        vectors = self.model(batch_to_device(features, self.model.device), task=side.kind)["sentence_embedding"]
        return F.normalize(vectors[:, : self.model.truncate_dim].float(), dim=-1)


def _prompt(model: SentenceTransformer, kind: Kind) -> str | None:
    """The prompt that ``encode_query`` or ``encode_document`` puts before a text."""
    names = ("query",) if kind == "query" else ("document", "passage", "corpus")
    return next((model.prompts[name] for name in (*names, model.default_prompt_name) if name in model.prompts), None)


@dataclass(frozen=True)
class _Sample:
    """Development queries and documents, on which tuned weights are compared with the base.

    The documents are the relevant ones, the first of the base's ranking, and random ones. ``pairs`` has rows of these
    queries and documents, and ``base`` is the NDCG@10 of the base for each query.
    """

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    pairs: Pairs
    base: Tensor

    @classmethod
    def drawn(cls, dataset: RetrievalDataset, dev: Pairs, vectors: tuple[Tensor, Tensor], seed: int) -> _Sample:
        queries, documents = vectors
        asked = dev.relevant.queries
        generator = torch.Generator().manual_seed(seed)
        asked = asked[torch.randperm(len(asked), generator=generator)[:_COMPARED_QUERIES]].sort().values
        _, ranked = top_documents(queries[asked], documents, _RANKED_DOCUMENTS)
        judged = dev[torch.isin(dev.query, asked)]
        rows = torch.cat([ranked.flatten(), judged.document]).unique()
        others = torch.randperm(len(documents), generator=generator)
        others = others[~torch.isin(others, rows)][: max(0, _COMPARED_DOCUMENTS - len(rows))]
        rows = torch.cat([rows, others]).sort().values
        places = torch.searchsorted(asked, judged.query), torch.searchsorted(rows, judged.document)
        pairs = Pairs(*places, judged.grade, judged.page)
        passages = dataset.documents.passages
        return cls(
            queries=tuple(dataset.queries.texts[row] for row in asked.tolist()),
            documents=tuple(passages[row] for row in rows.tolist()),
            pairs=pairs,
            base=_ndcg(queries[asked], documents[rows], pairs),
        )

    def ndcg_of(self, encoder: TextEncoder) -> Tensor:
        """NDCG@10 of an encoder for each query, ``[Q]``."""
        return _ndcg(encoder.encode(self.queries, "query"), encoder.encode(self.documents, "document"), self.pairs)


def _ndcg(queries: Tensor, documents: Tensor, pairs: Pairs) -> Tensor:
    return ndcg(top_documents(queries, documents, 10)[1], torch.arange(len(queries)), pairs)


def _require_trainable(model: SentenceTransformer, config: PretrainConfig) -> None:
    """Checks before the training what would fail after it."""
    from sentence_transformers.base.modules import Transformer

    require_torch(model)
    if config.strategy == "two-phase" and config.tuning.epochs < 2:
        raise ConfigError("epochs", config.tuning.epochs, "at least 2 for two-phase: one for each phase")
    if config.strategy == "lora":
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
    config: PretrainConfig,
    *,
    run: RunFolder | None,
    resume: bool,
) -> None:
    """Trains the model in place, with a predictor that is not kept."""
    tuning, two_phase = config.tuning, config.strategy == "two-phase"
    texts: dict[Kind, Sequence[str]] = {"query": dataset.queries.texts, "document": dataset.documents.passages}
    view_config = replace(config.views, candidates="batch")
    views = RetrievalViews(*vectors, train, view_config, config.adapter.direction, texts)
    base_rate = tuning.base_rate or _BASE_RATES[config.strategy]
    fit_config = replace(
        config,
        epochs=tuning.epochs,
        batch_size=tuning.batch_size,
        learning_rates={**config.learning_rates, "context_encoder.base": base_rate},
        warmup_epochs=0.1 * tuning.epochs,
        freeze=["context_encoder.base"] if two_phase else [],
        unfreeze_epoch=tuning.epochs // 2 if two_phase else None,
    )
    model.requires_grad_(config.strategy != "lora")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        low_rank = _low_rank(model, tuning.rank) if config.strategy == "lora" else None
        dim = vectors[0].shape[1]
        towers = Towers(dim, config.adapter, TrainedBase(model, tuning.max_tokens))
        towers.fit_start(vectors[1])
        predictor = build_predictor(config.adapter.output_dim or dim, config.adapter)
        loader = EpochLoader(len(views), tuning.batch_size, views, seed=config.seed, shared="views")
        jepa = build_jepa(towers, predictor, config.objective, total_steps=tuning.epochs * len(loader))
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
