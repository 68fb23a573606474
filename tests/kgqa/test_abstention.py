"""The threshold below which there is no answer: by hand, by brute force, stored with a run, and on a real graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from film_samples import BOTH, CONFIG, DIRECTORS, GRAPH, YEARS, Words, retriever_of
from jepakit.errors import ConfigError, DataError
from jepakit.files import read_json, write_json
from jepakit.kgqa.abstention import ALWAYS, choose_threshold, training_and_held_out, with_threshold, without_answer
from jepakit.kgqa.data import Questions
from jepakit.kgqa.datasets import load_graph, load_splits
from jepakit.kgqa.paths.fitting import RetrieverConfig, fit_retriever
from jepakit.kgqa.retriever import SETTINGS, open_retriever
from jepakit.training import RunFolder


def test_thresholds_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    correct = np.array([True, True, False, True, False])
    # F1 of answering the first n: 2·1/4, 2·2/5, 2·2/6, 2·3/7, 2·3/8.
    assert choose_threshold(confidence, correct) == 0.6
    assert choose_threshold(confidence, correct, max_false=0.0) == 0.8
    assert choose_threshold(confidence, correct, max_false=0.25) == 0.6
    assert choose_threshold(confidence, correct, max_false=0.4) == 0.0
    assert choose_threshold(confidence, ~correct, max_false=0.1) == ALWAYS
    assert choose_threshold(confidence, np.ones(5, bool)) == 0.0
    assert choose_threshold(confidence, np.zeros(5, bool)) == ALWAYS
    with pytest.raises(DataError, match="confidence"):
        choose_threshold(np.zeros(0), np.zeros(0, bool))


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25), st.floats(0, 1))
def test_no_threshold_is_better(pairs: list[tuple[int, bool]], max_false: float) -> None:
    confidence, correct = np.array([value / 6 for value, _ in pairs]), np.array([right for _, right in pairs])

    def f1(threshold: float) -> float:
        given = confidence >= threshold
        return 2 * (given & correct).sum() / max(given.sum() + correct.sum(), 1)

    def false(threshold: float) -> float:
        given = confidence >= threshold
        return (given & ~correct).sum() / given.sum() if given.any() else 0.0

    others = [0.0, *confidence, 2.0]
    assert f1(choose_threshold(confidence, correct)) == pytest.approx(max(map(f1, others)))
    bounded = choose_threshold(confidence, correct, max_false=max_false)
    assert false(bounded) <= max_false + 1e-12
    assert all(
        false(other) > max_false
        for other in others
        if other < bounded
        and (confidence >= other).any()
        and not ((confidence >= other) == (confidence >= bounded)).all()
    )


def reached(topic: int, hops: int) -> dict[tuple[int, ...], set[int]]:
    """The entities of each path from a topic, which no path returns to."""
    paths: dict[tuple[int, ...], set[int]] = {(): {topic}}
    for length in range(hops):
        for path in [path for path in paths if len(path) == length]:
            for entity in paths[path]:
                for entry in range(GRAPH.ptr[entity], GRAPH.ptr[entity + 1]):
                    if GRAPH.neighbour[entry] != topic:
                        paths.setdefault((*path, int(GRAPH.step[entry])), set()).add(int(GRAPH.neighbour[entry]))
    return {path: ends for path, ends in paths.items() if path}


@pytest.mark.parametrize("seed", range(4))
def test_questions_without_an_answer_by_brute_force(seed: int) -> None:
    # Films, people and years: from a person no path of one or two relations answers what is asked about a film.
    people = Questions(
        tuple(f"what did person {i} make" for i in range(4)),
        tuple((12 + i,) for i in range(4)),
        tuple(tuple(range(i, 12, 4)) for i in range(4)),
    )
    asked = Questions(
        BOTH.texts + people.texts + ("of nothing",),
        (*BOTH.topics, *people.topics, ()),
        (*BOTH.answers, *people.answers, (0,)),
    )
    retriever = retriever_of(hops=1)
    rows, questions = without_answer(retriever, asked, seed=seed)
    order = np.random.default_rng(seed).permutation(len(asked))
    expected: list[int] = []
    for row, other in enumerate(order.tolist()):
        if asked.topics[row] and asked.topics[other]:
            own, moved = (reached(asked.topics[one][0], 1) for one in (row, other))
            right = {path for path, ends in own.items() if ends & set(asked.answers[row])}
            if right and not right & set(moved):
                expected.append(row)
    assert rows.tolist() == expected
    assert expected
    assert questions.texts == tuple(asked.texts[row] for row in expected)
    assert questions.topics == tuple(asked.topics[order[row]] for row in expected)
    assert not any(questions.answers)


def test_below_the_threshold_there_is_no_answer_but_what_is_nearest() -> None:
    (sure,) = retriever_of().rank(DIRECTORS[[3]])
    assert 0 < sure.confidence <= sure.paths[0].probability
    for threshold, abstained in (
        (0.0, False),
        (sure.confidence, False),
        (sure.confidence + 1e-6, True),
        (ALWAYS, True),
    ):
        (ranked,) = retriever_of().with_threshold(threshold).rank(DIRECTORS[[3]])
        assert ranked.abstained == abstained
        assert ranked.entities.tolist() == sure.entities.tolist()
    (nothing,) = retriever_of().rank(Questions(("what?",), ((),), ((),)))
    assert nothing.abstained
    assert nothing.confidence == 0


def test_a_run_keeps_its_threshold_and_runs_without_one_open(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    people = Questions(("who is person 1",), ((13,),), ((1, 5, 9),))
    train, held_out = BOTH[range(0, 24, 2)], BOTH[range(1, 24, 2)]
    both = Questions(held_out.texts + people.texts, held_out.topics + people.topics, held_out.answers + people.answers)
    config = replace(CONFIG, epochs=1)
    fitted = fit_retriever(GRAPH, train, Words(), config, held_out=both, run=run).retriever
    assert with_threshold(fitted, both).threshold == fitted.threshold
    assert open_retriever(run, GRAPH, Words()).threshold == fitted.threshold
    settings = read_json(run.path / SETTINGS)
    del settings["threshold"]
    write_json(run.path / SETTINGS, settings)
    assert open_retriever(run, GRAPH, Words()).threshold == 0
    # None of the answers is right: there is never one, and the file can be read again.
    wrong = Questions(both.texts, both.topics, ((0,),) * len(both))
    never = fit_retriever(GRAPH, train, Words(), config, held_out=wrong, run=RunFolder(tmp_path / "never")).retriever
    assert never.threshold == ALWAYS
    assert open_retriever(RunFolder(tmp_path / "never"), GRAPH, Words()).rank(BOTH[[0]])[0].abstained


def test_what_is_held_out() -> None:
    splits = {"train": YEARS, "dev": DIRECTORS}
    assert training_and_held_out(splits, YEARS, train="train", held_out=None, seed=0) == (YEARS, DIRECTORS)
    train, held_out = training_and_held_out(splits, DIRECTORS, train="dev", held_out=None, seed=0)
    assert (len(train), len(held_out)) == (12, 0)
    many = BOTH[list(range(24)) * 5]
    many = replace(many, texts=tuple(f"{i} {text}" for i, text in enumerate(many.texts)))
    train, held_out = training_and_held_out({"all": many}, many, train="all", held_out=None, seed=0)
    assert (len(train), len(held_out)) == (108, 12)
    assert sorted(train.texts + held_out.texts) == sorted(many.texts)
    for name in ("train", "valid"):
        with pytest.raises(ConfigError) as error:
            training_and_held_out(splits, YEARS, train="train", held_out=name, seed=0)
        assert error.value.field == "held_out"


def test_on_a_real_graph_it_abstains_where_the_graph_has_no_answer() -> None:
    graph = load_graph("python")
    splits = load_splits("python", graph)
    config = RetrieverConfig(
        epochs=12,
        hops=2,
        wordings=1,
        progress=False,
        accelerator="cpu",
        learning_rate=5e-3,
        path_learning_rate=2e-3,
    )
    train, held_out = splits["train"].sample(400, seed=0), splits["dev"].sample(200, seed=0)
    retriever = fit_retriever(graph, train, Words(), config, held_out=held_out).retriever
    assert 0 < retriever.threshold < 1
    asked = splits["test"].sample(150, seed=0)
    ranked = retriever.rank(asked, 1)
    answered = np.array([not one.abstained for one in ranked])
    right = np.array(
        [set(one.entities[:1].tolist()) <= {*gold} for one, gold in zip(ranked, asked.answers, strict=True)]
    )
    rows, unanswerable = without_answer(retriever, asked, seed=0)
    vectors = retriever.embed(asked)[rows.tolist()]
    abstained = np.array([one.abstained for one in retriever.rank(unanswerable, 1, vectors=vectors)])
    assert right[answered].mean() > right.mean() + 0.05
    assert abstained.mean() > 1 - answered[right].mean() + 0.05
    assert len(rows) > 50
