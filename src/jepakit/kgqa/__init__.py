"""Questions over a knowledge graph: pre-train on the graph, retrieve by meaning, answer with the path shown."""

from jepakit.errors import requires_extra

with requires_extra("kgqa"):
    from jepakit.kgqa.asking import Asker
    from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, Subgraph
    from jepakit.kgqa.datasets import load_graph, load_splits
    from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
    from jepakit.kgqa.evaluate import EvaluateConfig, evaluate
    from jepakit.kgqa.finetune import FinetuneConfig, finetune, open_answerer
    from jepakit.kgqa.objective import ObjectiveConfig
    from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
    from jepakit.kgqa.pipeline import PipelineConfig, train
    from jepakit.kgqa.presets import PRESETS, preset
    from jepakit.kgqa.pretrain import PretrainConfig, pretrain
    from jepakit.kgqa.retriever import PathRetriever, Ranked, open_retriever
    from jepakit.kgqa.run import KnowledgeRun
    from jepakit.training.results import Pretrained

__all__ = [
    "PRESETS",
    "Asker",
    "EncoderConfig",
    "EvaluateConfig",
    "FinetuneConfig",
    "KnowledgeEncoder",
    "KnowledgeGraph",
    "KnowledgeRun",
    "ObjectiveConfig",
    "PathRetriever",
    "PipelineConfig",
    "PretrainConfig",
    "Pretrained",
    "Questions",
    "Ranked",
    "Relation",
    "RetrieverConfig",
    "Subgraph",
    "evaluate",
    "finetune",
    "fit_retriever",
    "load_graph",
    "load_splits",
    "open_answerer",
    "open_retriever",
    "preset",
    "pretrain",
    "train",
]
