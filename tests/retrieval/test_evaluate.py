"""The protocol as a whole: what it says of the vectors, and that its sections come through to the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from toy_collection import WordEncoder, collection

from jepakit.core.diagnostics import effective_rank
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.evaluate import (
    ADAPTER,
    ALONE,
    BASE,
    OURS,
    UNTRAINED,
    EvaluateConfig,
    evaluate,
    mean_cosine,
    prediction_error,
    prediction_section,
    spread_section,
)
from jepakit.retrieval.measuring.comparison import Comparison, measure
from jepakit.retrieval.measuring.metrics import ndcg
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.retrieval.ranking import Encoded, SearchSettings, encode_sentences, nearest, with_sentences
from jepakit.retrieval.serving.searcher import Searcher
from jepakit.search.fusion import weighted
from jepakit.search.hits import Hits
from jepakit.search.index import Index
from jepakit.search.words import LexicalIndex
from jepakit.training.report.data import read_run

ENCODER = WordEncoder()
EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def adapter(**options: object) -> Adapter:
    """Turns a query round; with a projection, documents are changed too."""
    made = Adapter(ENCODER.dim, base=ENCODER.name, fingerprint=ENCODER.fingerprint, **options)
    with torch.no_grad():
        for parameter in made.predictor.parameters():
            parameter.zero_()
        next(made.predictor.parameters()).fill_diagonal_(-2.0)
    return made.eval()


def evaluated(made: Adapter, dataset: RetrievalDataset) -> Comparison:
    evaluation = evaluate(dataset, ENCODER, made, SearchSettings(), EvaluateConfig(bm25=False))
    assert evaluation is not None
    return evaluation


def table(evaluation: Comparison, title: str) -> dict[tuple[object, ...], tuple[object, ...]]:
    (found,) = (section for section in evaluation.sections if section.title == title)
    return {row[:2] if "Vectors of" in found.columns else row[:1]: row for row in found.rows}


def test_errors_of_prediction_are_of_the_queries_of_the_split_alone() -> None:
    dataset = collection(40, foreign=False)
    pairs = dataset.splits["all"]
    # Rows of the split's queries are not their places in the batch that is encoded.
    dataset = replace(dataset, splits={"train": pairs[torch.arange(25)], "test": pairs[torch.arange(25, 40)]})
    errors = table(evaluated(adapter(), dataset), "Is the answer predicted?")
    texts = (dataset.queries.texts[25:], dataset.documents.texts[25:])
    queries, documents = ENCODER.encode(texts[0], "query"), ENCODER.encode(texts[1], "document")
    for method, vectors in ((BASE, queries), (ADAPTER, -queries)):
        distance = torch.cdist(vectors, documents).square()
        away = float(distance.diagonal().mean())
        shuffled = float((distance.sum() - distance.diagonal().sum()) / (15 * 14))
        assert errors[method,] == (method, *map(pytest.approx, (away, shuffled, away / shuffled)))


def test_documents_are_looked_at_where_they_change() -> None:
    dataset = collection(40)
    spread = "Embeddings before and after"
    assert {kind for _, kind in table(evaluated(adapter(), dataset), spread)} == {"queries"}
    changed = table(evaluated(adapter(projection_depth=1, output_dim=8), dataset), spread)
    assert {kind for _, kind in changed} == {"queries", "documents"}
    before, after = changed["Effective rank", "documents"][2:4]
    assert isinstance(before, float)
    assert isinstance(after, float)
    assert after <= 8 < before


@pytest.mark.parametrize(
    ("options", "is_floor"),
    [
        ({}, False),
        ({"projection_depth": 1, "direction": "both"}, False),
        ({"output_dim": ENCODER.dim + 1}, False),
        ({"output_dim": 2}, True),
        ({"start": "random"}, True),
    ],
)
def test_the_untrained_adapter_is_a_floor_where_it_does_not_rank_as_the_base(
    options: dict[str, object], is_floor: bool
) -> None:
    dataset = collection(40, foreign=False)
    torch.manual_seed(0)
    untrained = Adapter(ENCODER.dim, base=ENCODER.name, fingerprint=ENCODER.fingerprint, **options).eval()
    config = EvaluateConfig(bm25=False)
    evaluation = evaluate(dataset, ENCODER, adapter(), SearchSettings(), config, random_encoder=untrained)
    assert evaluation is not None
    scores = {row.method: row.value for row in evaluation.rows if row.metric == "NDCG@10"}
    assert (UNTRAINED in scores) == is_floor
    alone = evaluate(dataset, ENCODER, untrained, SearchSettings(), config)
    assert alone is not None
    score = next(row.value for row in alone.rows if row.metric == "NDCG@10" and row.method == OURS)
    assert score == pytest.approx(scores[UNTRAINED if is_floor else BASE])


def in_sentences(dataset: RetrievalDataset) -> RetrievalDataset:
    """Each document is followed by the text of another, as a sentence of its own."""
    texts = dataset.documents.texts
    both = tuple(f"{text}\n\n{other}" for text, other in zip(texts, texts[1:] + texts[:1], strict=True))
    return replace(dataset, documents=replace(dataset.documents, texts=both))


def test_each_step_without_training_has_a_row_that_is_what_it_says() -> None:
    dataset = in_sentences(collection(60, foreign=False))
    weights = Untrained(
        SearchSettings(words=0.4, feedback=0.2, sentences=0.5), SearchSettings(words=0.1, sentences=0.2)
    )
    evaluation = evaluate(dataset, ENCODER, adapter(), SearchSettings(words=0.3), EvaluateConfig(), weights=weights)
    assert evaluation is not None
    found = {row.method: row.value for row in evaluation.rows if row.metric == "NDCG@10"}
    queries = ENCODER.encode(dataset.queries.texts, "query")
    source = Encoded(
        ENCODER.encode(dataset.documents.passages, "document"), encode_sentences(dataset.documents, ENCODER)
    )
    words = LexicalIndex.build(dataset.documents.passages).search(dataset.queries.texts, 100)
    pairs = dataset.splits["all"]

    def score(hits: Hits) -> float | None:
        return measure(hits, pairs.queries, pairs).mean("NDCG@10")

    base = source.nearest(queries, 100)
    best = encode_sentences(dataset.documents, ENCODER).best(queries, base.rows)
    assert found == {
        OURS: pytest.approx(found[OURS]),
        ALONE: pytest.approx(found[ALONE]),
        BASE: pytest.approx(score(base), abs=1e-6),
        f"{BASE} + sentences": pytest.approx(score(with_sentences(base, best, 0.5)), abs=1e-6),
        f"{BASE} + feedback": pytest.approx(score(nearest(queries, source.documents, 100, 0.2)), abs=1e-6),
        f"{BASE} + BM25": pytest.approx(score(weighted(base, words, 0.4)), abs=1e-6),
        f"{BASE} + sentences + BM25": pytest.approx(
            score(weighted(with_sentences(base, best, 0.2), words, 0.1)), abs=1e-6
        ),
        "BM25": pytest.approx(score(words), abs=1e-6),
    }
    assert {row.method for row in evaluation.rows if row.ours} == {OURS, ALONE}


def test_what_is_measured_as_full_search_is_what_a_searcher_finds(tmp_path: Path) -> None:
    dataset = in_sentences(collection(60, foreign=False))
    made, settings = adapter(), SearchSettings(words=0.3, feedback=0.2, sentences=0.5)
    evaluation = evaluate(dataset, ENCODER, made, settings, EvaluateConfig())
    assert evaluation is not None
    index = Index.build(
        tmp_path / "index",
        dataset.documents,
        ENCODER.encode(dataset.documents.passages, "document"),
        base=ENCODER.name,
        fingerprint=ENCODER.fingerprint,
        sentences=encode_sentences(dataset.documents, ENCODER),
    )
    found = Searcher(index, ENCODER, made, settings).hits(dataset.queries.texts, 10)
    served = ndcg(found.rows, torch.arange(60), dataset.splits["all"])
    assert [row[OURS] for row in evaluation.per_query] == pytest.approx(served.tolist(), abs=1e-6)


def test_an_adapter_that_is_not_used_has_no_row_and_the_advice_says_what_the_search_is() -> None:
    dataset = in_sentences(collection(60, foreign=False))
    unused = adapter()
    unused.strength.fill_(0.0)
    weights = Untrained(each=SearchSettings(sentences=0.5))
    evaluation = evaluate(
        dataset, ENCODER, unused, SearchSettings(sentences=0.5), EvaluateConfig(bm25=False), weights=weights
    )
    assert evaluation is not None
    assert {row.method for row in evaluation.rows} == {OURS, BASE, f"{BASE} + sentences"}
    assert evaluation.recommendation is not None
    assert evaluation.recommendation.startswith(
        f"Use {BASE} + sentences, which needs no training: {OURS} finds the same"
    )


def test_the_sections_are_what_a_report_reads(tmp_path: Path) -> None:
    evaluation = evaluated(adapter(), collection(40, foreign=False))
    (tmp_path / "results.json").write_text(json.dumps(evaluation.as_json(), allow_nan=False))
    results = read_run(tmp_path).results
    assert results is not None
    assert results.sections == evaluation.sections
    assert results.rows == evaluation.rows
    assert [section.title for section in results.sections if section.rows] == [
        "Queries that lost most",
        "Is the answer predicted?",
        "Embeddings before and after",
    ]


def test_a_base_that_is_not_the_adapters_is_not_measured() -> None:
    other = replace(ENCODER, fingerprint="words-2")
    with pytest.raises(
        ModelError, match=r"trained on words with fingerprint words-1, but words has words-2.*train again"
    ):
        evaluate(collection(10), other, adapter(), SearchSettings(), EvaluateConfig())


def test_nothing_to_measure_on() -> None:
    bare = replace(collection(10), splits={}, queries=Queries((), ()))
    assert evaluate(bare, ENCODER, adapter(), SearchSettings(), EvaluateConfig()) is None
    with pytest.raises(DataError, match=r"^split: "):
        evaluate(bare, ENCODER, adapter(), SearchSettings(), EvaluateConfig(split="test"))
    with pytest.raises(ConfigError, match="examples = -1: expected at least 0"):
        EvaluateConfig(examples=-1)


def test_errors_by_hand() -> None:
    # The first query meets its answer; the second stands at a right angle to its own and opposite the other.
    answers, shuffled = prediction_error(
        torch.tensor([EAST, WEST]), torch.tensor([NORTH, EAST, NORTH]), Pairs.of([0, 1], [1, 0])
    )
    assert answers == pytest.approx((0 + 2) / 2)
    assert shuffled == pytest.approx((2 + 4) / 2)


def test_shuffled_pairs_are_all_that_are_none_and_lengths_do_not_count(generator: torch.Generator) -> None:
    queries, documents = torch.randn(9, 5, generator=generator), torch.randn(12, 5, generator=generator)
    # Queries with several answers, one document that answers two, one that is judged and does not answer.
    pairs = Pairs.of([0, 0, 2, 3, 3, 8], [1, 4, 4, 7, 0, 11], [1, 2, 1, 1, 1, 0])
    answers, shuffled = prediction_error(queries * 3, documents * 0.2, pairs)
    distance = (F.normalize(queries)[:, None] - F.normalize(documents)[None]).square().sum(-1)
    right = {(0, 1), (0, 4), (2, 4), (3, 7), (3, 0)}
    wrong = {(q, d) for q in (0, 2, 3) for d in (0, 1, 4, 7)} - right
    for value, some in ((answers, right), (shuffled, wrong)):
        assert value == pytest.approx(float(torch.stack([distance[place] for place in some]).mean()), rel=1e-5)


def test_where_everything_is_an_answer_there_is_nothing_to_shuffle() -> None:
    vectors = torch.tensor([EAST, NORTH])
    assert prediction_error(vectors, vectors, Pairs.of([0], [1]))[1] is None
    section = prediction_section({"base": (vectors, vectors)}, Pairs.of([0], [1]))
    assert section.rows == (("base", pytest.approx(2.0), None, None),)


def test_the_ratio_of_a_perfect_prediction_is_0_and_of_a_blind_one_1(generator: torch.Generator) -> None:
    documents = torch.randn(200, 16, generator=generator)
    pairs = Pairs.of(list(range(200)), list(range(200)))
    section = prediction_section(
        {"told": (documents, documents), "blind": (documents[:1].expand(200, -1), documents)}, pairs
    )
    told, blind = (row[3] for row in section.rows)
    assert told == pytest.approx(0, abs=1e-9)
    assert blind == pytest.approx(1)


def test_mean_cosine_by_hand() -> None:
    assert mean_cosine(torch.tensor([EAST, NORTH, WEST]) * 7) == pytest.approx((0 - 1 + 0) / 3)
    assert mean_cosine(torch.ones(4, 3)) == pytest.approx(1)


def test_the_spread_stands_side_by_side(generator: torch.Generator) -> None:
    wide = torch.randn(50, 8, generator=generator)
    narrow = wide * torch.tensor([1, 1] + [0.01] * 6)
    few = {"base": wide[:2], "adapter": narrow[:2]}
    section = spread_section({"queries": {"base": wide, "adapter": narrow}, "documents": few})
    assert section.columns == ("Diagnostic", "Vectors of", "base", "adapter", "How to read it")
    rows = {row[0]: row for row in section.rows}
    assert {row[1] for row in section.rows} == {"queries"}
    assert rows["Effective rank"][2:4] == (effective_rank(wide), effective_rank(narrow))
    assert rows["Mean cosine"][2] == mean_cosine(wide)
    assert rows["Mean cosine"][4] == "of different rows; 1 is a point, 0 is best"
    assert not spread_section({"queries": few}).rows
