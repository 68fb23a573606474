"""A knowledge graph: both directions, entities, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, entity_table

RELATIONS = (Relation("directed_by", "director of"), Relation("starred_actors"))


def graph_of(triples: list[tuple[int, int, int]], size: int = 5) -> KnowledgeGraph:
    return KnowledgeGraph.from_rows("toy", entity_table([f"e{i}" for i in range(size)]), RELATIONS, np.array(triples))


TRIPLES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 4)), min_size=1, max_size=30)


@given(TRIPLES)
def test_every_triple_is_followed_in_both_directions(triples: list[tuple[int, int, int]]) -> None:
    graph = graph_of(triples)
    found = {
        (entity, int(graph.step[i]), int(graph.neighbour[i]))
        for entity in range(5)
        for i in range(graph.ptr[entity], graph.ptr[entity + 1])
    }
    assert found == {(h, r, t) for h, r, t in triples} | {(t, r + 2, h) for h, r, t in triples}
    assert graph.num_triples == len(set(triples))
    assert set(map(tuple, graph.triples().tolist())) == set(triples)


@given(TRIPLES, st.randoms())
def test_the_fingerprint_is_that_of_the_content(triples: list[tuple[int, int, int]], random: object) -> None:
    shuffled = sorted(triples, key=lambda _: random.random())  # pyright: ignore[reportAttributeAccessIssue]
    assert graph_of(triples).fingerprint == graph_of(shuffled).fingerprint
    h, r, t = triples[0]
    other = [one for one in triples if one != (h, r, t)] + [(h, 1 - r, t)]
    if set(other) != set(triples):
        assert graph_of(triples).fingerprint != graph_of(other).fingerprint


def test_the_fingerprint_changes_with_a_name_and_not_with_the_storage() -> None:
    table = entity_table(["a", "b"], texts=["one", "two"])
    parts = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    triples = np.array([[0, 0, 1]])
    whole, chunked, other = (
        KnowledgeGraph.from_rows("g", entities, RELATIONS, triples).fingerprint
        for entities in (table, parts.combine_chunks(), entity_table(["a", "b"], texts=["onet", "wo"]))
    )
    assert whole == chunked != other


def test_names_of_steps_and_of_entities() -> None:
    graph = graph_of([(0, 0, 1), (1, 1, 2)])
    assert [graph.step_name(step) for step in range(4)] == [
        "directed_by",
        "starred_actors",
        "director of",
        "~starred_actors",
    ]
    assert graph.column("name", [2, 0]) == ["e2", "e0"]
    assert graph.rows(["e3", "e0"]).tolist() == [3, 0]
    assert graph.find(["nobody", "e1"]).tolist() == [-1, 1]
    with pytest.raises(DataError) as error:
        graph.rows(["e0", "e33"])
    assert error.value.value == "e33"
    assert "did you mean" in str(error.value)


@pytest.mark.parametrize("triples", [[(0, 2, 1)], [(5, 0, 1)], [(0, 0, -1)]])
def test_rows_that_do_not_exist_are_refused(triples: list[tuple[int, int, int]]) -> None:
    with pytest.raises(DataError) as error:
        graph_of(triples)
    assert error.value.field in ("head", "relation", "tail")


def test_an_empty_graph_and_repeated_ids_are_refused() -> None:
    with pytest.raises(DataError, match="no triples"):
        KnowledgeGraph.from_rows("g", entity_table(["a"]), RELATIONS, np.empty((0, 3), np.int64))
    with pytest.raises(DataError) as error:
        KnowledgeGraph.from_rows("g", entity_table(["a", "b", "a"]), RELATIONS, np.array([[0, 0, 1]]))
    assert (error.value.field, error.value.value) == ("id", "a")


def test_questions_are_selected_in_order() -> None:
    questions = Questions(("q0", "q1", "q2"), ((0,), (), (2,)), ((1,), (2,), ()), missing=(0, 0, 1))
    chosen = questions[[2, 0]]
    assert chosen.texts == ("q2", "q0")
    assert (chosen.topics, chosen.answers, chosen.missing, chosen.paths) == (((2,), (0,)), ((), (1,)), (1, 0), ())
    with pytest.raises(DataError) as error:
        Questions(("q",), ((), ()), ((),))
    assert error.value.field == "topics"


@given(TRIPLES, st.lists(st.integers(0, 4), min_size=1, unique=True))
def test_an_induced_subgraph_has_all_triples_between_its_entities(
    triples: list[tuple[int, int, int]], entities: list[int]
) -> None:
    part = graph_of(triples).induced(np.array(entities))
    back = {(entities[h], r, entities[t]) for h, r, t in part.triples.tolist()}
    assert back == {(h, r, t) for h, r, t in triples if h in entities and t in entities}
    assert part.entities.tolist() == entities
