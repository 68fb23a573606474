"""The protocol on a toy graph whose answers, ceilings and failures are known."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toy_collection import WordEncoder

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph, Questions, Relation, entity_table
from jepakit.kgqa.evaluate import EXACT, LINKED, OURS, REACHABLE, UNTRAINED, EvaluateConfig, evaluate
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.retriever import PathRetriever
from jepakit.kgqa.retrievers.named import TITLES, ClassicName
from jepakit.training.results import Evaluation, ReportSection

NAMES = ("alpha", "beta", "gamma", "delta", "hermit")
#: alpha and beta are films of gamma; alpha has the language delta.
GRAPH = KnowledgeGraph.from_rows(
    "toy",
    entity_table([f"e{i}" for i in range(5)], names=NAMES),
    [Relation("director"), Relation("language")],
    torch.tensor([(0, 0, 2), (1, 0, 2), (0, 1, 3)]).numpy(),
)
QUESTIONS = Questions(
    (
        "director of alpha",
        "language of alpha",
        "what else did the director of alpha make",
        "who is hermit",
        "director of beta",
    ),
    ((0,), (0,), (0,), (4,), ()),
    ((2,), (3,), (1,), (0,), (2,)),
)


class Relations:
    """A text encoder that counts a few words: its cosine alone finds the paths that the questions mean."""

    dim, fingerprint = 4, "relations"

    def encode(self, texts: Sequence[str], kind: str) -> Tensor:
        words = ("director", "language", "what")
        rows = [[0.1, *(float(text.count(word)) for word in words)] for text in texts]
        return F.normalize(torch.tensor(rows), dim=1)


def retriever() -> PathRetriever:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        matcher = PathMatcher(Relations.dim, GRAPH.num_steps, 2, hidden=8)
    return PathRetriever(GRAPH, Relations(), matcher, through_topic=False, wordings=1)


def evaluated(questions: Questions = QUESTIONS, **options: object) -> Evaluation:
    config = EvaluateConfig(**{"retrievers": ["bm25"], **options})  # pyright: ignore[reportArgumentType]
    ours = retriever()
    return evaluate(GRAPH, questions, ours, ours.matcher, config)


def scores(evaluation: Evaluation, metric: str = "hit@1") -> dict[str, float | None]:
    return {row.method: row.value for row in evaluation.rows if row.metric == metric}


def section(evaluation: Evaluation, title: str) -> ReportSection:
    return next(one for one in evaluation.sections if one.title == title)


def test_each_method_has_its_row_and_paths_their_ceilings() -> None:
    hits = scores(evaluated())
    # No path leads anywhere from the hermit, and the last question's topic is not given, but found by linking.
    assert hits[OURS] == hits[UNTRAINED] == hits[REACHABLE] == hits[EXACT] == pytest.approx(3 / 5)
    assert hits[LINKED] == pytest.approx(4 / 5)
    assert set(hits) == {OURS, UNTRAINED, LINKED, REACHABLE, EXACT, TITLES["bm25"]}
    assert [row.method for row in evaluated().rows if row.ours and row.metric == "mrr"] == [OURS, LINKED]


def test_questions_without_a_topic_are_counted_and_answered_by_text() -> None:
    unknown = replace(
        QUESTIONS, texts=(*QUESTIONS.texts[:4], "gamma or delta"), answers=(*QUESTIONS.answers[:4], (2, 3))
    )
    evaluation = evaluated(unknown)
    rows = {row[:2]: row[2:] for row in section(evaluation, "Questions with and without a topic").rows}
    assert rows == {
        ("given", "paths"): (4, 0.8, 0.75),
        ("given", "text"): (1, 0.2, 1),
        ("linked", "paths"): (5, 1, pytest.approx(3 / 5)),
        ("linked", "text"): (0, 0, None),
    }
    assert scores(evaluation)[OURS] == pytest.approx(4 / 5)
    # Of two entities with the same score by text the first is predicted.
    assert scores(evaluation, "recall")[OURS] == pytest.approx((3 + 0.5) / 5)
    assert scores(evaluation, "precision")[OURS] == pytest.approx(4 / 5)
    assert "1 (20%)" in evaluation.summary[0]


def test_all_that_the_best_path_reaches_is_predicted() -> None:
    films = Questions(("what has gamma as director",), ((2,),), ((0, 1),))
    table = {row.metric: row.value for row in evaluated(films).rows if row.method == OURS}
    assert (table["precision"], table["recall"], table["f1"]) == (1, 1, 1)
    (ceiling,) = [row.value for row in evaluated(films).rows if row.method == EXACT]
    assert ceiling == 1


def test_all_classic_retrievers_can_stand_beside_ours() -> None:
    names = list(get_args(ClassicName))
    words = PathRetriever(
        GRAPH, WordEncoder(), PathMatcher(WordEncoder.dim, GRAPH.num_steps, 2), through_topic=False, wordings=1
    )
    rows = evaluate(GRAPH, QUESTIONS, words, words.matcher, EvaluateConfig(retrievers=names)).rows
    assert {TITLES[name] for name in names} < {row.method for row in rows}
    assert evaluated(retrievers=[], linking=False).sections[0].title != "Entity linking"


def test_questions_that_fail_are_told_by_hops_and_by_relation() -> None:
    by_hops = section(evaluated(), "Where it fails: by hops")
    counted = {row[0]: row[1] for row in by_hops.rows}
    assert counted == {"no path to an answer": 2, "1 relation": 2, "2 relations": 1}
    assert {row[0]: row[4] for row in by_hops.rows} == {"no path to an answer": 0, "1 relation": 1, "2 relations": 1}
    by_relation = section(evaluated(), "Where it fails: by relation")
    assert {row[0]: row[1] for row in by_relation.rows} == {
        "no path to an answer": 2,
        "director": 1,
        "language": 1,
        "~director": 1,
    }
    failures = [row[2] for row in by_relation.rows]
    assert failures == sorted(failures, key=lambda one: -float(one or 0))
    assert by_relation.rows[0][:3] == ("no path to an answer", 2, 2)


def test_linking_has_a_recall_of_its_own() -> None:
    rows = section(evaluated(), "Entity linking").rows
    # Every question with a topic names it exactly.
    assert rows[0] == ("exact", 1.0, 1.0)


def test_answers_that_the_graph_lacks_count_as_not_found() -> None:
    lacking = replace(QUESTIONS, missing=(1, 0, 0, 0, 0))
    whole, part = ((scores(evaluated(asked), "recall")[OURS] or 0) for asked in (QUESTIONS, lacking))
    assert part == pytest.approx(whole - 0.5 / 5)


def test_a_sample_is_measured_alone() -> None:
    assert {row.dataset for row in evaluated(sample=2).rows} == {"toy, 2 questions"}


@pytest.mark.parametrize(("field", "value"), [("limit", 19), ("sample", 0), ("examples", -1), ("retrievers", ["bm26"])])
def test_options_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as error:
        EvaluateConfig(**{field: value})  # pyright: ignore[reportArgumentType]
    assert error.value.field == field


def test_no_questions_are_refused() -> None:
    with pytest.raises(DataError):
        evaluated(QUESTIONS[[]])
