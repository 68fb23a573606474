"""Familiarity of queries and of the documents that the base ranks first; sentences and their effect on a ranking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_index import build, documents_of, vectors_of

from jepakit.errors import DataError, ModelError
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.ranking import (
    Encoded,
    Familiar,
    SearchSettings,
    familiar,
    ranked,
    sentences_of,
    with_sentences,
)
from jepakit.search.hits import Hits
from jepakit.search.index import Index
from jepakit.search.sentences import Sentences

DIM = 8


def unit(rows: int, seed: int, dim: int = DIM) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def adapter() -> Adapter:
    """One that turns every query round, and was trained among queries in one direction and documents in all."""
    model = Adapter(DIM, base="base", fingerprint="f", familiar_queries=40, familiar_documents=200)
    with torch.no_grad():
        for weight in model.predictor.parameters():
            weight.zero_()
        linear = next(weight for weight in model.predictor.parameters() if weight.ndim == 2)
        linear.copy_(-2 * torch.eye(DIM))
    known = torch.nn.functional.normalize(torch.eye(DIM)[0] + 0.1 * unit(40, 1), dim=-1)
    model.familiar_queries.fit(known, torch.arange(40), quantiles=(0.01, 0.05))
    model.familiar_documents.fit(unit(200, 2), torch.arange(200), quantiles=(0.01, 0.05))
    return model


def test_a_strange_query_among_known_documents() -> None:
    model, source = adapter(), Encoded(unit(200, 2))
    at_home, strange = torch.eye(DIM)[:1], torch.eye(DIM)[1:2]
    known = familiar(torch.cat([at_home, strange]), model, source)
    assert known.query.tolist() == [1, 0]
    assert known.collection.tolist() == pytest.approx([1, 1])
    found = ranked(torch.cat([at_home, strange]), model, source, 200, SearchSettings(), known)
    # The one is turned round, and finds last what it is nearest to; the other is searched as the base would.
    assert int(found.rows[0, -1]) == int((source.documents @ at_home[0]).argmax())
    assert int(found.rows[1, 0]) == int((source.documents @ strange[0]).argmax())


def test_a_strange_collection_makes_its_queries_strange() -> None:
    strangers = torch.nn.functional.normalize(torch.eye(DIM)[3] + 0.001 * unit(50, 4), dim=-1)
    model = adapter()
    model.familiar_documents.fit(
        torch.nn.functional.normalize(torch.eye(DIM)[5] + 0.1 * unit(200, 5), dim=-1),
        torch.arange(200),
        quantiles=(0.01, 0.05),
    )
    known = familiar(torch.eye(DIM)[:1], model, Encoded(strangers))
    assert (float(known.query), float(known.collection)) == (0, 0)
    assert float(familiar(torch.eye(DIM)[:1], None, Encoded(strangers)).query) == 1


def test_sentences_follow_the_home_and_feedback_the_query() -> None:
    documents = torch.eye(DIM)
    # Document 7 has a sentence that says just what is asked, and another that does not.
    parts = Sentences(torch.stack([documents[1], documents[7]]).half().numpy(), np.array([0] * 8 + [2]))
    source = Encoded(documents, parts)
    query, settings = documents[1:2] * 0.8 + documents[2:3] * 0.6, SearchSettings(feedback=1.0, sentences=1.0)

    def first(known: Familiar) -> list[int]:
        return ranked(query, None, source, 2, settings, known).rows[0].tolist()

    nothing, everything = torch.zeros(1), torch.ones(1)
    # By hand: cosines .8 (document 1), .6 (2); the best sentence of 7 has .8, so it comes before 2.
    assert first(Familiar(nothing, nothing, everything)) == [1, 7]
    # At a near neighbour the documents may be familiar.
    assert first(Familiar(nothing, everything, nothing)) == [1, 2]
    # Feedback of full weight puts the query among its first three documents, nearest to the very first.
    moved = ranked(query, None, source, 1, SearchSettings(feedback=1.0), Familiar(everything, everything, everything))
    assert float(moved.scores) > 0.9
    assert int(moved.rows) == 1


def sentences(counts: list[int], dim: int = 16, seed: int = 0) -> Sentences:
    return Sentences(unit(sum(counts), seed, dim).half().numpy(), np.concatenate([[0], np.cumsum(counts)]))


def test_a_text_of_one_sentence_has_none_and_short_ones_say_nothing() -> None:
    texts = [
        "Only one sentence here.",
        "The heart pumps blood. Oh no! Veins bring it back. Dr. Smith found this in 1904.",
        "",
        "Yes. No. Maybe so, who knows that.",
    ]
    found, first = sentences_of(texts)
    assert found == ["The heart pumps blood.", "Veins bring it back.", "Dr. Smith found this in 1904."]
    assert first.tolist() == [0, 0, 3, 3, 3]


def test_of_a_long_text_the_first_sixty_four_are_taken() -> None:
    found, first = sentences_of([" ".join(f"This is sentence number {number}." for number in range(100))])
    assert first.tolist() == [0, 64]
    assert found[-1] == "This is sentence number 63."


@pytest.mark.parametrize("counts", [[2, 0, 5, 3, 0, 2], [0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
def test_the_best_is_that_of_all_comparisons(counts: list[int]) -> None:
    parts = sentences(counts)
    queries = unit(30, 3, 16)
    rows = torch.randint(-1, 6, (30, 4), generator=torch.Generator().manual_seed(1))
    found = parts.best(queries, rows)
    vectors = torch.from_numpy(parts.vectors).float()
    for place in range(30):
        for column in range(4):
            row = int(rows[place, column])
            own = vectors[parts.first[row] : parts.first[row + 1]] if row >= 0 else vectors[:0]
            expected = (own @ queries[place]).max() if len(own) else torch.tensor(-torch.inf)
            torch.testing.assert_close(found[place, column], expected, atol=1e-6, rtol=0)


def test_many_queries_are_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = sentences([3, 4, 5])
    queries, rows = unit(50, 5, 16), torch.arange(3).expand(50, 3)
    at_once = parts.best(queries, rows)
    monkeypatch.setattr("jepakit.search.sentences._BLOCK", 7)
    torch.testing.assert_close(parts.best(queries, rows), at_once)


def test_a_document_moves_up_by_its_best_sentence() -> None:
    hits = Hits(torch.tensor([[4, 2, 9, -1]]), torch.tensor([[0.8, 0.7, 0.6, -torch.inf]]))
    best = torch.tensor([[0.2, 0.9, -torch.inf, -torch.inf]])
    # Document 9 has no sentences and keeps its 0.6: by hand, 0.5 * 0.7 + 0.5 * 0.9 and 0.5 * 0.8 + 0.5 * 0.2.
    found = with_sentences(hits, best, 0.5)
    assert found.rows.tolist() == [[2, 9, 4, -1]]
    torch.testing.assert_close(found.scores[0, :3], torch.tensor([0.8, 0.6, 0.5]))
    assert torch.equal(with_sentences(hits, best, 0.0).rows, hits.rows)
    assert torch.equal(with_sentences(hits, best, torch.tensor([0.0])).rows, hits.rows)


def test_they_change_as_documents_do() -> None:
    model = Adapter(16, base="base", fingerprint="f", direction="document")
    parts = sentences([2, 3])
    with torch.no_grad():
        for weight in model.predictor.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    expected = model.documents(torch.from_numpy(parts.vectors).float())
    torch.testing.assert_close(torch.from_numpy(parts.adapted(model).vectors).float(), expected, atol=1e-3, rtol=0)
    same = Adapter(16, base="base", fingerprint="f")
    assert parts.adapted(same) is parts


def vectors_by_id(index: Index) -> dict[str, Tensor]:
    """Document id -> the vectors of its sentences."""
    assert index.sentences is not None
    rows = np.flatnonzero(index.alive)
    kept = index.sentences.taken(rows)
    ids = index.documents(rows.tolist()).ids
    return {
        name: torch.from_numpy(np.array(kept.vectors[kept.first[place] : kept.first[place + 1]]))
        for place, name in enumerate(ids)
    }


def test_an_index_keeps_them_through_additions_deletions_and_compaction(tmp_path: Path) -> None:
    counts = [number % 4 for number in range(20)]
    parts = sentences(counts)
    index = build(tmp_path / "index", sentences=parts)
    before = vectors_by_id(index)
    assert [len(before[f"d{number}"]) for number in range(20)] == counts
    # d3 is replaced, d20 is new.
    fresh = sentences([2, 5], seed=9)
    index.add(documents_of([3, 20], "second"), vectors_of([3, 20], "second"), fresh)
    index.delete([f"d{number}" for number in range(4, 18)])
    assert index.rows < 20 + 2
    after = vectors_by_id(Index.open(tmp_path / "index"))
    assert sorted(after) == sorted(["d0", "d1", "d2", "d3", "d18", "d19", "d20"])
    for name in ("d0", "d1", "d2", "d18", "d19"):
        assert torch.equal(after[name], before[name])
    assert torch.equal(after["d3"], torch.from_numpy(fresh.vectors[:2]))
    assert torch.equal(after["d20"], torch.from_numpy(fresh.vectors[2:]))


def test_an_index_without_them_stays_without(tmp_path: Path) -> None:
    index = build(tmp_path / "index")
    assert index.sentences is None
    with pytest.raises(DataError, match="sentences for an index without"):
        index.add(documents_of([20]), vectors_of([20]), sentences([2]))
    assert len(Index.open(tmp_path / "index")) == 20


def test_what_does_not_fit_is_refused_and_the_index_stays(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the sentences of each document"):
        build(tmp_path / "none", sentences=sentences([1, 2]))
    index = build(tmp_path / "index", sentences=sentences([1] * 20))
    with pytest.raises(DataError, match="not the sentences of each document"):
        index.add(documents_of([20]), vectors_of([20]))
    with pytest.raises(DataError, match="another width"):
        index.add(documents_of([20]), vectors_of([20]), sentences([2], dim=8))
    again = Index.open(tmp_path / "index")
    assert (len(again), len(again.sentences or ())) == (20, 20)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    parts = sentences([1, 2])
    (tmp_path / "s").mkdir()
    Sentences(parts.vectors, parts.first[::-1].copy()).save(tmp_path / "s")
    with pytest.raises(ModelError, match="damaged"):
        Sentences.load(tmp_path / "s")
