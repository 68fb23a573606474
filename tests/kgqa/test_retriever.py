"""The retriever on a toy graph: scores by brute force, training, storage, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from film_samples import BOTH, CONFIG, DIRECTORS, GRAPH, IDS, TRIPLES, Words, retriever_of
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.kgqa.data import KnowledgeGraph, Questions, entity_table
from jepakit.kgqa.linking.matches import mask_topics
from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.retriever import PathRetriever, open_retriever
from jepakit.kgqa.retrievers import BM25, Query
from jepakit.training import RunFolder, load_encoder_as

RETRIEVER = retriever_of()


def test_scores_are_the_sum_over_all_paths() -> None:
    retriever = retriever_of()
    (ranked,) = retriever.rank(DIRECTORS[[3]], limit=len(IDS), paths=100)
    assert sum(path.probability for path in ranked.paths) == pytest.approx(1)
    scores = np.zeros(len(IDS))
    for path in ranked.paths:
        reached = {path.topic}
        for step in path.steps:
            entries = [range(GRAPH.ptr[e], GRAPH.ptr[e + 1]) for e in reached]
            reached = {int(GRAPH.neighbour[i]) for own in entries for i in own if GRAPH.step[i] == step} - {3}
        assert len(reached) == path.size
        for entity in reached:
            scores[entity] += path.probability / path.size if path.probability >= 1e-3 else 0
    assert np.allclose(ranked.scores, np.sort(scores)[::-1][: len(ranked.scores)])
    assert np.allclose(scores[ranked.entities], ranked.scores)


def test_a_question_is_ranked_the_same_beside_others() -> None:
    retriever = retriever_of()
    together = retriever.rank(BOTH, 5)
    for row in (0, 7, 20):
        (alone,) = retriever.rank(BOTH[[row]], 5)
        assert alone.entities.tolist() == together[row].entities.tolist()
        assert np.allclose(alone.scores, together[row].scores)


def test_without_neighbours_or_known_words_nothing_is_ranked() -> None:
    questions = Questions(("what?", "who made alone", "who made film 1"), ((), (len(IDS) - 1,), (1,)), ((), (), ()))
    ranked = retriever_of().rank(questions)
    assert [len(one.entities) > 0 for one in ranked] == [False, False, True]
    assert [one.found_by for one in ranked] == ["text", "paths", "paths"]
    assert [one.abstained for one in ranked] == [True, True, False]
    assert len(retriever_of().explain(ranked[0]).entities) == 0
    with pytest.raises(DataError):
        retriever_of().explain(ranked[1])


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=8))
def test_questions_without_topic_are_answered_by_text_beside_others(kinds: list[int]) -> None:
    text = BM25(GRAPH)
    # Of each film: with its topic, without it, and without any word of the graph.
    texts = tuple(f"year of film {row}" if kind < 2 else "what?" for row, kind in enumerate(kinds))
    asked = Questions(texts, tuple((row,) if kind == 0 else () for row, kind in enumerate(kinds)), ((),) * len(kinds))
    for row, one in enumerate(RETRIEVER.rank(asked, 4)):
        if kinds[row] == 0:
            (alone,) = RETRIEVER.rank(asked[[row]], 4)
            assert (one.found_by, len(one.paths) > 0) == ("paths", True)
            assert one.entities.tolist() == alone.entities.tolist()
            continue
        (expected,) = text.retrieve([Query(asked.texts[row])], 4)
        assert (one.found_by, one.paths, one.confidence) == ("text", (), 0)
        assert one.entities.tolist() == expected.entities.tolist()
        assert one.logits.tolist() == one.scores.tolist() == expected.scores.tolist()
        assert one.abstained == (kinds[row] == 2)
        # Nothing is known of how sure it is, so every threshold above 0 withholds it.
        (withheld,) = RETRIEVER.with_threshold(0.01).rank(asked[[row]], 4)
        assert (withheld.abstained, withheld.entities.tolist()) == (True, one.entities.tolist())


def test_what_is_found_by_text_is_shown_with_triples_of_its_own() -> None:
    (ranked,) = RETRIEVER.rank(Questions(("person",), ((),), ((),)), 3)
    assert {IDS[row] for row in ranked.entities.tolist()} <= {f"person {i}" for i in range(4)}
    for limit in (3, 4, 8, 100):
        part = RETRIEVER.explain(ranked, limit)
        assert {*ranked.entities.tolist()} <= {*part.entities.tolist()}
        assert len(part.entities) <= limit
        rows = part.entities[part.triples[:, [0, 2]]]
        facts = {
            (head, relation, tail) for (head, tail), relation in zip(rows.tolist(), part.triples[:, 1], strict=True)
        }
        assert facts <= set(TRIPLES)
        assert all({head, tail} & {*ranked.entities.tolist()} for head, _, tail in facts)
    # Of each of the three people a few of their three films.
    assert len(RETRIEVER.explain(ranked, 100).triples) >= 6


def test_another_text_retriever_is_made_when_it_is_needed() -> None:
    matcher = RETRIEVER.matcher
    knn = PathRetriever(GRAPH, Words(), matcher, through_topic=False, wordings=1, by_text="knn")
    (ranked,) = knn.rank(Questions(("film 3",), ((),), ((),)), 2)
    assert (IDS[ranked.entities[0]], ranked.scores[0]) == ("film 3", pytest.approx(1))
    with pytest.raises(ConfigError) as error:
        PathRetriever(GRAPH, Words(), matcher, through_topic=False, wordings=1, by_text="kn")  # pyright: ignore[reportArgumentType]
    assert error.value.field == "by_text"


def test_training_from_answers_finds_the_paths_of_unseen_topics() -> None:
    train, test = [0, 1, 2, 3, 12, 13, 14, 15], [5, 6, 10, 18, 20, 22]
    fitted = fit_retriever(GRAPH, BOTH[train], Words(), CONFIG)
    ranked = fitted.retriever.rank(BOTH[test])
    assert [one.paths[0].steps for one in ranked] == [(0,)] * 3 + [(1,)] * 3
    assert all(one.entities[0] in BOTH.answers[row] for one, row in zip(ranked, test, strict=True))
    part = fitted.retriever.explain(ranked[0])
    assert GRAPH.column("id", part.entities) == ["film 5", "person 1"]
    assert part.triples.tolist() == [[0, 0, 1]]
    # Eight questions of two wordings differ in their topics alone: two points, which is no collapse.
    assert not fitted.diagnosis.collapsed


def test_a_run_gives_the_same_retriever_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    fitted = fit_retriever(GRAPH, BOTH, Words(), CONFIG, run=run)
    opened = open_retriever(run, GRAPH, Words())
    for ours, theirs in zip(fitted.retriever.rank(BOTH), opened.rank(BOTH), strict=True):
        assert ours.entities.tolist() == theirs.entities.tolist()
        assert np.allclose(ours.scores, theirs.scores)
    untrained = opened.with_matcher(load_encoder_as(PathMatcher, run.random_encoder))
    assert untrained.rank(BOTH)[0].paths[0].probability < 0.9
    other = KnowledgeGraph.from_rows("films", entity_table(IDS), GRAPH.relations, np.array(TRIPLES[:-1]))
    with pytest.raises(ModelError, match="graph"):
        open_retriever(run, other, Words())
    with pytest.raises(ModelError, match="text_encoder"):
        open_retriever(run, GRAPH, Words("other"))


def test_questions_that_nothing_answers_are_refused() -> None:
    alone = Questions(("who made alone",), ((len(IDS) - 1,),), ((0,),))
    with pytest.raises(DataError) as error:
        fit_retriever(GRAPH, alone, Words(), CONFIG)
    assert error.value.field == "questions"


def test_paths_return_to_the_topic_where_that_answers_the_questions() -> None:
    """A question whose answer is the topic itself needs a path that returns."""
    self = Questions(tuple(f"q {i}" for i in range(4)), tuple((i,) for i in range(4)), tuple((i,) for i in range(4)))
    config = RetrieverConfig(epochs=1, hops=2, progress=False, accelerator="cpu", matcher=CONFIG.matcher)
    assert fit_retriever(GRAPH, self, Words(), config).retriever.through_topic
    assert not fit_retriever(GRAPH, DIRECTORS, Words(), config).retriever.through_topic


def test_topics_are_masked() -> None:
    graph = KnowledgeGraph.from_rows(
        "g", entity_table(["joel_zwick", "Film (1990)", ""]), GRAPH.relations, np.array([[0, 0, 1]])
    )
    questions = Questions(
        ("films of Joel Zwick ?", "who made film (1990)?", "nothing", "x"), ((0,), (1,), (0,), (2,)), ((), (), (), ())
    )
    assert mask_topics(graph, questions) == ["films of X ?", "who made X?", "nothing", "x"]
