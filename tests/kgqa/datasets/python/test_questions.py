"""The built-in graph and its questions: known facts, exact answers, splits that share nothing."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from jepakit.errors import ConfigError
from jepakit.kgqa.data import KnowledgeGraph, Questions
from jepakit.kgqa.datasets import load_graph, load_splits
from jepakit.kgqa.datasets.python.questions import PythonQuestionsConfig, python_questions, templates


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeGraph]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        built = load_graph("python")
        assert load_graph("python").fingerprint == built.fingerprint
        yield built


@pytest.fixture(scope="module")
def splits(graph: KnowledgeGraph) -> Mapping[str, Questions]:
    return load_splits("python", graph)


def test_known_facts_of_the_library(graph: KnowledgeGraph) -> None:
    ids = graph.column("id")
    triples = {(ids[h], graph.relations[r].name, ids[t]) for h, r, t in graph.triples().tolist()}
    for fact in (
        ("json.decoder", "defines", "json.decoder.JSONDecodeError"),
        ("json.decoder.JSONDecodeError", "inherits from", "builtins.ValueError"),
        ("json.decoder.JSONDecoder.raw_decode", "raises", "json.decoder.JSONDecodeError"),
        ("json.decoder", "imports", "json.scanner"),
        ("json.decoder.JSONDecoder.decode", "calls", "json.decoder.JSONDecoder.raw_decode"),
    ):
        assert fact in triples
    assert graph.column("text", graph.rows(["json.decoder.JSONDecodeError"])) == [
        "Subclass of ValueError with the following additional properties:"
    ]
    assert min(Counter(graph.column("type")).values()) > 300
    with pytest.raises(ConfigError) as error:
        load_graph("python", texts="texts.tsv")
    assert error.value.field == "texts"


def test_answers_are_what_the_paths_reach(graph: KnowledgeGraph, splits: Mapping[str, Questions]) -> None:
    neighbours: dict[tuple[int, int], set[int]] = {}
    for head, relation, tail in graph.triples().tolist():
        neighbours.setdefault((head, relation), set()).add(tail)
        neighbours.setdefault((tail, relation + len(graph.relations)), set()).add(head)
    hops: Counter[int] = Counter()
    for questions in splits.values():
        for (topic,), path, answers in zip(questions.topics, questions.paths, questions.answers, strict=True):
            assert path is not None
            reached = {topic}
            for step in path:
                reached = set().union(*(neighbours.get((one, step), set()) for one in reached)) - {topic}
            assert set(answers) == reached
            assert 1 <= len(answers) <= 30
            hops[len(path)] += 1
    assert min(hops[1], hops[2], hops[3]) > 300


def test_what_splits_share(graph: KnowledgeGraph, splits: Mapping[str, Questions]) -> None:
    asked = {name: set(zip(questions.topics, questions.paths, strict=True)) for name, questions in splits.items()}
    assert not asked["train"] & asked["dev"]
    assert not (asked["train"] | asked["dev"]) & asked["test"]
    assert asked["test"] == asked["wordings"]
    names = graph.column("name")

    def wordings(questions: Questions) -> set[str]:
        pairs = zip(questions.texts, questions.topics, strict=True)
        return {text.replace(names[topic], "{}") for text, (topic,) in pairs}

    seen = {name: wordings(questions) for name, questions in splits.items()}
    assert not (seen["train"] | seen["dev"] | seen["test"]) & seen["wordings"]
    assert len(seen["train"]) > 140


def test_questions_are_the_same_for_a_seed(graph: KnowledgeGraph) -> None:
    first, again, other = (
        python_questions(graph, PythonQuestionsConfig(per_path=5, seed=seed))["train"] for seed in (1, 1, 2)
    )
    assert first == again != other
    with pytest.raises(ConfigError):
        PythonQuestionsConfig(per_path=0)


def test_wordings_differ_and_name_the_topic_once(graph: KnowledgeGraph) -> None:
    known = list(templates(graph))
    assert {len(template.path) for template in known} == {1, 2, 3}
    everything = [wording for template in known for wording in template.wordings]
    assert all(wording.count("{}") == 1 for wording in everything)
    assert len(set(everything)) == len(everything)
    assert min(len(template.wordings) for template in known) >= 6
    assert json.dumps(everything).isascii()
