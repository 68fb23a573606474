"""Pairs made of a corpus alone: each kind by hand, and the target never holds what is asked."""

from pathlib import Path

import pytest

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.datasets.chunks import word_spans
from jepakit.retrieval.datasets.made_pairs import Kind, MadePairs, made_pairs
from jepakit.search.documents import Documents

BODY = "Boil the water first. Then wait for a while! Pour it over the leaves. Drink."
LONG = " ".join(f"w{n}" for n in range(50))


def corpus(*rows: tuple[str, str]) -> Documents:
    return Documents(
        tuple(f"d{n}" for n in range(len(rows))),
        tuple(text for _, text in rows),
        tuple(title for title, _ in rows),
        ({},) * len(rows),
    )


def triples(made: MadePairs) -> list[tuple[str, int, str]]:
    """Query, document and target of each pair, sorted."""
    rows = zip(made.pairs.query.tolist(), made.pairs.document.tolist(), made.targets, strict=True)
    return sorted((made.queries.texts[query], document, target) for query, document, target in rows)


def test_titles_by_hand() -> None:
    documents = corpus(
        ("Making tea", f"Making TEA: {BODY}"),
        ("Guide › Tea", f"Tea. {BODY}"),
        ("Tea", f"Teapots. {BODY}"),
        ("How to make a cup of tea", f"{BODY} This is how to make a cup of tea. Enjoy it."),
        ("", BODY),
        ("Nothing left", "nothing left - but this"),
    )
    assert triples(made_pairs(documents, kinds=["title"], seed=0)) == [
        ("Guide Tea", 1, BODY),
        ("How to make a cup of tea", 3, f"{BODY} This is Enjoy it."),
        ("Making tea", 0, BODY),
        ("Tea", 2, f"Teapots. {BODY}"),
    ]


def test_headings_by_hand() -> None:
    documents = corpus(("Guide › Tea › Green", f"Green\n\n{BODY}"), ("Guide", BODY), ("Guide › Black", "Too short."))
    assert triples(made_pairs(documents, kinds=["heading"], seed=0)) == [("Green", 0, f"Guide › Tea {BODY}")]


def test_sentences_by_hand() -> None:
    sentences = ["Boil the water first.", "Then wait for a while!", "Pour it over the leaves."]
    seen: set[str] = set()
    for seed in range(20):
        (row,) = triples(made_pairs(corpus(("Tea", BODY)), kinds=["sentence"], seed=seed))
        rest = " ".join(sentence for sentence in [*sentences, "Drink."] if sentence != row[0])
        assert row == (row[0], 0, f"Tea {rest}")
        seen.add(row[0])
    assert seen == set(sentences)


def test_a_sentence_that_stands_twice_or_within_another_does_not_tell() -> None:
    twice = corpus(("", "Stop here now please. Go on then all of you. Stop here now please."))
    for seed in range(10):
        (row,) = triples(made_pairs(twice, kinds=["sentence"], seed=seed))
        assert row[0] not in row[2]
    within = corpus(("I say: Stop here now please.", "Stop here now please. Yes and so on."))
    found = [triples(made_pairs(within, kinds=["sentence", "title"], seed=seed)) for seed in range(10)]
    assert not any(query == "Stop here now please." for rows in found for query, _, _ in rows)


@pytest.mark.parametrize("count", [20, 21, 50, 333])
def test_crops_are_30_to_60_percent_and_apart(count: int) -> None:
    text = " ".join(f"w{n}" for n in range(count))
    firsts: set[bool] = set()
    for seed in range(40):
        ((query, _, target),) = triples(made_pairs(corpus(("", text)), kinds=["crops"], seed=seed))
        assert query in text
        assert target in text
        assert 0.3 * count <= min(len(query.split()), len(target.split()))
        assert max(len(query.split()), len(target.split())) <= 0.6 * count
        assert not set(query.split()) & set(target.split())
        firsts.add(text.index(query) < text.index(target))
    assert firsts == {True, False}


def test_equal_queries_are_one_with_several_documents() -> None:
    made = made_pairs(corpus(("Tea", BODY), ("Tea", f"{BODY} And more."), ("Coffee", BODY)), kinds=["title"], seed=0)
    assert sorted(made.queries.texts) == ["Coffee", "Tea"]
    assert sorted(made.pairs.document[made.pairs.query == made.queries.texts.index("Tea")].tolist()) == [0, 1]
    assert {name.partition(":")[0] for name in made.queries.ids} == {"title"}


def test_the_seed_decides_and_a_limit_takes_the_first() -> None:
    documents = corpus(*((f"Title {n}", f"{BODY} It is number {n} of all. {LONG}") for n in range(30)))
    every: list[Kind] = ["title", "heading", "sentence", "crops"]
    whole = made_pairs(documents, kinds=every, seed=3)
    assert len(whole.pairs) == 90
    assert whole.targets == made_pairs(documents, kinds=every, seed=3).targets
    assert whole.targets != made_pairs(documents, kinds=every, seed=4).targets
    some = made_pairs(documents, kinds=every, seed=3, limit=10)
    assert some.targets == whole.targets[:10]
    assert some.pairs.document.tolist() == whole.pairs.document[:10].tolist()
    assert some.queries.texts == whole.queries.texts[: len(some.queries)]


def test_chinese_and_japanese() -> None:
    text = "今日はとても良い天気です。明日は雨が降るでしょう。傘を持って行きましょう。"
    ((query, _, target),) = triples(made_pairs(corpus(("天気", text)), kinds=["sentence"], seed=0))
    assert query.endswith("。")
    assert query not in target
    assert made_pairs(corpus(("天気", text)), kinds=["crops"], seed=0).targets[0] in text


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["title"], r"kinds: no pairs can be made .*\['title'\]\); expected titles, and texts under them"),
        (["heading", "crops"], r"expected titles with headings, .*; or texts of 20 words and more"),
        (["sentence"], r"expected texts of two sentences and more"),
    ],
)
def test_nothing_to_make_pairs_of(kinds: list[Kind], message: str) -> None:
    with pytest.raises(DataError, match=message):
        made_pairs(corpus(("", "One sentence of six words."), ("", "")), kinds=kinds, seed=0)


def test_faults_of_the_options() -> None:
    for options, message in (
        ({"kinds": []}, r"kinds = \[\]: expected some of title, heading, sentence, crops"),
        ({"kinds": ["titel"]}, r"kinds = 'titel': expected one of .*did you mean 'title'"),
        ({"limit": 0}, "limit = 0: expected at least 1, or null"),
    ):
        with pytest.raises(ConfigError, match=message):
            made_pairs(corpus(("Tea", BODY)), seed=0, **options)


@pytest.mark.data
def test_scientific_abstracts(data_dir: Path) -> None:
    documents = load_dataset("scifact", data_dir=data_dir).documents
    made = made_pairs(documents, kinds=["title", "sentence", "crops"], seed=0, limit=6000)
    rows = triples(made)
    assert len(rows) == 6000
    # A short title may well be what the text is about.
    assert not any(query in target for query, _, target in rows if len(query.split()) > 3)
    assert all(len(word_spans(target)) >= 4 for _, _, target in rows)
    for query, document, _ in rows:
        assert query in documents.passages[document]
