"""What each retriever finds in a small graph whose texts are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_collection import WordEncoder

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph, Relation, Subgraph, entity_table
from jepakit.kgqa.datasets.generated import GeneratedConfig, generate
from jepakit.kgqa.retrievers import (
    BM25,
    KNN,
    PCST,
    EntityVectors,
    Hybrid,
    HybridConfig,
    KHop,
    KHopConfig,
    Path,
    PathConfig,
    PCSTConfig,
    Query,
    Retriever,
    entity_passages,
)
from jepakit.kgqa.retrievers.base import joined
from jepakit.kgqa.retrievers.neighbourhood import around, neighbours
from jepakit.kgqa.retrievers.path import shortest_paths
from jepakit.kgqa.retrievers.pcst import triple_prizes
from jepakit.kgqa.retrievers.steiner import steiner_tree

#: A film, its director, another film of his, that film's language, a person who is far away, and one without triples.
NAMES = ("matrix", "director", "bound", "english", "stranger", "hermit")
TEXTS = ("film science", "person", "film crime", "language", "person far", "person alone")
TRIPLES = [(0, 0, 1), (2, 0, 1), (2, 1, 3), (0, 1, 3), (4, 2, 3), (0, 0, 0)]


def graph_of(triples: list[tuple[int, int, int]], names: tuple[str, ...], texts: tuple[str, ...]) -> KnowledgeGraph:
    entities = entity_table([f"e{row}" for row in range(len(names))], names=names, texts=texts)
    relations = [Relation("directed by"), Relation("in language"), Relation("speaks")]
    return KnowledgeGraph.from_rows("toy", entities, relations, np.array(triples))


GRAPH = graph_of(TRIPLES, NAMES, TEXTS)
VECTORS = EntityVectors(GRAPH, WordEncoder())
ALL: list[Retriever] = [
    *(KNN(GRAPH, VECTORS), BM25(GRAPH), KHop(GRAPH, VECTORS), Path(GRAPH, VECTORS), PCST(GRAPH, VECTORS)),
    PCST(GRAPH, VECTORS, PCSTConfig(topk_e=2)),
    Hybrid(GRAPH, [KNN(GRAPH, VECTORS), BM25(GRAPH)]),
    Hybrid(GRAPH, [KNN(GRAPH, VECTORS), BM25(GRAPH)], HybridConfig("score")),
]


def names_of(rows: np.ndarray) -> list[str]:
    return [NAMES[row] for row in rows]


def triples_of(part: Subgraph) -> set[tuple[int, int, int]]:
    return {(int(part.entities[h]), r, int(part.entities[t])) for h, r, t in part.triples.tolist()}


@pytest.mark.parametrize("retriever", ALL, ids=lambda one: type(one).__name__)
def test_every_retriever_keeps_the_contract(retriever: Retriever) -> None:
    queries = [
        Query("crime film", (0,)),
        Query("person far", ()),
        Query("", ()),
        Query("film", (0, 2)),
        Query("", (5,)),
    ]
    found = retriever.retrieve(queries, 3)
    assert len(found) == len(queries)
    for query, one in zip(queries, found, strict=True):
        assert len(one.entities) == len(one.scores) <= 3
        assert not set(one.entities.tolist()) & set(query.topics)
        assert (np.diff(one.scores) <= 0).all()
        assert len(set(one.subgraph.entities.tolist())) == len(one.subgraph.entities)
        assert set(one.entities.tolist()) <= set(one.subgraph.entities.tolist())
        assert triples_of(one.subgraph) <= set(TRIPLES)
    alone = [retriever.retrieve([query], 3)[0] for query in queries]
    for one, other in zip(found, alone, strict=True):
        assert one.entities.tolist() == other.entities.tolist()
    with pytest.raises(ConfigError):
        retriever.retrieve(queries, 0)
    assert retriever.retrieve([], 3) == []


def test_nearest_by_vector_and_by_word() -> None:
    for retriever in (KNN(GRAPH, VECTORS), BM25(GRAPH)):
        one = retriever.retrieve([Query("crime film about a matrix", (0,))], 1)[0]
        assert names_of(one.entities) == ["bound"]
        assert triples_of(one.subgraph) == {(0, 0, 0)}


def test_vectors_are_those_of_name_and_text() -> None:
    assert entity_passages(GRAPH)[0] == "matrix film science"
    with pytest.raises(DataError) as error:
        EntityVectors(GRAPH, WordEncoder(), matrix=np.zeros((2, 48), np.float32))
    assert error.value.field == "matrix"


def test_hops_are_counted_from_the_topic() -> None:
    near, far = (
        KHop(GRAPH, VECTORS, KHopConfig(hops=hops)).retrieve([Query("person", (0,))], 9)[0].entities for hops in (1, 2)
    )
    assert set(names_of(near)) == {"director", "english"}
    assert set(names_of(far)) == {"director", "english", "bound", "stranger"}
    assert names_of(near)[0] == "director"


def test_the_way_from_the_topic_is_in_the_subgraph() -> None:
    one = KHop(GRAPH, VECTORS).retrieve([Query("stranger far", (0,))], 1)[0]
    assert names_of(one.entities) == ["stranger"]
    assert {(0, 1, 3), (4, 2, 3)} <= triples_of(one.subgraph)


EDGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=40)


@given(EDGES, st.sets(st.integers(0, 9), min_size=1, max_size=3), st.integers(1, 4), st.integers(0, 99))
def test_neighbours_are_the_most_similar_of_each(
    triples: list[tuple[int, int, int]], entities: set[int], most: int, seed: int
) -> None:
    graph = graph_of(triples, tuple("abcdefghij"), ("",) * 10)
    score = np.random.default_rng(seed).permutation(10).astype(np.float32)
    expected: set[int] = set()
    for entity in entities:
        near = {t for h, _, t in triples if h == entity} | {h for h, _, t in triples if t == entity}
        expected |= set(sorted(near, key=lambda one: -score[one])[:most])
    rows = np.array(sorted(entities))
    assert neighbours(graph, rows, most, lambda some: score[some]).tolist() == sorted(expected)
    assert around(graph, rows, 1, most, lambda some: score[some]).tolist() == sorted(expected | entities)


@given(EDGES, st.integers(0, 9), st.integers(1, 4))
def test_paths_are_shortest(triples: list[tuple[int, int, int]], start: int, length: int) -> None:
    graph = graph_of(triples, tuple("abcdefghij"), ("",) * 10)
    pairs = {(h, t) for h, _, t in triples} | {(t, h) for h, _, t in triples}
    distance = {start: 0}
    for steps in range(1, length + 1):
        new = {t for h, t in pairs if distance.get(h) == steps - 1} - set(distance)
        distance |= dict.fromkeys(new, steps)
    for target in range(10):
        steps = shortest_paths(graph, start, np.array([target]), length, lambda some: np.zeros(len(some), np.float32))
        walk = [tuple(pair) for pair in reversed(steps.tolist())]
        assert len(walk) == distance.get(target, 0)
        assert set(walk) <= pairs
        if walk:
            assert (walk[0][0], walk[-1][1]) == (start, target)
            assert all(before[1] == after[0] for before, after in itertools.pairwise(walk))


def test_of_two_shortest_paths_the_one_like_the_question_is_taken() -> None:
    # Both the director and the language lead from one film to the other.
    for text, between in (("person bound", "director"), ("language bound", "english")):
        one = Path(GRAPH, VECTORS, PathConfig(targets=1)).retrieve([Query(f"{text} crime film", (0,))], 9)[0]
        assert set(names_of(one.subgraph.entities)) == {"matrix", between, "bound"}
        assert len(one.subgraph.triples) == 2


def test_the_tree_joins_the_nearest_entities_through_what_is_like_the_question() -> None:
    query = Query("matrix bound film science film crime language")
    one = PCST(GRAPH, VECTORS, PCSTConfig(topk=2, cost_e=0.4)).retrieve([query], 9)[0]
    assert set(names_of(one.subgraph.entities)) == {"matrix", "bound", "english"}
    assert triples_of(one.subgraph) == {(2, 1, 3), (0, 1, 3)}
    # A connection that costs more than the second prize is not made, unless there may be two trees.
    dear = PCSTConfig(topk=2, cost_e=3)
    assert len(PCST(GRAPH, VECTORS, dear).retrieve([query], 9)[0].subgraph.entities) == 1
    both = PCSTConfig(topk=2, cost_e=3, clusters=2)
    assert set(names_of(PCST(GRAPH, VECTORS, both).retrieve([query], 9)[0].subgraph.entities)) == {"matrix", "bound"}


def test_prizes_of_relations_are_shared_by_their_triples() -> None:
    relation, similarity = np.array([0, 0, 1, 2, 2, 2]), np.array([0.1, 0.9, 0.5, 0.99], np.float32)
    # The nearest relation has no triple here; the next has 2 for its one, then 1 for three.
    assert triple_prizes(relation, similarity, 2).tolist() == pytest.approx([0, 0, 2, *[1 / 3] * 3])
    # Two triples of the nearest share 2; the one of the next may not have more than they have.
    assert triple_prizes(np.array([0, 0, 0, 1]), np.array([0.9, 0.1], np.float32), 2).tolist() == pytest.approx(
        [*[2 / 3] * 3, 0.99 * 2 / 3]
    )


def test_with_prizes_of_triples_those_of_the_nearest_relation_are_chosen() -> None:
    query = Query("matrix film science speaks")
    without, with_prizes = (
        triples_of(PCST(GRAPH, VECTORS, PCSTConfig(topk=1, topk_e=topk_e, hops=2)).retrieve([query], 9)[0].subgraph)
        for topk_e in (0, 1)
    )
    assert without == set()
    assert (4, 2, 3) not in with_prizes  # Out of reach: the nearest entity alone needs no hop.
    topics = Query("speaks", (0, 4))
    chosen = PCST(GRAPH, VECTORS, PCSTConfig(topk=1, topk_e=1)).retrieve([topics], 9)[0].subgraph
    assert (4, 2, 3) in triples_of(chosen)


def test_a_hybrid_ranks_first_what_both_rank_high_and_joins_the_subgraphs() -> None:
    parts = [KHop(GRAPH, VECTORS), BM25(GRAPH)]
    query = Query("crime person", (0,))
    first, second = (one.retrieve([query], 4)[0] for one in parts)
    one = Hybrid(GRAPH, parts).retrieve([query], 4)[0]
    share = dict.fromkeys(range(6), 0.0)
    for ranking in (first, second):
        for rank, row in enumerate(ranking.entities.tolist(), 1):
            share[row] += 1 / (60 + rank)
    assert one.scores.tolist() == pytest.approx([share[row] for row in one.entities.tolist()])
    assert triples_of(one.subgraph) == triples_of(first.subgraph) | triples_of(second.subgraph)
    for number in (1, 3):
        with pytest.raises(ConfigError):
            Hybrid(GRAPH, [KNN(GRAPH, VECTORS)] * number, HybridConfig("score"))


def test_joined_subgraphs_have_each_entity_and_triple_once() -> None:
    first, second = GRAPH.induced(np.array([3, 0, 1])), GRAPH.induced(np.array([1, 2, 0]))
    both = joined(GRAPH, [first, second])
    assert both.entities.tolist() == [0, 1, 2, 3]
    assert len(both.triples) == len(triples_of(both))
    assert triples_of(both) == triples_of(first) | triples_of(second)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [(PCSTConfig, "topk", 0), (PCSTConfig, "clusters", 0), (KHopConfig, "hops", 0), (PathConfig, "length", 0)],
)
def test_options_out_of_range_are_refused(config: type, field: str, value: int) -> None:
    with pytest.raises(ConfigError) as error:
        config(**{field: value})
    assert error.value.field == field


def test_candidates_near_the_nearest_entities_give_the_tree_of_the_whole_graph() -> None:
    config = GeneratedConfig(entities=2000, triples=40_000, relations=6, types=4, subjects=20, hub=2000)
    graph = generate(config, np.random.default_rng(0)).graph
    vectors = EntityVectors(graph, WordEncoder())
    triples = graph.triples()
    ends = triples[triples[:, 0] != triples[:, 2]][:, [0, 2]]
    for text in graph.column("text", range(5)):
        ours = PCST(graph, vectors).retrieve([Query(text)], 20)[0].subgraph.entities
        vector = vectors.encode([text])[0]
        prizes = np.zeros(2000)
        prizes[vectors.nearest(vector[None], 10).rows[0].numpy()] = np.arange(10, 0, -1)
        cosine = (vectors.matrix @ vector).astype(np.float64)
        whole, _ = steiner_tree(ends, prizes, 1 + 0.1 * (1 - cosine[ends].mean(1)))
        assert len(set(ours.tolist()) & set(whole.tolist())) >= 0.9 * len(set(ours.tolist()) | set(whole.tolist()))
