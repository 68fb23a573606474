"""Training a static encoder: predict the frozen encoder's vector of a text from its tokens.

The target encoder is frozen, so nothing can collapse: an average of the encoder, a stopped gradient or a regulariser
would have no role.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from jepakit.core import LOSSES, ContrastiveJEPA, InfoNCE, SeparateTarget, Where
from jepakit.core.contrastive import Contrast
from jepakit.core.distributed import alone
from jepakit.errors import ConfigError, DataError
from jepakit.progress import phase
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.network import (
    BagTensors,
    StaticNetwork,
    TokenVectors,
    build_predictor,
    continue_predictor,
    rows_in,
)
from jepakit.retrieval.static.texts import TrainingTexts
from jepakit.search.static.encoder import StaticEncoder
from jepakit.search.static.features import (
    Bags,
    Features,
    count_features,
    tokenized,
    tokenizer_of,
    without_settings,
)
from jepakit.search.static.gate import fit_gate
from jepakit.text import CachedEncoder, SentenceEncoder, TextEncoder

#: Share of the texts that is held out, and the most and the fewest of them.
_HELD_OUT, _MOST_HELD_OUT, _FEWEST = 0.1, 2000, 20
#: Mean length of the token vectors before training. Tokens of few texts keep much of what they start with: at a length
#: of 0.1 search was much worse, and without this start far worse.
_START = 3.0
#: The learning rates fall linearly to this part.
_LAST_RATE = 0.02


@dataclass(frozen=True)
class TrainedStatic:
    """A trained static encoder.

    Args:
        network: the encoder.
        curve: mean cosine to the base's vectors of held-out texts, before training and after each epoch.
        texts: how many it was trained on.
        answered: share of the held-out texts that the gate leaves to it.
    """

    network: StaticNetwork
    curve: tuple[float, ...]
    texts: int
    answered: float

    @property
    def sentence(self) -> str:
        """What came of it, in one sentence."""
        encoder = self.network.numpy()
        size = f"{encoder.features.singles} tokens and {len(encoder.features.pairs)} pairs, {encoder.megabytes:.1f} MB"
        return (
            f"static queries: held-out cosine to the base {self.curve[0]:.3f} -> {max(self.curve):.3f} after"
            f" {self.texts} texts, {size}; {self.answered:.0%} of held-out texts need no transformer"
        )


def fit_static(
    training: TrainingTexts,
    encoder: TextEncoder,
    config: StaticConfig,
    *,
    rules: str,
    documents: str,
    start: StaticEncoder | None = None,
) -> TrainedStatic:
    """Trains a static encoder on texts and the base's vectors of them.

    Args:
        training: the texts; a tenth, at most 2000, is held out: it shows what is reached, and sets the gate.
        encoder: the base.
        config: the options.
        rules: the tokeniser, see `tokenizer_rules`.
        documents: fingerprint of the vectors of documents that queries will be compared with.
        start: training continues from it, and its tokens that no text has get vectors, too; None: from the base's
            vectors of single tokens.

    Raises:
        DataError: there are too few texts.
        ConfigError: the table does not fit into ``megabytes``, or is wider than the base's vectors.
    """
    if len(training) < _FEWEST:
        raise DataError(
            "too few texts to learn from", field="texts", value=len(training), expected=f"{_FEWEST} or more"
        )
    numbers = tokenized(tokenizer_of(rules), training.texts)
    order = np.random.default_rng(config.seed).permutation(len(numbers))
    count = min(_MOST_HELD_OUT, max(1, int(_HELD_OUT * len(order))))
    chosen, rows = order[:count], order[count:]
    features, frequency = count_features(
        rules,
        [numbers[row] for row in rows],
        most=_most_rows(config, encoder.dim, rules),
        pairs=config.pairs,
        fewest=config.fewest,
        also=None if start is None else start.features.tokens >= 0,
    )
    bags = [features.of([some]).rows for some in numbers]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        vectors = TokenVectors(len(features), config.width or encoder.dim, encoder.dim)
        predictor = build_predictor(encoder.dim, config.hidden)
        _initialise(vectors, features, encoder, np.log((len(rows) + 1) / (frequency + 1)), start)
        if start is not None:
            continue_predictor(predictor, start)
        held = features.of([numbers[row] for row in chosen])
        # Of several processes that have trained an adapter the first goes on.
        with alone():
            curve = _train(vectors, predictor, bags, rows, (held, training.targets[chosen]), training.targets, config)
    network = StaticNetwork.of(
        features,
        vectors,
        predictor,
        hidden=config.hidden,
        base=encoder.name,
        fingerprint=encoder.fingerprint,
        documents=documents,
    )
    reached = (torch.from_numpy(network.numpy().encode_bags(held)) * training.targets[chosen]).sum(1).numpy()
    gate = fit_gate(features, frequency, held, reached, home=config.home)
    network.set_gate(gate)
    answered = float(gate.familiar(features, held).mean())
    return TrainedStatic(network, curve, len(rows), answered)


def tokenizer_rules(encoder: TextEncoder) -> str:
    """The tokeniser of a base model, as JSON of the library ``tokenizers``.

    Raises:
        ConfigError: the base has a tokeniser of another library.
    """
    inner = encoder.encoder if isinstance(encoder, CachedEncoder) else encoder
    tokenizer = inner.model.tokenizer if isinstance(inner, SentenceEncoder) else None
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, Tokenizer):
        expected = "transformer: the tokeniser of this base is not one of the library tokenizers, which static needs"
        raise ConfigError("query_encoder", "static", expected)
    return without_settings(backend.to_str())


def _most_rows(config: StaticConfig, dim: int, rules: str) -> int:
    width = config.width or dim
    if width > dim:
        raise ConfigError("width", width, f"at most {dim}, the width of the base's vectors")
    rows = rows_in(
        config.megabytes,
        dim=dim,
        width=width,
        hidden=config.hidden,
        rules=len(rules.encode()),
        vocabulary=tokenizer_of(rules).get_vocab_size(),
    )
    if rows < 1:
        raise ConfigError("megabytes", config.megabytes, "more: tokeniser and perceptron alone are larger")
    return rows


@torch.no_grad()
def _initialise(
    vectors: TokenVectors, features: Features, encoder: TextEncoder, rarity: np.ndarray, start: StaticEncoder | None
) -> None:
    """Each token starts as the base's vector of it alone, the longer the rarer it is; pairs start at zero.

    The lengths are those of TF-IDF (Spärck Jones 1972). What another encoder knows starts as its vectors. Where rows
    are narrower, the principal directions of these vectors are kept, and the linear map turns them back.
    """
    tokenizer = tokenizer_of(features.rules)
    numbers = np.flatnonzero(features.tokens >= 0).tolist()
    words = [tokenizer.decode([number]).removeprefix("##").strip() for number in numbers]
    lengths = _START * torch.from_numpy(rarity[: len(words)] / max(rarity[: len(words)].mean(), 1e-6)).float()
    wanted = torch.zeros(len(features), encoder.dim)
    wanted[: len(words)] = encoder.encode(words, "query") * lengths.unsqueeze(1)
    if start is not None:
        theirs = torch.from_numpy(start.features.rows_of(features))
        known = theirs >= 0
        wanted[known] = torch.from_numpy(start.vectors(theirs[known].numpy()))
    table = vectors.table.weight
    if isinstance(vectors.widen, nn.Linear):
        directions = torch.linalg.eigh(wanted.T @ wanted).eigenvectors.flip(1)[:, : table.shape[1]]
        vectors.widen.weight.copy_(directions)
        wanted = wanted @ directions
    table.copy_(wanted)


def _train(
    vectors: TokenVectors,
    predictor: nn.Module,
    bags: Sequence[np.ndarray],
    training: np.ndarray,
    held: tuple[Bags, Tensor],
    targets: Tensor,
    config: StaticConfig,
) -> tuple[float, ...]:
    """Trains in place; returns the held-out cosine before training and after each epoch.

    It does not end early: the search goes on to improve when the held-out cosine no longer does, for what a question
    is compared with is among the texts that are trained on.

    Args:
        vectors: the context encoder.
        predictor: on top of it.
        bags: the rows of each text.
        training: numbers of the texts to train on.
        held: held-out texts and their targets.
        targets: of all texts.
        config: the options.
    """
    jepa = ContrastiveJEPA(
        vectors,
        SeparateTarget(nn.Identity(), stop_gradient=True),
        predictor,
        LOSSES["cosine"],
        contrast=InfoNCE(temperature=config.temperature),
        contrast_weight=config.contrastive,
        weight=config.predictive,
    )
    others = [p for p in jepa.parameters() if p.requires_grad and p is not vectors.table.weight]
    # The table's gradient has the rows of a batch alone.
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.SparseAdam([vectors.table.weight], lr=config.table_rate), config.table_rate)
    ]
    if others:
        optimizers.append((torch.optim.AdamW(others, lr=config.rate, weight_decay=0.01), config.rate))
    draw = np.random.default_rng(config.seed)
    usable = np.array([row for row in training if len(bags[row])], np.int64)
    per_epoch = -(-len(usable) // config.batch_size)
    total, done = config.epochs * per_epoch, 0
    curve = [_reached(vectors, predictor, *held)]
    with phase("training static queries", total, unit="steps") as shown_steps:
        for _ in range(config.epochs):
            for batch in np.array_split(draw.permutation(usable), per_epoch):
                for optimizer, rate in optimizers:
                    optimizer.param_groups[0]["lr"] = rate * max(_LAST_RATE, 1 - done / total)
                    optimizer.zero_grad()
                views = Contrast(
                    _batch([bags[row] for row in batch], config.dropout, draw),
                    targets[batch],
                    Where(target_rows=torch.arange(len(batch))),
                )
                jepa(views).total.backward()
                for optimizer, _rate in optimizers:
                    optimizer.step()
                done += 1
                shown_steps.advance()
            curve.append(_reached(vectors, predictor, *held))
    return tuple(curve)


def _batch(bags: Sequence[np.ndarray], dropout: float, draw: np.random.Generator) -> BagTensors:
    if dropout:
        kept = [bag[draw.random(len(bag)) >= dropout] for bag in bags]
        bags = [some if len(some) else bag for some, bag in zip(kept, bags, strict=True)]
    counts = np.fromiter(map(len, bags), np.int64, len(bags))
    return BagTensors(torch.from_numpy(np.concatenate(bags)), torch.from_numpy(counts))


@torch.no_grad()
def _reached(vectors: TokenVectors, predictor: nn.Module, bags: Bags, targets: Tensor) -> float:
    """Mean cosine of the predictions to the targets."""
    return float(F.cosine_similarity(predictor(vectors(BagTensors.of(bags)), None), targets).mean())
