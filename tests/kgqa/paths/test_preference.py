"""What a beam leaves of the answers: all where it has room, and else those of the paths that the matcher prefers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from film_samples import BOTH, GRAPH, Words
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.linking.matches import mask_topics
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.paths.preference import LEAST_PROBABILITY
from jepakit.kgqa.retriever import PathRetriever
from kg_samples import graphs

HOPS = 2


def beamed(beam: int | None, graph: KnowledgeGraph = GRAPH, *, scale: float = 20.0) -> PathRetriever:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        matcher = PathMatcher(Words.dim, graph.num_steps, HOPS, hidden=8, scale=scale)
    return PathRetriever(graph, Words(), matcher, through_topic=False, wordings=3, beam=beam)


@settings(max_examples=40)
@given(graphs(most=8), st.integers(1, 40), st.lists(st.integers(0, 7), min_size=1, max_size=4))
def test_paths_are_those_without_a_beam_or_fewer(graph: KnowledgeGraph, beam: int, topics: list[int]) -> None:
    rows = [topic % graph.num_entities for topic in topics]
    texts = tuple(("the r0 of r1", "r1", "those r1 r0", "?")[place] for place in range(len(rows)))
    # The first question has all topics, each with a beam of its own.
    listed = (tuple(dict.fromkeys(rows)), *((row,) for row in rows[1:]))
    questions = Questions(texts, listed, ((),) * len(rows))
    narrow, all_paths = beamed(beam, graph), beamed(None, graph)
    complete = all(walked.complete for walked in narrow.walk(questions))
    found, exact = (one.rank(questions, 100, paths=1000) for one in (narrow, all_paths))
    reached: list[set[int]] = [set() for _ in rows]
    for walked in all_paths.walk(questions):
        for question, first, end in zip(walked.question, walked.sets.indptr, walked.sets.indptr[1:], strict=False):
            reached[question] |= {*walked.sets.indices[first:end].tolist()}
    for ours, theirs, known in zip(found, exact, reached, strict=True):
        sizes = {(path.topic, path.steps): path.size for path in theirs.paths}
        assert all(sizes[path.topic, path.steps] == path.size for path in ours.paths)
        # Not those of `theirs`: with fewer paths each is more probable, so that more are above the least probability.
        assert {*ours.entities.tolist()} <= known
        assert ours.scores.sum() <= 1 + 1e-9
        if complete:
            assert ours.entities.tolist() == theirs.entities.tolist()
            assert np.allclose(ours.scores, theirs.scores)
            assert ours.confidence == pytest.approx(theirs.confidence)


def test_longest_paths_without_probability_are_not_followed_and_nothing_is_lost() -> None:
    (exact,) = beamed(None, scale=300.0).rank(BOTH[[3]], paths=100)
    unlikely = {path.steps for path in exact.paths if path.probability < LEAST_PROBABILITY}
    assert any(len(steps) == HOPS for steps in unlikely)
    spared: set[tuple[int, ...]] = set()
    for beam in range(1, 40):
        (ranked,) = beamed(beam, scale=300.0).rank(BOTH[[3]], paths=100)
        missing = {path.steps for path in exact.paths} - {path.steps for path in ranked.paths}
        if all(len(steps) == HOPS for steps in missing) and missing <= unlikely:
            assert ranked.entities.tolist() == exact.entities.tolist()
            assert np.allclose(ranked.scores, exact.scores)
            spared |= missing
    assert spared


def test_each_matcher_prefers_paths_of_its_own() -> None:
    ours = beamed(4)
    matcher = beamed(4).matcher
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.nn.init.normal_(matcher.path_out.weight)
    other = ours.with_matcher(matcher)
    differ = False
    for walked in ours.walk(BOTH):
        assert not walked.complete
        for shared, alone in zip(other.rank_shared(walked, 5), other.rank(walked.questions, 5), strict=True):
            assert shared.entities.tolist() == alone.entities.tolist()
            assert shared.paths == alone.paths
        differ |= any(
            one.entities.tolist() != two.entities.tolist()
            for one, two in zip(ours.rank_walked(walked, 5), other.rank_shared(walked, 5), strict=True)
        )
    assert differ


def test_paths_are_preferred_by_the_vectors_that_are_given() -> None:
    retriever, masked = beamed(4), mask_topics(GRAPH, BOTH)
    other = Questions(tuple(masked[::-1]), BOTH.topics, BOTH.answers)
    given_vectors = retriever.rank(BOTH, 5, vectors=retriever.embed(BOTH).flip(0))
    for ours, theirs in zip(given_vectors, retriever.rank(other, 5), strict=True):
        assert ours.entities.tolist() == theirs.entities.tolist()
        assert [path.steps for path in ours.paths] == [path.steps for path in theirs.paths]
