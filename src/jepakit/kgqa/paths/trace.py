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
        reached = np.zeros(graph.num_entities, bool)
        reached[_follow(graph, forward[-1], step)[1]] = True
        reached[topic] &= through_topic
        forward.append(np.flatnonzero(reached))
    budget, relations = max(1, (limit - 1) // len(steps)), len(graph.relations)
    kept = [answers[np.isin(answers, forward[-1])][:budget]]
    triples: list[Ids] = []
    for step, reached in zip(reversed(steps), reversed(forward[:-1]), strict=True):
        source, before = _follow(graph, kept[0], (step + relations) % graph.num_steps)
        inside = np.isin(before, reached)
        chosen = _chosen(source[inside], before[inside], budget)
        inside = np.isin(before, chosen)
        ends = (before[inside], source[inside])
        head, tail = ends if step < relations else reversed(ends)
        triples.append(np.stack([head, np.full(len(head), step % relations), tail], 1))
        kept.insert(0, chosen)
    entities = np.array(list(dict.fromkeys([topic, *np.concatenate(kept[::-1]).tolist()])), np.int64)
    place = {row: i for i, row in enumerate(entities.tolist())}
    rows = np.unique(np.concatenate(triples), axis=0)
    local = np.array([(place[h], r, place[t]) for h, r, t in rows.tolist()], np.int64).reshape(-1, 3)
    return Subgraph(entities, local)


def _chosen(source: Ids, before: Ids, most: int) -> Ids:
    """At most so many of the entities ``before`` the pairs' sources, ascending: one at least for each source."""
    rows, place, count = np.unique(before, return_inverse=True, return_counts=True)
    # For each source that which leads to most sources; then the others, in the same order.
    order = np.lexsort((place, -count[place]))
    first = np.unique(source[order], return_index=True)[1]
    needed = np.unique(place[order][first])
    others = np.setdiff1d(np.argsort(-count, kind="stable"), needed, assume_unique=True)
    return np.sort(rows[np.concatenate([needed, others])[:most]])


def _follow(graph: KnowledgeGraph, entities: Ids, step: int) -> tuple[Ids, Ids]:
    """Every neighbour of the entities by a step: the entity and the neighbour of each triple."""
    entry, owner = graph.entries(entities)
    by_step = graph.step[entry] == step
    return entities[owner[by_step]], graph.neighbour[entry[by_step]].astype(np.int64)
