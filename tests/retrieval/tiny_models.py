"""Real models of a few thousand random weights: what sentence-transformers loads, without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

WORDS = ["open", "file", "read", "line", "the", "a", "how", "do", "i", "list", "sort", "socket", "query", ":"]


def save_bert(folder: Path, *, classes: int | None = None, seed: int = 0) -> Path:
    """A BERT of width 16 with its tokeniser; ``classes``: with a head of so many scores for a pair of texts."""
    folder.mkdir(parents=True)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*specials, *WORDS]))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(specials) + len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        initializer_range=0.5,
        num_labels=classes or 1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = BertModel(config) if classes is None else BertForSequenceClassification(config)
    model.save_pretrained(folder)
    return folder


def sentence_transformer(folder: Path, **options: Any) -> SentenceTransformer:
    """A sentence encoder of width 16."""
    transformer = Transformer(str(save_bert(folder)))
    return SentenceTransformer(modules=[transformer, Pooling(16), Normalize()], device="cpu", **options).eval()
