"""The retriever on a toy graph: scores by brute force, training, storage, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from film_samples import BOTH, CONFIG, DIRECTORS, GRAPH, IDS, TRIPLES, Words, retriever_of
from jepakit.errors import DataError, ModelError
from jepakit.kgqa.data import KnowledgeGraph, Questions, entity_table
from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.retriever import mask_topics, open_retriever
from jepakit.training import RunFolder, load_encoder_as


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


def test_without_topic_or_neighbours_nothing_is_ranked() -> None:
    questions = Questions(("what?", "who made alone", "who made film 1"), ((), (len(IDS) - 1,), (1,)), ((), (), ()))
    ranked = retriever_of().rank(questions)
    assert [len(one.entities) > 0 for one in ranked] == [False, False, True]
    assert retriever_of().rank(questions[[0]])[0].paths == ()
    with pytest.raises(DataError):
        retriever_of().explain(ranked[0])


def test_training_from_answers_finds_the_paths_of_unseen_topics() -> None:
    train, test = [0, 1, 2, 3, 12, 13, 14, 15], [5, 6, 10, 18, 20, 22]
    fitted = fit_retriever(GRAPH, BOTH[train], Words(), CONFIG)
    ranked = fitted.retriever.rank(BOTH[test])
    assert [one.paths[0].steps for one in ranked] == [(0,)] * 3 + [(1,)] * 3
    assert all(one.entities[0] in BOTH.answers[row] for one, row in zip(ranked, test, strict=True))
    part = fitted.retriever.explain(ranked[0])
    assert GRAPH.column("id", part.entities) == ["film 5", "person 1"]
    assert part.triples.tolist() == [[0, 0, 1]]


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
