"""Fine-tuning the encoder itself, as sentence-transformers does: what adapters of a frozen encoder are compared with.

    python -m benchmarks.retrieval_rivals            # an hour on two cores
    python -m benchmarks.retrieval_rivals --quick    # minutes: one seed, StackFAQ

MultipleNegativesRankingLoss on the same pairs as `benchmarks.retrieval_adapters`, for the whole encoder at 2e-5 and for
LoRA. Every document is encoded again afterwards. Forward passes run in bfloat16 (the mean cosine to float32 is above
.9999, and it takes a third of the time). Elsewhere means StackFAQ and Cranfield, the two that are quickly encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor

from benchmarks.harness import Options, Steps, data_dir, main, mean_row
from benchmarks.retrieval_homes import HOMES, home_dataset
from jepakit.retrieval import Pairs, RetrievalDataset, load_dataset, paired_interval
from jepakit.retrieval.measuring.metrics import ndcg, top_documents
from jepakit.text import load_text_encoder
from jepakit.training.result_rows import ResultRow

BASE, WHOLE, LORA = "base model", "MultipleNegatives, whole encoder", "MultipleNegatives, LoRA"
#: Fine-tuning is measured on these besides its home.
ELSEWHERE = ("stackfaq", "cranfield")
Values = dict[str, list[float]]
"""Collection -> NDCG@10 of each test question."""


@dataclass(frozen=True)
class Schedule:
    """How long: passes over the pairs, and the seeds that time allows."""

    epochs: int
    seeds: Sequence[int]


SCHEDULES = {
    "SciFact, disjoint": Schedule(4, (0, 1, 2)),
    "SciFact, official": Schedule(4, (0,)),
    "StackFAQ": Schedule(1, (0,)),
    "MedQuAD, disjoint": Schedule(1, (0,)),
}
RATES = {WHOLE: 2e-5, LORA: 2e-4}
BATCH = 32
#: Tokens that training reads; documents are encoded to the model's own length.
TRAINED_TOKENS = 128


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    table: list[ResultRow] = []
    for home, (name, disjoint, _) in HOMES.items():
        if options.quick and name != "stackfaq":
            continue
        load = cache(partial(load_dataset, name, data_dir=data_dir()))
        away = [other for other in ELSEWHERE if other != name]
        seeds = (0,) if options.quick else SCHEDULES[home].seeds
        found: dict[str, list[Values]] = {}
        for method in (BASE, WHOLE, LORA):
            for seed in (0,) if method == BASE else seeds:
                measure = partial(_measured, home, lambda load=load, disjoint=disjoint: home_dataset(load(), disjoint))
                value = steps.value((home, method, seed, options.quick), partial(measure, [name, *away], method, seed))
                found.setdefault(method, []).append(value)
        table += _rows(home, name, found)
    return table


def _measured(
    home: str, dataset: Callable[[], RetrievalDataset], names: Sequence[str], method: str, seed: int
) -> Values:
    model = load_text_encoder().model
    if method != BASE:
        train = dataset().splits["train"].relevant
        model = _tuned(model, dataset(), train, method, SCHEDULES[home].epochs, seed)
    return {name: _values(model, load_dataset(name, data_dir=data_dir())) for name in names}


def _tuned(
    model: SentenceTransformer, dataset: RetrievalDataset, train: Pairs, method: str, epochs: int, seed: int
) -> SentenceTransformer:
    length = model.max_seq_length
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if method == LORA:
            from peft import LoraConfig

            targets = ["query", "key", "value"]
            model.add_adapter(LoraConfig(r=16, lora_alpha=32, lora_dropout=0.1, target_modules=targets))
        else:
            model.requires_grad_(True)
        model.train()
        loss = MultipleNegativesRankingLoss(model)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATES[method])
        steps = epochs * -(-len(train) // BATCH)
        warmup = max(1, steps // 10)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
        )
        passages = dataset.documents.passages
        model.max_seq_length = TRAINED_TOKENS
        for _ in range(epochs):
            for batch in torch.randperm(len(train)).split(BATCH):
                texts = (
                    [dataset.queries.texts[row] for row in train.query[batch].tolist()],
                    [passages[row] for row in train.document[batch].tolist()],
                )
                with torch.autocast("cpu", torch.bfloat16):
                    value = loss([_tokens(model, side) for side in texts], torch.empty(0))
                value.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
    assert length is not None
    model.max_seq_length = length
    return model.eval()


def _tokens(model: SentenceTransformer, texts: Sequence[str]) -> dict[str, Any]:
    return dict(model.preprocess(list(texts)))


def _values(model: SentenceTransformer, dataset: RetrievalDataset) -> list[float]:
    test = dataset.splits["test"]
    asked = test.relevant.queries
    queries = _encoded(model, [dataset.queries.texts[row] for row in asked.tolist()])
    _, found = top_documents(queries, _encoded(model, dataset.documents.passages), 10)
    return ndcg(found, asked, test).tolist()


@torch.no_grad()
def _encoded(model: SentenceTransformer, texts: Sequence[str]) -> Tensor:
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    vectors = torch.zeros(len(texts), model.get_embedding_dimension() or 0)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        with torch.autocast("cpu", torch.bfloat16):
            found = model(_tokens(model, [texts[row] for row in batch]))["sentence_embedding"]
        vectors[batch] = F.normalize(found.float(), dim=-1)
    return vectors


def _rows(home: str, name: str, found: dict[str, list[Values]]) -> list[ResultRow]:
    base = found[BASE][0]
    table: list[ResultRow] = []
    for method, seeds in found.items():
        scores = [float(np.mean(values[name])) for values in seeds]
        difference = np.mean([values[name] for values in seeds], axis=0) - base[name]
        low, high = paired_interval(difference)
        note = "" if method == BASE else f"against the base model {difference.mean():+.4f} ({low:+.4f} to {high:+.4f})"
        table.append(mean_row(home, method, "NDCG@10 at home", scores, note=note))
        if method == BASE:
            continue
        for away in [other for other in base if other != name]:
            changes = [float(np.mean(values[away]) - np.mean(base[away])) for values in seeds]
            table.append(mean_row(home, method, f"change of NDCG@10 on {away}", changes))
    return table


if __name__ == "__main__":
    main("retrieval_rivals", rows, depends_on="retrieval/datasets/*.py")
