"""Training: what is predicted, which texts are read, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from static_samples import KNOWN, QUICK, rules, sentences, trained, training_of
from torch import Tensor
from toy_collection import WordEncoder, collection

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.stage import start_for
from jepakit.retrieval.static.texts import TrainingTexts, excerpts, training_questions, training_texts
from jepakit.retrieval.static.training import fit_static, tokenizer_rules
from jepakit.text import Kind


def test_it_predicts_the_vectors_of_texts_it_has_not_seen() -> None:
    new = sentences(200, seed=9)
    predicted = trained().network.numpy().encode(new)
    cosines = (predicted * WordEncoder().encode(new, "query").numpy()).sum(1)
    # The base's vector is the sum of its words, which a table can express.
    assert cosines.mean() > 0.95
    assert trained().curve[-1] > 0.95


@pytest.mark.parametrize("options", [{"predictive": 0.0, "contrastive": 1.0}, {"contrastive": 0.5, "dropout": 0.1}])
def test_other_losses_learn_too(options: dict[str, float]) -> None:
    found = trained(**options)
    assert found.curve[-1] > 0.9


def test_two_runs_give_the_same_encoder() -> None:
    config = StaticConfig(**QUICK)
    runs = [fit_static(training_of(), WordEncoder(), config, rules=rules(), documents="") for _ in range(2)]
    for name, value in runs[0].network.state_dict().items():
        torch.testing.assert_close(runs[1].network.state_dict()[name], value, rtol=0, atol=0)


def test_training_continues_from_another_encoder_and_keeps_its_words() -> None:
    start = trained().network.numpy()
    few = sentences(60, words=KNOWN[:10], seed=3)
    home = TrainingTexts(few, WordEncoder().encode(few, "query"))
    config = StaticConfig(**{**QUICK, "epochs": 1, "fewest": 1})
    alone, continued = (
        fit_static(home, WordEncoder(), config, rules=rules(), documents="", start=one).network.numpy()
        for one in (None, start)
    )
    assert len(continued.features) > continued.features.singles > alone.features.singles
    for texts, least in ((few, 0.97), (sentences(50, seed=5), 0.9)):
        expected = WordEncoder().encode(texts, "query").numpy()
        reached = [float((one.encode(texts) * expected).sum(1).mean()) for one in (alone, continued)]
        assert reached[1] > max(reached[0], least)


def test_the_shipped_encoder_is_no_start_for_another_base() -> None:
    assert start_for(WordEncoder(), rules()) is None


def test_the_size_is_kept() -> None:
    sizes = [trained(megabytes=megabytes).network.numpy().megabytes for megabytes in (0.013, 0.02, 1.0)]
    assert sizes[0] <= 0.013
    assert sizes[0] < sizes[1] <= 0.02 < sizes[2] <= 1.0


def test_texts_are_those_of_the_documents_without_test_questions() -> None:
    dataset = collection(40, foreign=False)
    halves = {"train": Pairs.of(range(20), range(20)), "test": Pairs.of(range(20, 40), range(20, 40))}
    dataset = type(dataset)(dataset.name, dataset.documents, dataset.queries, halves)
    questions = training_questions(dataset)
    assert questions == list(dataset.queries.texts[:20])
    config = StaticConfig(texts=60)
    found = training_texts(dataset.documents, WordEncoder(), config, questions=questions)
    assert len(set(found.texts)) == len(found.texts) == len(found.targets)
    assert set(dataset.documents.passages) <= set(found.texts)
    assert not set(dataset.queries.texts[20:]) & (set(found.texts) - set(questions))


def test_a_question_of_the_test_is_no_text_even_where_training_has_a_copy() -> None:
    dataset = collection(4)
    queries = type(dataset.queries)(("a", "b", "c"), ("same", "same", "other"))
    halves = {"train": Pairs.of([0, 2], [0, 1]), "test": Pairs.of([1], [2])}
    assert training_questions(type(dataset)("copies", dataset.documents, queries, halves)) == ["other"]


def test_excerpts_are_runs_of_words() -> None:
    given = ["one two three four five six", "a b"]
    for text in excerpts(given, 50, np.random.default_rng(0)):
        assert text in given[0]
        assert 2 <= len(text.split()) <= 5
    assert excerpts(given, -3, np.random.default_rng(0)) == []
    assert excerpts(["a b"], 5, np.random.default_rng(0)) == []


def test_what_cannot_be_is_refused() -> None:
    few = TrainingTexts(training_of().texts[:5], training_of().targets[:5])
    with pytest.raises(DataError, match=r"texts: too few"):
        fit_static(few, WordEncoder(), StaticConfig(), rules=rules(), documents="")
    for options, name in (({"megabytes": 0.001}, "megabytes"), ({"width": 49}, "width")):
        with pytest.raises(ConfigError, match=name):
            fit_static(training_of(), WordEncoder(), StaticConfig(**options), rules=rules(), documents="")
    for options in ({"predictive": 0.0}, {"megabytes": 0}, {"home": 1.5}, {"dropout": 1.0}, {"temperature": -1}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            StaticConfig(**options)
    with pytest.raises(ConfigError, match="query_encoder"):
        tokenizer_rules(WordEncoder())


def test_where_the_base_tells_queries_from_documents_queries_are_predicted() -> None:
    class Asymmetric(WordEncoder):
        def encode(self, texts: Sequence[str], kind: Kind) -> Tensor:
            return super().encode([f"{text} {kind}" for text in texts], kind)

    documents = collection(30, foreign=False).documents
    for encoder in (WordEncoder(), Asymmetric()):
        found = training_texts(documents, encoder, StaticConfig(texts=50))
        torch.testing.assert_close(found.targets, encoder.encode(found.texts, "query"))
