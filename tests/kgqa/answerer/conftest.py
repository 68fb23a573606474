"""A tiny language model with a real tokeniser, and a small graph with questions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jepakit.kgqa.answerer.data import Example
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from tiny_llama import write_tiny_llama

NAMES = ("Ada", "Paris", "London", "Ada Lovelace School", "Éluard", "France")
WORDS = [*NAMES, "born in", "capital of", "Where was Ada born?", "system user assistant facts Question: Candidates:"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"), WORDS)


@pytest.fixture
def load_tiny(tiny_folder: Path) -> Callable[[], LanguageModel]:
    return lambda: load_language_model(str(tiny_folder), device="cpu")


@pytest.fixture
def tiny(load_tiny: Callable[[], LanguageModel]) -> LanguageModel:
    return load_tiny()


@pytest.fixture
def graph() -> KnowledgeGraph:
    triples = np.array([[0, 0, 2], [1, 1, 5], [3, 0, 2], [4, 0, 1], [0, 1, 0]])
    return KnowledgeGraph.from_rows(
        "towns", entity_table(NAMES), [Relation("born in"), Relation("capital of")], triples
    )


@pytest.fixture
def examples(graph: KnowledgeGraph) -> tuple[Example, ...]:
    def example(question: str, entities: list[int], answer: str) -> Example:
        subgraph = graph.induced(np.array(entities))
        return Example(question, subgraph, NAMES, np.log(np.full(6, 1 / 6)), (answer,))

    return (
        example("Where was Ada born?", [0, 2, 3], "London"),
        example("Capital of?", [1, 5, 4], "Paris"),
        example("Who was born in London, a town with a school?", [0, 1, 2, 3, 5], "Ada"),
        example("Who is alone?", [5], "France"),
    )
