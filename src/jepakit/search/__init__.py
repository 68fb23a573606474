"""Search below the systems: documents found by vector, by word or by both, filtered, and changed while in use.

Modules are imported when a name of theirs is first used: words and documents are searched without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "BM25Config": "words",
    "Collection": "collection",
    "Documents": "documents",
    "Filter": "filters",
    "Hits": "hits",
    "Index": "index",
    "IndexConfig": "vectors",
    "LexicalIndex": "words",
    "Metadata": "documents",
    "Sentences": "sentences",
    "VectorIndex": "vectors",
    "create_collection": "collection",
    "open_collection": "collection",
    "parse_filter": "filters",
    "reciprocal_rank": "fusion",
    "weighted": "fusion",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"jepakit.search.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'jepakit.search' has no attribute {name!r}")
