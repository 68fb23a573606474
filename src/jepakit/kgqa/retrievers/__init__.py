"""Retrievers that learn nothing: by vectors, by words, along the graph, and what combines them."""

from jepakit.kgqa.retrievers.base import Query, Retrieved, Retriever
from jepakit.kgqa.retrievers.bm25 import BM25
from jepakit.kgqa.retrievers.hybrid import Hybrid, HybridConfig
from jepakit.kgqa.retrievers.k_hop import KHop, KHopConfig
from jepakit.kgqa.retrievers.knn import KNN
from jepakit.kgqa.retrievers.path import Path, PathConfig
from jepakit.kgqa.retrievers.pcst import PCST, PCSTConfig
from jepakit.kgqa.retrievers.vectors import EntityVectors, entity_passages

__all__ = [
    "BM25",
    "KNN",
    "PCST",
    "EntityVectors",
    "Hybrid",
    "HybridConfig",
    "KHop",
    "KHopConfig",
    "PCSTConfig",
    "Path",
    "PathConfig",
    "Query",
    "Retrieved",
    "Retriever",
    "entity_passages",
]
