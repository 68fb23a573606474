"""Search by a static encoder: what the search of torch finds, one query at a time, and whom it leaves queries to."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from static_samples import WORDS, sentences, trained
from torch import Tensor
from toy_collection import WordEncoder

from jepakit.errors import ConfigError, ModelError
from jepakit.retrieval.ranking import encode_sentences
from jepakit.retrieval.serving.app import make_app
from jepakit.retrieval.serving.searcher import Searcher
from jepakit.search.documents import Documents
from jepakit.search.index import Index
from jepakit.search.settings import SearchSettings
from jepakit.search.static.encoder import STATIC
from jepakit.search.static.searcher import StaticSearcher
from jepakit.search.vectors import IndexConfig
from jepakit.training import save_encoder
from servers import serving

ENCODER = WordEncoder()
SETTINGS = (
    SearchSettings(),
    SearchSettings(words=0.4),
    SearchSettings(words_elsewhere=0.3),
    SearchSettings(feedback=0.3),
    SearchSettings(sentences=0.5),
    SearchSettings(words=0.2, feedback=0.4, sentences=0.3, words_elsewhere=0.1),
)
FAMILIAR, FOREIGN = sentences(12, seed=3), " ".join(WORDS[30:36])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a static encoder, and an index of which some documents are deleted."""
    run = tmp_path_factory.mktemp("run")
    parts = sentences(160, seed=2)
    texts = tuple(f"{first}. {second}." for first, second in zip(parts[::2], parts[1::2], strict=False))
    ids = tuple(f"D{number}" for number in range(len(texts)))
    documents = Documents(ids, texts, ("",) * len(texts), tuple({"part": n % 2} for n in range(len(texts))))
    plain = [text.replace(".", "") for text in texts]
    index = Index.build(
        run / "index",
        documents,
        ENCODER.encode(plain, "document"),
        base=ENCODER.name,
        fingerprint="words-1",
        sentences=encode_sentences(documents, ENCODER),
    )
    index.delete(["D3", "D40"])
    index.close()
    save_encoder(trained().network, run / STATIC, config=trained().network.arguments)
    return run


def with_settings(run: Path, settings: SearchSettings) -> tuple[StaticSearcher, Searcher]:
    static = replace(StaticSearcher.open(run), settings=settings)
    return static, Searcher(Index.open(run / "index"), ENCODER, None, settings, static.encoder)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("mode", ["fused", "dense", "words"])
@pytest.mark.parametrize("where", [None, {"part": 1}])
def test_both_searches_find_the_same(
    run: Path, settings: SearchSettings, mode: str, where: dict[str, int] | None
) -> None:
    static, searcher = with_settings(run, settings)
    options = {"mode": mode, "where": where}
    expected = searcher.search(FAMILIAR, 7, **options)  # pyright: ignore[reportArgumentType]
    for query, hits in zip(FAMILIAR, expected, strict=True):
        found = static.search(query, 7, **options)  # pyright: ignore[reportArgumentType]
        assert found is not None
        np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in hits], atol=1e-5)
        assert [replace(hit, score=0.0) for hit in found] == [replace(hit, score=0.0) for hit in hits]


def test_more_documents_than_there_are_may_be_asked_for(run: Path) -> None:
    static, _ = with_settings(run, SETTINGS[-1])
    found = static.search(FAMILIAR[0], 1000)
    assert found is not None
    assert len({hit.id for hit in found}) == len(found) == 78
    assert static.search(FAMILIAR[0], 5, where={"part": 5}) == []


def test_unfamiliar_queries_are_left_to_the_base_and_found_as_without_a_static_encoder(run: Path) -> None:
    settings = SearchSettings(words=0.2)
    static, searcher = with_settings(run, settings)
    assert static.search(FOREIGN) is None
    assert static.search("") is None
    plain = Searcher(searcher.index, ENCODER, None, settings)
    mixed = searcher.hits([FAMILIAR[0], FOREIGN, FAMILIAR[1], ""], 5)
    assert torch.equal(mixed.rows[[1, 3]], plain.hits([FOREIGN, ""], 5).rows)
    assert torch.equal(mixed.rows[[0, 2]], searcher.hits(FAMILIAR[:2], 5).rows)


def test_familiar_queries_do_not_touch_the_base(run: Path) -> None:
    class Untouched(WordEncoder):
        def encode(self, texts: object, kind: object) -> Tensor:
            raise AssertionError(texts)

    _, searcher = with_settings(run, SETTINGS[-1])
    alone = Searcher(searcher.index, Untouched(), None, SETTINGS[-1], searcher.static)
    assert all(alone.search(FAMILIAR, 3))
    with pytest.raises(AssertionError):
        alone.search([FOREIGN], 3)


def test_the_service_counts_unfamiliar_queries_and_answers_after_a_change(run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    _, searcher = with_settings(copied, SearchSettings())
    with serving(make_app(searcher)) as client:
        client.post("/search", json={"query": FOREIGN})
        assert client.post("/documents/delete", json={"ids": ["D5"]}).json()["documents"] == 77
        answers = client.post("/search", json={"queries": list(FAMILIAR[:3]), "k": 4}).json()["results"]
        assert client.get("/health").json()["static"] == {"queries": 4, "unfamiliar": 1}
    _, fresh = with_settings(copied, SearchSettings())
    expected = fresh.search(FAMILIAR[:3], 4)
    assert [[hit["id"] for hit in hits] for hits in answers] == [[hit.id for hit in hits] for hits in expected]


def test_what_does_not_belong_together_is_refused(run: Path, tmp_path: Path) -> None:
    static, searcher = with_settings(run, SETTINGS[0])
    with pytest.raises(ModelError, match="train again"):
        Searcher(searcher.index, WordEncoder(fingerprint="words-2"), None, None, static.encoder)
    with pytest.raises(ConfigError, match="k = 0"):
        static.search(FAMILIAR[0], 0)
    with pytest.raises(ConfigError, match="mode = "):
        static.search(FAMILIAR[0], 1, mode="both")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        StaticSearcher.open(tmp_path)
    for options, told in (({"fingerprint": "other"}, "train again"), ({"config": IndexConfig("hnsw")}, "hnsw")):
        other = tmp_path / told.replace(" ", "")
        save_encoder(trained().network, other / STATIC, config=trained().network.arguments)
        documents = Documents(("a",), ("d1",), ("",), ({},))
        known = {"base": "words", "fingerprint": "words-1", **options}
        Index.build(other / "index", documents, ENCODER.encode(["d1"], "document"), **known).close()
        with pytest.raises(ModelError, match=told):
            StaticSearcher.open(other)
