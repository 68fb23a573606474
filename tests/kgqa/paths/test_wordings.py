"""Wordings of relation paths."""

import numpy as np
import pytest

from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.paths.wordings import WORDINGS, as_words, word_path

GRAPH = KnowledgeGraph.from_rows(
    "toy", entity_table(["a", "b"]), [Relation("directed_by"), Relation("calls", "called by")], np.array([[0, 0, 1]])
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("directed_by", "directed by"),
        ("placeOfBirth", "place of birth"),
        ("film/film.year", "film film year"),
        ("DNA", "dna"),
    ],
)
def test_names_in_words(name: str, words: str) -> None:
    assert as_words(name) == words


def test_along_and_against() -> None:
    assert word_path(GRAPH, (0,), 1) == ["the directed by of X"]
    assert word_path(GRAPH, (2,), 1) == ["what has X as directed by"]
    # An inverse name reads as a relation of its own.
    assert word_path(GRAPH, (3,), 1) == ["the called by of X"]
    assert word_path(GRAPH, (0, 2), 1) == ["what has the directed by of X as directed by"]


def test_all_wordings_of_different_paths_differ() -> None:
    paths = [(a,) for a in range(4)] + [(a, b) for a in range(4) for b in range(4)]
    wordings = [tuple(word_path(GRAPH, path)) for path in paths]
    assert len(set(wordings)) == len(paths)
    assert all(len(set(one)) == WORDINGS for one in wordings)
