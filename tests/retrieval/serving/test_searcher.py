"""Search over an index: what it finds, that it is what evaluation measures, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_collection import DIM, WordEncoder, collection

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.retrieval.adapter.selection import SelectionConfig
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.pretrain import PretrainConfig, pretrain
from jepakit.retrieval.ranking import Encoded, SearchSettings, encode_sentences, familiar, ranked, with_feedback
from jepakit.retrieval.serving.searcher import Searcher, document_fingerprint, require_base
from jepakit.search.index import Index
from jepakit.search.sentences import Sentences
from jepakit.search.vectors import IndexConfig
from jepakit.training import load_encoder_as, save_encoder

ENCODER = WordEncoder()


@pytest.fixture(scope="module")
def dataset() -> RetrievalDataset:
    return collection()


@pytest.fixture(scope="module")
def adapter(dataset: RetrievalDataset) -> Adapter:
    selection = SelectionConfig(folds=3, strengths=[0.5, 1.0])
    config = PretrainConfig(epochs=6, batch_size=32, learning_rate=2e-2, progress=False, selection=selection)
    return pretrain(dataset, ENCODER, config).encoder


def indexed(
    folder: Path, dataset: RetrievalDataset, adapter: Adapter | None = None, sentences: Sentences | None = None
) -> Index:
    base = ENCODER.encode(dataset.documents.passages, "document")
    return Index.build(
        folder,
        dataset.documents,
        base if adapter is None else adapter.documents(base),
        base=ENCODER.name,
        fingerprint=document_fingerprint(ENCODER, adapter),
        sentences=sentences,
        config=IndexConfig(),
    )


def test_a_query_in_the_other_language_finds_its_document_only_through_the_adapter(
    tmp_path: Path, dataset: RetrievalDataset, adapter: Adapter
) -> None:
    index = indexed(tmp_path / "index", dataset)
    base, ours = Searcher(index, ENCODER), Searcher(index, ENCODER, adapter)

    def right(searcher: Searcher) -> int:
        answers = searcher.search(dataset.queries.texts, 3)
        return sum(f"D{number}" in [found.id for found in answer] for number, answer in enumerate(answers))

    assert right(base) < 20
    assert right(ours) > 80


@pytest.mark.parametrize(
    "settings", [SearchSettings(), SearchSettings(feedback=0.4), SearchSettings(feedback=0.2, sentences=0.5)]
)
def test_what_is_measured_is_what_is_served(
    settings: SearchSettings, tmp_path: Path, dataset: RetrievalDataset, adapter: Adapter
) -> None:
    # Two sentences each: the text, and another's.
    texts = tuple(f"{text}\n\n{other}" for text, other in zip(*[iter(dataset.documents.texts)] * 2, strict=True))
    several = replace(dataset.documents, texts=texts + dataset.documents.texts[len(texts) :])
    dataset = replace(dataset, documents=several)
    sentences = encode_sentences(several, ENCODER)
    index = indexed(tmp_path / "index", dataset, sentences=sentences)
    searcher = Searcher(index, ENCODER, adapter, settings)
    queries = ENCODER.encode(dataset.queries.texts, "query")
    source = Encoded(ENCODER.encode(dataset.documents.passages, "document"), sentences)
    measured = ranked(queries, adapter, source, 100, settings, familiar(queries, adapter, source))
    served = searcher.hits(dataset.queries.texts, 10, mode="dense")
    torch.testing.assert_close(served.scores, measured.scores[:, :10], atol=1e-5, rtol=0)
    assert torch.equal(served.rows[:, 0], measured.rows[:, 0])


def test_answers_come_best_first_with_text_and_metadata_and_obey_the_filter(
    tmp_path: Path, dataset: RetrievalDataset
) -> None:
    searcher = Searcher(indexed(tmp_path / "index", dataset), ENCODER)
    texts = [dataset.documents.texts[4], dataset.documents.texts[7]]
    for number, answer in zip((4, 7), searcher.search(texts, 5), strict=True):
        assert answer[0].id == f"D{number}"
        assert answer[0].text == dataset.documents.texts[number]
        assert answer[0].metadata == {"part": number % 2}
        assert [found.score for found in answer] == sorted((found.score for found in answer), reverse=True)
    (odd,) = searcher.search(texts[:1], 200, where={"part": 1})
    assert len(odd) == 60
    assert all(found.metadata["part"] == 1 for found in odd)


def test_words_alone_and_both_together(tmp_path: Path, dataset: RetrievalDataset) -> None:
    index = indexed(tmp_path / "index", dataset)
    query = [dataset.documents.texts[3], "nothing of the kind"]
    by_words = Searcher(index, ENCODER).search(query, 4, mode="words")
    assert by_words[0][0].id == "D3"
    assert by_words[1] == []
    half = Searcher(index, ENCODER, settings=SearchSettings(words=0.5))
    assert half.search(query[:1], 1)[0][0].id == "D3"
    # Without a weight both together are the vectors alone.
    plain = Searcher(index, ENCODER)
    assert plain.search(query, 4, mode="fused") == plain.search(query, 4, mode="dense")


def test_an_adapter_that_changes_documents_has_an_index_of_its_own(tmp_path: Path, dataset: RetrievalDataset) -> None:
    both = Adapter(DIM, base="words", fingerprint="words-1", direction="both").eval()
    assert document_fingerprint(ENCODER, both) != ENCODER.fingerprint
    index = indexed(tmp_path / "index", dataset, both)
    assert Searcher(index, ENCODER, both).search([dataset.documents.texts[5]], 1)[0][0].id == "D5"
    changed = Adapter(DIM, base="words", fingerprint="words-1", direction="both").eval()
    for parameter in changed.predictor.parameters():
        parameter.data += 0.1
    with pytest.raises(ModelError, match="jepakit retrieval index"):
        Index.open(tmp_path / "index", fingerprint=document_fingerprint(ENCODER, changed))


def test_an_adapter_of_the_query_alone_searches_any_index_of_its_base(
    tmp_path: Path, dataset: RetrievalDataset, adapter: Adapter
) -> None:
    indexed(tmp_path / "index", dataset)
    index = Index.open(tmp_path / "index", fingerprint=document_fingerprint(ENCODER, adapter))
    assert len(Searcher(index, ENCODER, adapter).search(["q1 q2"], 2)[0]) == 2


def test_a_base_that_is_not_the_adapters_is_refused(adapter: Adapter) -> None:
    with pytest.raises(ModelError, match="the adapter was trained on words with fingerprint words-1, but words"):
        require_base(adapter, replace(ENCODER, fingerprint="words-2"))


def test_an_emptied_index_finds_nothing(tmp_path: Path, dataset: RetrievalDataset, adapter: Adapter) -> None:
    index = indexed(tmp_path / "index", dataset)
    index.delete(list(dataset.documents.ids))
    assert Searcher(index, ENCODER, adapter).search(["q1 q2", "d1"], 3) == [[], []]


def test_bad_questions(tmp_path: Path, dataset: RetrievalDataset) -> None:
    searcher = Searcher(indexed(tmp_path / "index", dataset), ENCODER)
    assert searcher.search([], 3) == []
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        searcher.search(["d1"], 0)
    with pytest.raises(ConfigError, match="mode = 'magic': expected one of dense, fused, words"):
        searcher.search(["d1"], 1, mode="magic")  # type: ignore[arg-type]


def test_settings_survive_and_damage_is_named(tmp_path: Path) -> None:
    file = tmp_path / "search.json"
    assert SearchSettings.read(file) == SearchSettings()
    SearchSettings(0.35, 0.2, 0.5, 0.1).write(file)
    assert SearchSettings.read(file) == SearchSettings(0.35, 0.2, 0.5, 0.1)
    file.write_text('{"words": 0.35, "feedback": 0.2, "sentences": 0.5}')
    assert SearchSettings.read(file) == SearchSettings(0.35, 0.2, 0.5, 0)
    for text, message in (
        ("{", r"search\.json:1: not JSON"),
        ('{"words": 2, "feedback": 0, "sentences": 0}', r"words: .*found 2"),
        ("[]", "not a JSON object"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            SearchSettings.read(file)


def test_a_folder_with_another_model_is_no_adapter(tmp_path: Path) -> None:
    from jepakit.core import MLPPredictor

    save_encoder(MLPPredictor(4), tmp_path / "other", config={"dim": 4})
    with pytest.raises(ModelError, match=r"MLPPredictor.*Adapter"):
        load_encoder_as(Adapter, tmp_path / "other")


def test_a_blank_query_finds_nothing_and_does_not_fail(
    tmp_path: Path, dataset: RetrievalDataset, adapter: Adapter
) -> None:
    searcher = Searcher(indexed(tmp_path / "index", dataset), ENCODER, adapter, SearchSettings(0.5))
    assert searcher.search(["", "q1"], 2)[0] == []


def test_feedback_by_hand_and_where_nothing_was_found() -> None:
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    documents = torch.tensor([[[0.0, 1.0], [0.6, 0.8]], [[0.0, 0.0], [0.0, 0.0]]])
    scores = torch.tensor([[0.05, 0.0], [-torch.inf, -torch.inf]])
    share = torch.tensor(1.0).exp() / (1 + torch.tensor(1.0).exp())
    centre = share * documents[0, 0] + (1 - share) * documents[0, 1]
    expected = 0.75 * queries[0] + 0.25 * centre / centre.norm()
    moved = with_feedback(queries, documents, scores, 0.25)
    torch.testing.assert_close(moved[0], expected / expected.norm())
    torch.testing.assert_close(moved[1], queries[1])
    one_each = with_feedback(queries, documents, scores, torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(one_each, queries)


def test_sentences_are_asked_of_an_index_that_has_none(tmp_path: Path, dataset: RetrievalDataset) -> None:
    with pytest.raises(ConfigError, match=r"settings\.sentences = 0\.5: expected 0 for an index without sentences"):
        Searcher(indexed(tmp_path / "index", dataset), ENCODER, settings=SearchSettings(sentences=0.5))


def test_what_is_remembered_of_documents_is_forgotten_when_the_index_changes(
    tmp_path: Path, dataset: RetrievalDataset, adapter: Adapter
) -> None:
    index = indexed(tmp_path / "index", dataset)
    searcher = Searcher(index, ENCODER, adapter)
    first = searcher.hits(dataset.queries.texts, 5)
    again = searcher.hits(dataset.queries.texts, 5)
    assert torch.equal(first.rows, again.rows)
    torch.testing.assert_close(first.scores, again.scores)
    # Enough go that the rows of the others change.
    index.delete([f"D{number}" for number in range(90)])
    changed, fresh = searcher.hits(dataset.queries.texts, 5), Searcher(Index.open(index.folder), ENCODER, adapter)
    expected = fresh.hits(dataset.queries.texts, 5)
    assert index.rows < 120
    assert torch.equal(changed.rows, expected.rows)
    torch.testing.assert_close(changed.scores, expected.scores)
