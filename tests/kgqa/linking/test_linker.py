"""Entities that questions name: which part, by which method, in which order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, entity_table
from jepakit.kgqa.datasets.questions import load_metaqa_questions, load_pathquestion
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.linking import EntityLinker, LinkingConfig, Match, linking_recall, mask_topic
from jepakit.kgqa.linking.matches import mask_matches
from jepakit.kgqa.paths.wordings import TOPIC

NAMES = (
    *("Grégoire Colin", "The Matrix", "It", "film", "Creepshow", "Catch Me If You Can", "Up", "director", "Rocky III"),
    *(
        "Grace",
        "Grace Kelly",
        "ludwig_ii_of_bavaria",
        "(500) Days of Summer",
        "東京物語",
        "Laurel & Hardy",
        "Who",
        "G.B.F.",
    ),
)


def graph_of(names: tuple[str, ...], triples: list[tuple[int, int, int]] | None = None) -> KnowledgeGraph:
    table = entity_table([f"e{row}" for row in range(len(names))], names=names)
    return KnowledgeGraph.from_rows("toy", table, [Relation("directed_by")], np.array(triples or [(0, 0, 1)]))


LINKER = EntityLinker(graph_of(NAMES))


def first(question: str) -> tuple[str, str, str]:
    """Name, method and matched part of the best match."""
    match = LINKER.link([question])[0][0]
    return NAMES[match.entity], match.method, question[slice(*match.span)]


@pytest.mark.parametrize(
    ("question", "name", "method", "part"),
    [
        ("what does Grégoire Colin appear in", "Grégoire Colin", "exact", "Grégoire Colin"),
        ("what does gregoire colin appear in", "Grégoire Colin", "normalised", "gregoire colin"),
        ("what does Gre\u0301goire Colin appear in", "Grégoire Colin", "normalised", "Gre\u0301goire Colin"),
        ("who made The Matrix?", "The Matrix", "exact", "The Matrix"),
        ("who made the matrix?", "The Matrix", "normalised", "the matrix"),
        ("who made Matrix, of all films", "The Matrix", "normalised", "Matrix"),
        ("the couple of ludwig_ii_of_bavaria 's mother", "ludwig_ii_of_bavaria", "exact", "ludwig_ii_of_bavaria"),
        ("Ludwig II of Bavaria's mother", "ludwig_ii_of_bavaria", "normalised", "Ludwig II of Bavaria"),
        ("who wrote (500) Days of Summer", "(500) Days of Summer", "exact", "(500) Days of Summer"),
        ("who wrote 500 days of summer", "(500) Days of Summer", "normalised", "500 days of summer"),
        ("誰が東京物語を", "東京物語", "exact", "東京物語"),
        ("films of laurel and hardy", "Laurel & Hardy", "normalised", "laurel and hardy"),
        ("who directed G.B.F.", "G.B.F.", "exact", "G.B.F."),
        ("films like Catch Me If You Can in English", "Catch Me If You Can", "exact", "Catch Me If You Can"),
        ("films like catch me if you cann", "Catch Me If You Can", "fuzzy", "catch me if you cann"),
        ("what did grace kely play in", "Grace Kelly", "fuzzy", "grace kely"),
        ("the genre of Crepshow", "Creepshow", "fuzzy", "Crepshow"),
        ("the film It", "It", "exact", "It"),
    ],
)
def test_a_name_is_linked_in_many_spellings(question: str, name: str, method: str, part: str) -> None:
    assert first(question) == (name, method, part)


MODULES = ("json", "json.decoder", "json.decoder.JSONDecodeError", "json.decoder.JSONDecoder.__init__", "pathlib.Path")
MODULES += ("pathlib.Path.read_text", "zipfile.Path", "zipfile.Path.read_text", "G.B.F.", "error", "os.error")


@pytest.mark.parametrize(
    ("question", "names", "part"),
    [
        ("What does json.JSONDecodeError inherit?", ["json.decoder.JSONDecodeError"], "json.JSONDecodeError"),
        ("What does JSONDecodeError inherit?", ["json.decoder.JSONDecodeError"], "JSONDecodeError"),
        ("what does jsondecoder.__init__ call", ["json.decoder.JSONDecoder.__init__"], "jsondecoder.__init__"),
        ("What does read_text call?", ["pathlib.Path.read_text", "zipfile.Path.read_text"], "read_text"),
        ("What does pathlib.read_text call?", ["pathlib.Path.read_text"], "pathlib.read_text"),
        # Whole names stay what they were.
        ("What does json.decoder define?", ["json.decoder"], "json.decoder"),
        ("Where is pathlib.Path?", ["pathlib.Path"], "pathlib.Path"),
        ("Which error?", ["error"], "error"),
        # Neither parts in another order nor a plain word are a shorter form.
        ("What does JSONDecodeError.json inherit?", ["json"], "json"),
        ("the path of json", ["json"], "json"),
    ],
)
def test_names_with_dots_are_linked_by_shorter_forms(question: str, names: list[str], part: str) -> None:
    matches = EntityLinker(graph_of(MODULES), LinkingConfig(fuzzy=1)).link([question])[0]
    assert [MODULES[match.entity] for match in matches] == names
    assert question[slice(*matches[0].span)] == part


@given(st.text(alphabet="ab.A_1 é東", max_size=20))
def test_any_text_with_dots_and_underscores_has_valid_matches(question: str) -> None:
    for match in EntityLinker(graph_of(("a.b", "A_b.ab1.aaa", "a")), LinkingConfig(fuzzy=1)).link([question])[0]:
        assert 0 <= match.start < match.end <= len(question)


@pytest.mark.parametrize(
    "question", ["who is it", "Who made what", "which of Rocky IV or Rocky II", "?!", "", "Is it up"]
)
def test_common_words_and_other_numbers_are_no_names(question: str) -> None:
    assert LINKER.link([question]) == [()]


def test_what_is_hardly_meant_comes_last() -> None:
    names = [NAMES[match.entity] for match in LINKER.link(["which director made the film Creepshow"])[0]]
    assert names == ["Creepshow", "film", "director"]
    names = [NAMES[match.entity] for match in LINKER.link(["which director made the film It"])[0]]
    assert names[-1] == "director"


def test_all_entities_of_a_name_are_matches_the_one_with_most_triples_first() -> None:
    names = ("Ali", "ALI", "Ali", "Ali Baba", "other")
    linker = EntityLinker(graph_of(names, [(2, 0, 4), (2, 0, 3), (1, 0, 4), (1, 0, 3), (1, 0, 2)]))
    matches = linker.link(["who directed Ali"])[0]
    assert [match.entity for match in matches] == [2, 0, 1]
    assert [match.method for match in matches] == ["exact", "exact", "normalised"]
    assert [match.entity for match in linker.link(["who directed Ali Baba"])[0]] == [3]


def test_of_names_that_stand_in_the_question_the_one_with_its_article_is_more_exact() -> None:
    linker = EntityLinker(graph_of(("Fury", "The Fury")))
    assert [match.entity for match in linker.link(["who acted in The Fury"])[0]] == [1, 0]
    assert [match.entity for match in linker.link(["who acted in Fury"])[0]] == [0, 1]


def test_no_more_than_the_limit() -> None:
    linker = EntityLinker(graph_of(("Same",) * 30), LinkingConfig(limit=4))
    assert len(linker.link(["the Same"])[0]) == 4


class SynonymEncoder:
    """Two words that mean one thing have one vector; all other words are orthogonal."""

    name, dim, fingerprint = "synonyms", 64, "synonyms-1"

    def encode(self, texts: list[str], kind: str) -> Tensor:
        vectors = torch.zeros(len(texts), self.dim)
        for row, text in enumerate(texts):
            for word in text.split():
                place = {"heart": 0, "cardiac": 0, "attack": 1, "infarction": 1}.get(word, 2 + sum(map(ord, word)) % 62)
                vectors[row, place] += 1
        return torch.nn.functional.normalize(vectors, dim=-1)


def test_by_embedding_only_where_nothing_else_matches() -> None:
    names = ("cardiac infarction", "aspirin")
    linker = EntityLinker(graph_of(names), encoder=SynonymEncoder())
    question = "which drug is given after a heart attack"
    (match,), (other,) = linker.link([question, "what does aspirin do after a heart attack"])
    assert (match.entity, match.method, question[slice(*match.span)]) == (0, "embedding", "heart attack")
    assert match.score == pytest.approx(1)
    assert (other.entity, other.method) == (1, "exact")
    assert EntityLinker(graph_of(names)).link([question]) == [()]


@given(st.lists(st.text(max_size=12), min_size=2, max_size=6), st.text(max_size=30), st.data())
def test_any_text_is_linked_to_parts_of_itself(names: list[str], text: str, data: st.DataObject) -> None:
    question = f"{text} {data.draw(st.sampled_from(names))} {text}"
    for match in EntityLinker(graph_of(tuple(names))).link([question])[0]:
        assert 0 <= match.start < match.end <= len(question)
        assert 0 < match.score <= 1
        if match.method == "exact":
            assert question[slice(*match.span)] == names[match.entity]


@pytest.mark.parametrize("field", ["fuzzy", "embedding"])
def test_a_threshold_out_of_range_is_refused(field: str) -> None:
    with pytest.raises(ConfigError) as error:
        LinkingConfig(**{field: 1.5})
    assert error.value.field == field


def test_the_topic_is_masked_and_nothing_else() -> None:
    question = "who directed The Matrix in 1999"
    match = LINKER.link([question])[0][0]
    assert mask_topic(question, match.span) == "who directed X in 1999"
    with pytest.raises(DataError):
        mask_topic(question, (5, 99))


def test_recall_counts_topics_among_the_first_matches_by_method() -> None:
    def match(entity: int, method: str) -> Match:
        return Match(entity, method, 1.0, 0, 1)  # pyright: ignore[reportArgumentType]

    questions = Questions(("a", "b", "c"), ((1,), (2, 3), ()), ((), (), ()))
    matches = [[match(5, "exact"), match(1, "normalised")], [match(2, "fuzzy")], [match(9, "exact")]]
    recall = linking_recall(matches, questions, (1, 2))
    assert recall["exact"] == {1: 0, 2: 0}
    assert recall["normalised"] == {1: 0, 2: pytest.approx(1 / 3)}
    assert recall["fuzzy"] == recall["embedding"] == {1: pytest.approx(1 / 3), 2: pytest.approx(2 / 3)}
    with pytest.raises(DataError):
        linking_recall(matches[:1], questions)


@pytest.mark.data
def test_topics_of_public_questions_are_linked(data_dir: Path) -> None:
    graph = load_triples(data_dir / "kgqa" / "metaqa" / "kb.tsv")
    linker = EntityLinker(graph)
    questions = load_metaqa_questions(data_dir / "kgqa" / "metaqa" / "1-hop" / "test.txt", graph)[range(0, 9947, 5)]
    recall = linking_recall(linker.link(questions.texts), questions)["embedding"]
    assert recall[1] > 0.99
    small = linking_recall(linker.link([text.lower() for text in questions.texts]), questions)["embedding"]
    assert small[5] > 0.99
    draw, names = random.Random(0), graph.column("name")
    wrong = [
        _misspelt(text, names[topic[0]], draw) for text, topic in zip(questions.texts, questions.topics, strict=True)
    ]
    assert linking_recall(linker.link(wrong), questions)["embedding"][5] > 0.8


def _misspelt(text: str, name: str, draw: random.Random) -> str:
    place = draw.randrange(1, max(2, len(name) - 1))
    return text.replace(name, name[:place] + name[place + 1 :])


@pytest.mark.data
@pytest.mark.parametrize("hops", [2, 3])
def test_topics_of_paths_are_linked(data_dir: Path, hops: int) -> None:
    folder = data_dir / "kgqa" / "pathquestion"
    graph = load_triples(folder / f"{hops}H-kb.txt")
    questions = load_pathquestion(folder / f"PQ-{hops}H.txt", graph)
    assert linking_recall(EntityLinker(graph).link(questions.texts), questions)["embedding"][1] > 0.999


@pytest.mark.parametrize(
    ("question", "masked"),
    [
        ("what did grace kely play in", "what did [MASK] play in"),
        ("Who made The Matrix?", "Who made [MASK]?"),
        ("films of laurel and hardy, please", "films of [MASK], please"),
        ("what is this", "what is this"),
    ],
)
def test_topics_are_masked_however_they_are_spelt(question: str, masked: str) -> None:
    (matches,) = LINKER.link([question])
    assert mask_matches(question, matches, most=1) == masked.replace("[MASK]", TOPIC)


def test_of_parts_that_overlap_the_longest_is_masked() -> None:
    question = "the films of Grace Kelly and Up"
    spans = [(13, 18), (13, 24), (29, 31), (0, 3)]
    matches = [Match(0, "exact", 1.0, *span) for span in spans]
    assert mask_matches(question, matches) == f"the films of {TOPIC} and {TOPIC}"
