"""A transformer of a few kilobytes, saved as a real one is: its files can be copied, damaged and loaded in no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

WORDS = ("water", "justice", "1", "2", "cat", "dog", "query", "passage", ":", *(f"w{number}" for number in range(20)))
DIM = 16
POSITIONS = 64


def tiny_tokenizer(words: tuple[str, ...] = WORDS) -> PreTrainedTokenizerFast:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    tokenizer = Tokenizer(WordPiece({word: place for place, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=POSITIONS,
    )


def write_model(
    folder: Path,
    *,
    words: tuple[str, ...] = WORDS,
    rows: int | None = None,
    roberta: bool = False,
    prompts: dict[str, str] | None = None,
) -> Path:
    """A model with random weights.

    Args:
        folder: where.
        words: what its tokeniser knows.
        rows: of its table of words; None: one for each word.
        roberta: positions are counted from the one after that of padding.
        prompts: by kind.
    """
    shape: dict[str, Any] = {
        "vocab_size": rows if rows is not None else len(words) + 4,
        "hidden_size": DIM,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": DIM,
        "pad_token_id": 0,
    }
    transformer: nn.Module = (
        RobertaModel(RobertaConfig(**shape, max_position_embeddings=POSITIONS + 1, type_vocab_size=1))
        if roberta
        else BertModel(BertConfig(**shape, max_position_embeddings=POSITIONS))
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in transformer.parameters():
            weight.normal_(generator=generator)
    transformer.save_pretrained(folder / "plain")
    tiny_tokenizer(words).save_pretrained(folder / "plain")
    modules: list[nn.Module] = [Transformer(str(folder / "plain")), Pooling(DIM)]
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder / "model"))
    return folder / "model"
