"""Paths that are walked once: their sets, shares and the best of them, by brute force."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.paths.candidates import find_candidates
from jepakit.kgqa.paths.reach import PathTable, Walker
from jepakit.kgqa.paths.walked import WalkedPaths
from kg_samples import graphs


def reached_by(graph: KnowledgeGraph, topic: int, steps: tuple[int, ...]) -> set[int]:
    reached = {topic}
    for step in steps:
        own = [entry for entity in reached for entry in range(graph.ptr[entity], graph.ptr[entity + 1])]
        reached = {int(graph.neighbour[entry]) for entry in own if graph.step[entry] == step} - {topic}
    return reached


@given(graphs(most=8), st.data())
def test_the_best_path_is_the_shortest_of_the_largest_share(graph: KnowledgeGraph, data: st.DataObject) -> None:
    rows = st.lists(st.integers(0, graph.num_entities - 1), max_size=3, unique=True)
    listed = data.draw(st.lists(st.tuples(rows, rows), min_size=1, max_size=4))
    topics, answers = zip(*listed, strict=True)
    questions = Questions(("?",) * len(listed), tuple(map(tuple, topics)), tuple(map(tuple, answers)))
    table = PathTable(graph.num_steps)
    walked = WalkedPaths.of(Walker(graph), table, questions, 2)
    row, share = walked.best()
    for place, (starts, gold) in enumerate(listed):
        shares: list[float] = []
        for c in range(walked.ptr[place], walked.ptr[place + 1]):
            assert walked.topic[c] in starts
            reached = reached_by(graph, int(walked.topic[c]), table.steps(int(walked.path[c])))
            assert walked.sets.indices[walked.sets.indptr[c] : walked.sets.indptr[c + 1]].tolist() == sorted(reached)
            shares.append(len(reached & {*gold}) / len(reached))
        assert share[place] == max(shares, default=0)
        if not share[place]:
            assert row[place] == -1
        else:
            lengths = [len(table.steps(int(walked.path[c]))) for c in range(walked.ptr[place], walked.ptr[place + 1])]
            best = min(length for length, one in zip(lengths, shares, strict=True) if one == share[place])
            assert lengths[row[place] - walked.ptr[place]] == best
    expected = find_candidates(Walker(graph), PathTable(graph.num_steps), questions, 2)
    assert np.allclose(expected.best_share, share)
