"""Search adapted to documents of one's own: load, train an adapter on a frozen encoder, index, search, measure."""

from jepakit.errors import requires_extra

with requires_extra("retrieval"):
    from jepakit.retrieval.adapter.selection import Choice, SelectionConfig
    from jepakit.retrieval.adapter.tuning import Tuned, TuningConfig, save_base, tune
    from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
    from jepakit.retrieval.datasets import load_dataset
    from jepakit.retrieval.datasets.made_pairs import made_pairs
    from jepakit.retrieval.datasets.splits import shared_documents, split_by_document, without_shared
    from jepakit.retrieval.encoder import Adapter, AdapterConfig
    from jepakit.retrieval.evaluate import EvaluateConfig, evaluate
    from jepakit.retrieval.measuring.comparison import Comparison, Measured, compare, measure
    from jepakit.retrieval.measuring.metrics import paired_interval
    from jepakit.retrieval.objective import ObjectiveConfig
    from jepakit.retrieval.presets import PRESETS
    from jepakit.retrieval.pretrain import PretrainConfig, Pretrained, pretrain, with_training_pairs
    from jepakit.retrieval.ranking import SearchSettings, encode_sentences
    from jepakit.retrieval.serving.searcher import Found, Searcher
    from jepakit.retrieval.views import ViewConfig
    from jepakit.search import (
        BM25Config,
        Hits,
        Index,
        IndexConfig,
        LexicalIndex,
        Sentences,
        parse_filter,
        reciprocal_rank,
        weighted,
    )
    from jepakit.search.documents import Documents

__all__ = [
    "PRESETS",
    "Adapter",
    "AdapterConfig",
    "BM25Config",
    "Choice",
    "Comparison",
    "Documents",
    "EvaluateConfig",
    "Found",
    "Hits",
    "Index",
    "IndexConfig",
    "LexicalIndex",
    "Measured",
    "ObjectiveConfig",
    "Pairs",
    "PretrainConfig",
    "Pretrained",
    "Queries",
    "RetrievalDataset",
    "SearchSettings",
    "Searcher",
    "SelectionConfig",
    "Sentences",
    "Tuned",
    "TuningConfig",
    "ViewConfig",
    "compare",
    "encode_sentences",
    "evaluate",
    "load_dataset",
    "made_pairs",
    "measure",
    "paired_interval",
    "parse_filter",
    "pretrain",
    "reciprocal_rank",
    "save_base",
    "shared_documents",
    "split_by_document",
    "tune",
    "weighted",
    "with_training_pairs",
    "without_shared",
]
