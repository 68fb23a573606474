"""Training: it finds what can be learned, leaves the base alone where nothing can, and looks at no test pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_collection import WordEncoder, collection

from jepakit import load_encoder
from jepakit.errors import DataError
from jepakit.retrieval.adapter.selection import SelectionConfig
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.evaluate import BASE, OURS, EvaluateConfig, evaluate
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.retrieval.pretrain import PretrainConfig, Pretrained, pretrain, with_training_pairs
from jepakit.retrieval.ranking import SearchSettings
from jepakit.search.documents import Documents
from jepakit.training import RunFolder

ENCODER = WordEncoder()
QUICK = PretrainConfig(
    epochs=15,
    batch_size=32,
    learning_rate=1e-2,
    progress=False,
    selection=SelectionConfig(folds=3, strengths=[0.5, 1.0]),
)


def trained(dataset: RetrievalDataset, **options: object) -> Pretrained:
    return pretrain(dataset, ENCODER, replace(QUICK, **options))  # type: ignore[arg-type]


def test_a_dictionary_is_learned_and_holds_for_documents_it_has_not_seen() -> None:
    dataset = with_training_pairs(collection())
    result = trained(dataset)
    assert result.choice.strength > 0
    assert result.choice.base < 0.15
    evaluation = evaluate(dataset, ENCODER, result.encoder, SearchSettings(), EvaluateConfig(bm25=False))
    assert evaluation is not None
    values = {row.method: row.value for row in evaluation.rows if row.metric == "NDCG@10"}
    assert values["jepakit: full search"] > values["base model"] + 0.3  # type: ignore[operator]
    assert "None of the" in evaluation.summary[1]
    assert evaluation.recommendation.startswith("Use jepakit: full search for now")
    _, before, after, *_ = evaluation.sections[0].rows[0]
    assert after > before  # type: ignore[operator]


def test_where_the_base_is_right_already_it_is_returned() -> None:
    dataset = with_training_pairs(collection(foreign=False))
    result = trained(dataset)
    assert result.choice.strength == 0.0
    assert "the base is returned" in result.choice.sentence
    queries = ENCODER.encode(dataset.queries.texts, "query")
    torch.testing.assert_close(result.encoder.queries(queries), queries)


def test_words_are_weighted_in_where_they_find_what_vectors_do_not() -> None:
    # Each query also names its document by a number that the vectors drown in the other words.
    dataset = collection(documents=60, foreign=False)
    numbered = tuple(f"{text} n{number}" for number, text in enumerate(dataset.documents.texts))
    asked = tuple(f"{'q1 q2 q3 q4 q5 q6 q7 q8 q9'} n{number}" for number in range(60))
    dataset = replace(
        dataset,
        documents=replace(dataset.documents, texts=numbered),
        queries=replace(dataset.queries, texts=asked),
    )
    result = trained(dataset, epochs=2)
    assert result.choice.settings.words > 0.2
    assert result.choice.steps is not None
    assert result.choice.steps.with_words > result.choice.chosen + 0.1
    # BM25 needs no training, so it is a floor too.
    assert result.choice.untrained.each.words > 0.2
    assert result.choice.untrained.together.words > 0.2
    assert "with BM25 at weight" in result.choice.sentence


def asked(documents: list[str], queries: list[str]) -> SearchSettings:
    """What is chosen where query i asks for document i."""
    dataset = RetrievalDataset(
        "sentences",
        Documents(
            tuple(map(str, range(len(documents)))), tuple(documents), ("",) * len(documents), ({},) * len(documents)
        ),
        Queries(tuple(map(str, range(len(queries)))), tuple(queries)),
        splits={"all": Pairs.of(list(range(len(queries))), list(range(len(queries))))},
        origin="made up",
    )
    return trained(dataset, epochs=1).choice.settings


def made_sentences(documents: int, count: int) -> list[list[str]]:
    """Of three words each, none of which comes twice."""
    return [[f"w{row}.{n}.0 w{row}.{n}.1 w{row}.{n}.2" for n in range(count)] for row in range(documents)]


def test_sentences_count_for_much_where_one_of_them_is_asked_for() -> None:
    many = made_sentences(60, 12)
    assert asked(["\n\n".join(some) for some in many], [some[0] for some in many]).sentences == 0.5


def test_sentences_count_for_nothing_where_held_out_pairs_cannot_tell() -> None:
    many = made_sentences(60, 2)
    texts = ["\n\n".join(some) for some in many]
    assert asked(texts, texts).sentences == 0.0


def test_of_too_few_questions_nothing_is_concluded() -> None:
    # With six times as many, as above, sentences count for much.
    many = made_sentences(10, 12)
    found = asked(["\n\n".join(some) for some in many], [some[0] for some in many])
    assert (found.words, found.feedback, found.sentences) == (0, 0, 0)


def test_copies_of_a_question_are_one_question() -> None:
    few = collection(24)
    rows = [row for row in range(24) for _ in range(5)]
    copied = replace(
        few,
        queries=Queries(
            tuple(f"{few.queries.ids[row]}/{place}" for place, row in enumerate(rows)),
            tuple(few.queries.texts[row] + " " * (place % 5) for place, row in enumerate(rows)),
        ),
        splits={"train": Pairs.of(list(range(120)), rows), "dev": few.splits["all"][:0]},
    )
    choice = trained(copied, epochs=2).choice
    assert (choice.queries, choice.questions) == (120, 24)


def test_sentences_count_for_nothing_where_they_mislead() -> None:
    # All of a document is asked for; another has the whole question as one sentence, and something else besides.
    many = made_sentences(40, 4)
    texts = ["\n\n".join(some) for some in many]
    questions = [" ".join(some) for some in many]
    others = [f"{question}\n\nx{row}.0 x{row}.1 x{row}.2" for row, question in enumerate(questions)]
    assert asked(texts + others, questions).sentences == 0.0


def test_no_more_folds_are_trained_than_it_takes() -> None:
    selection = replace(QUICK.selection, enough=30)
    all_of_them = trained(collection(60), epochs=1)
    assert all_of_them.choice.queries == 48
    assert trained(collection(60), epochs=1, selection=selection).choice.queries == 32


def test_test_pairs_change_nothing() -> None:
    dataset = with_training_pairs(collection(60))
    wrong = Pairs.of(dataset.splits["test"].query.tolist(), dataset.splits["test"].document.roll(1).tolist())
    first = trained(dataset, epochs=2)
    second = trained(replace(dataset, splits={**dataset.splits, "test": wrong}), epochs=2)
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(value, second.encoder.state_dict()[name])
    assert first.choice == second.choice


def test_the_same_seed_gives_the_same_adapter_and_leaves_the_callers_generator_alone() -> None:
    dataset = collection(60)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = trained(dataset, epochs=2), trained(dataset, epochs=2)
    assert torch.equal(torch.rand(1), expected)
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(value, second.encoder.state_dict()[name])


def test_away_from_home_the_base_is_used() -> None:
    home, away = with_training_pairs(collection()), collection(60, seed=9)
    strangers = replace(
        away,
        documents=replace(away.documents, texts=tuple(text.replace("d", "x") for text in away.documents.texts)),
        queries=replace(away.queries, texts=tuple(text.replace("q", "y") for text in away.queries.texts)),
    )
    adapter = trained(home).encoder
    at_home = adapter.familiar_queries(ENCODER.encode(home.queries.texts, "query"))
    abroad = adapter.familiar_queries(ENCODER.encode(strangers.queries.texts, "query"))
    assert float(at_home.mean()) > 0.8
    assert float(abroad.mean()) < 0.1


def test_away_from_home_the_search_is_that_of_base_and_bm25() -> None:
    home, away = with_training_pairs(collection()), collection(60, seed=9, foreign=False)
    strangers = replace(
        away,
        documents=replace(away.documents, texts=tuple(text.replace("d", "x") for text in away.documents.texts)),
        queries=replace(away.queries, texts=tuple(text.replace("d", "x") for text in away.queries.texts)),
    )
    adapter = trained(home).encoder
    settings = SearchSettings(words=0.9, feedback=0.4, sentences=0.5, words_elsewhere=0.2)
    weights = Untrained(each=SearchSettings(words=0.2))
    evaluation = evaluate(strangers, ENCODER, adapter, settings, EvaluateConfig(), weights=weights)
    assert evaluation is not None
    full, hybrid = ([row[name] for row in evaluation.per_query] for name in (OURS, f"{BASE} + BM25"))
    assert full == pytest.approx(hybrid, abs=1e-6)
    # At home the weights are those of home.
    here = evaluate(home, ENCODER, adapter, settings, EvaluateConfig(), weights=weights)
    assert here is not None
    assert [row[OURS] for row in here.per_query] != [row[f"{BASE} + BM25"] for row in here.per_query]


def test_without_pairs_they_are_made_of_the_documents_and_the_report_says_so() -> None:
    # The title is in the other language: title -> body teaches the dictionary.
    base = collection()
    titled = replace(base.documents, titles=base.queries.texts, texts=tuple(f"{t} {t}" for t in base.documents.texts))
    bare = RetrievalDataset("bare", titled, Queries((), ()), origin="made up")
    made = with_training_pairs(bare)
    assert not made.labelled
    assert "pairs made from the documents" in made.origin
    assert set(made.splits) == {"train", "dev", "test"}
    assert not set(made.documents.texts) & set(titled.passages)
    result = trained(made)
    # They promise too much of the adapter, so it is followed as little as possible.
    assert result.choice.strength == min(QUICK.selection.strengths)
    # Of what else a search could do made pairs cannot tell; sentences and BM25 get small weights, unless unwanted.
    assert result.choice.settings == SearchSettings(words=0.2, sentences=0.2, words_elsewhere=0.2)
    assert "with sentences at weight 0.2 and BM25 at weight 0.2 (not measured on made pairs)" in result.choice.sentence
    unread = replace(QUICK, selection=replace(QUICK.selection, sentences=[], words=[]))
    assert pretrain(made, ENCODER, unread).choice.settings == SearchSettings()
    # The titles are not what users will ask: by them no query can be called unfamiliar.
    assert len(result.encoder.familiar_queries) == 0
    assert len(result.encoder.familiar_documents) > 0


def test_a_run_folder_holds_the_adapter(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    result = pretrain(collection(60), ENCODER, replace(QUICK, epochs=2), run=run)
    loaded = load_encoder(run.encoder)
    assert isinstance(loaded, Adapter)
    queries = ENCODER.encode(["q1 q2 q3"], "query")
    torch.testing.assert_close(loaded.queries(queries), result.encoder.queries(queries))
    assert (loaded.base, loaded.fingerprint) == ("words", "words-1")
    row = run.read_metrics()[-1]
    assert {"train/predict", "train/contrastive", "train/total"} <= row.keys()
    assert "toy: 60 documents, 48 pairs" in (run.encoder / "README.md").read_text()


def test_documents_without_anything_to_make_pairs_of_are_refused() -> None:
    documents = Documents(("a", "b"), ("one", "two"), ("", ""), ({}, {}))
    with pytest.raises(DataError):
        with_training_pairs(RetrievalDataset("bare", documents, Queries((), ())))
