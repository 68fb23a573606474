"""The triples along a relation path, from the topic to given answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jepakit.kgqa.data import Ids, KnowledgeGraph, Subgraph


def trace(
    graph: KnowledgeGraph, topic: int, steps: Sequence[int], answers: Ids, limit: int, *, through_topic: bool = False
) -> Subgraph:
    """The part of the graph that a path goes through between its topic and answers.

    Args:
        graph: the graph.
        topic: row of the topic, which is the first entity of the result.
        steps: the path.
        answers: rows of the answers, best first; those that the path does not reach are left out.
        limit: entities at most; answers come before what leads to them, level by level.
        through_topic: whether the path may return to the topic.
    """
    forward = [np.array([topic])]
    for step in steps:
        reached = _follow(graph, forward[-1], step)[1]
        reached = np.unique(reached if through_topic else reached[reached != topic])
        forward.append(reached)
    kept = [answers[np.isin(answers, forward[-1])][: max(1, (limit - 1) // len(steps))]]
    triples: list[Ids] = []
    for level in range(len(steps) - 1, -1, -1):
        step, budget = steps[level], max(1, (limit - 1) // len(steps))
        inverse = step + len(graph.relations) if step < len(graph.relations) else step - len(graph.relations)
        source, before = _follow(graph, kept[0], inverse)
        inside = np.isin(before, forward[level])
        source, before = source[inside], before[inside]
        chosen = np.unique(before)[:budget]
        inside = np.isin(before, chosen)
        source, before = source[inside], before[inside]
        along = step < len(graph.relations)
        head, tail = (before, source) if along else (source, before)
        triples.append(np.stack([head, np.full(len(head), step % len(graph.relations)), tail], 1))
        kept.insert(0, chosen)
    entities = np.array(list(dict.fromkeys([topic, *np.concatenate(kept[::-1]).tolist()])), np.int64)
    place = {row: i for i, row in enumerate(entities.tolist())}
    rows = np.unique(np.concatenate(triples), axis=0) if triples else np.empty((0, 3), np.int64)
    local = np.array([(place[h], r, place[t]) for h, r, t in rows.tolist()], np.int64).reshape(-1, 3)
    return Subgraph(entities, local)


def _follow(graph: KnowledgeGraph, entities: Ids, step: int) -> tuple[Ids, Ids]:
    """Every neighbour of the entities by a step: the entity and the neighbour of each triple."""
    starts, lengths = graph.ptr[entities], graph.degree[entities]
    entry = np.arange(lengths.sum()) + np.repeat(starts - (lengths.cumsum() - lengths), lengths)
    source = np.repeat(entities, lengths)
    by_step = graph.step[entry] == step
    return source[by_step], graph.neighbour[entry][by_step].astype(np.int64)
