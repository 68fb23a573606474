"""A sentence-transformers model that can be taught, and collections that it can be taught by.

It knows each word of a vocabulary by a random vector. What is asked is a part of a document drowned in words that say
nothing, each query in its own: who learns to overlook those words finds the documents of queries it has not seen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from tiny_model import tiny_tokenizer
from toy_collection import collection
from transformers import BertConfig, BertModel

from jepakit.retrieval.data import Pairs, RetrievalDataset

NOISE = tuple(f"n{number}" for number in range(6))
WORDS = ("water", "justice", "query", ":", *NOISE, *(f"d{number}" for number in range(30)))
DIM = 32


def write_word_model(folder: Path, **options: Any) -> Path:
    """A model folder; ``options`` of `SentenceTransformer`."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        shape = {"hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": DIM}
        config = BertConfig(vocab_size=len(WORDS) + 4, max_position_embeddings=64, initializer_range=0.2, **shape)
        transformer = BertModel(config)
    transformer.save_pretrained(folder / "plain")
    tiny_tokenizer(WORDS).save_pretrained(folder / "plain")
    modules = [Transformer(str(folder / "plain")), Pooling(DIM), Normalize()]
    SentenceTransformer(modules=modules, device="cpu", **options).save(str(folder / "model"))
    return folder / "model"


def noisy(documents: int = 150, *, answers: bool = True, seed: int = 0) -> RetrievalDataset:
    """``answers``: that documents answer the queries they were made of, else any others."""
    clear = collection(documents, foreign=False, seed=seed)
    draw = np.random.default_rng(seed)
    asked = tuple(" ".join([text, *draw.choice(NOISE, 8)]) for text in clear.queries.texts)
    answer = range(documents) if answers else draw.permutation(documents).tolist()
    pairs = Pairs.of(list(range(documents)), list(answer))
    return replace(clear, queries=replace(clear.queries, texts=asked), splits={"all": pairs})
