"""Frozen sentence encoders behind one interface, with a cache of embeddings on disk."""

from jepakit.text.cache import CachedEncoder, EmbeddingCache, load_cached_encoder
from jepakit.text.encoder import Kind, SentenceEncoder, TextEncoder
from jepakit.text.load import DEFAULT_ENCODER, TextConfig, load_text_encoder

__all__ = [
    "DEFAULT_ENCODER",
    "CachedEncoder",
    "EmbeddingCache",
    "Kind",
    "SentenceEncoder",
    "TextConfig",
    "TextEncoder",
    "load_cached_encoder",
    "load_text_encoder",
]
