"""Search below the systems: documents found by vector, by word or by both, filtered, and changed while in use."""

from jepakit.search.collection import Collection, create_collection, open_collection
from jepakit.search.documents import Documents, Metadata
from jepakit.search.filters import Filter, parse_filter
from jepakit.search.fusion import reciprocal_rank, weighted
from jepakit.search.hits import Hits
from jepakit.search.index import Index
from jepakit.search.sentences import Sentences
from jepakit.search.vectors import IndexConfig, VectorIndex
from jepakit.search.words import BM25Config, LexicalIndex

__all__ = [
    "BM25Config",
    "Collection",
    "Documents",
    "Filter",
    "Hits",
    "Index",
    "IndexConfig",
    "LexicalIndex",
    "Metadata",
    "Sentences",
    "VectorIndex",
    "create_collection",
    "open_collection",
    "parse_filter",
    "reciprocal_rank",
    "weighted",
]
