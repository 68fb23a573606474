"""Questions in the formats of the public data sets."""

import json
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.datasets.questions import load_metaqa_questions, load_pathquestion, load_questions
from jepakit.kgqa.datasets.triples import load_triples

GRAPH = KnowledgeGraph.from_rows(
    "toy",
    entity_table(["Kismet", "William", "1944"]),
    [Relation("directed_by"), Relation("year")],
    np.array([[0, 0, 1], [0, 1, 2]]),
)


def test_metaqa(tmp_path: Path) -> None:
    file = tmp_path / "2-hop" / "dev.txt"
    file.parent.mkdir()
    file.write_text("when did films by [William] come out\t1944|1950\n\nwho made [Nothing]\tWilliam\n")
    questions = load_metaqa_questions(file, GRAPH)
    assert questions.texts == ("when did films by William come out", "who made Nothing")
    assert questions.topics == ((1,), ())
    assert questions.answers == ((2,), (1,))
    assert (questions.missing, questions.unknown, questions.hops) == ((1, 0), (0, 1), 2)


@pytest.mark.parametrize("line", ["no topic\tx", "two [a] and [b]\tx", "[a] without answers"])
def test_other_lines_are_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "dev.txt").write_text(f"[Kismet]\tWilliam\n{line}\n")
    with pytest.raises(DataError) as error:
        load_metaqa_questions(tmp_path / "dev.txt", GRAPH)
    assert error.value.line == 2


def test_pathquestion(tmp_path: Path) -> None:
    file = tmp_path / "PQ.txt"
    file.write_text("who made Kismet ?\tWilliam(William/Nobody/)\tKismet#directed_by#William#<end>#William\n")
    questions = load_pathquestion(file, GRAPH)
    assert (questions.topics, questions.answers, questions.paths, questions.hops) == (((0,),), ((1,),), ((0,),), 1)
    file.write_text("who\tWilliam(William/)\tKismet#painted_by#William#<end>#William\n")
    with pytest.raises(DataError) as error:
        load_pathquestion(file, GRAPH)
    assert (error.value.line, error.value.value) == (1, "painted_by")


def test_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    lines = [
        {"question": "who?", "answers": ["William"], "topics": ["Kismet", "1944"]},
        {"question": "what?", "answers": []},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    questions = load_questions(file, GRAPH)
    assert (questions.texts, questions.topics, questions.answers) == (("who?", "what?"), ((0, 2), ()), ((1,), ()))


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"text": "x"}', '{"question": "x", "answers": "William"}', '{"question": "x", "topics": [1]}']
)
def test_json_lines_that_are_no_questions_are_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(f'{{"question": "who?"}}\n{line}\n')
    with pytest.raises(DataError) as error:
        load_questions(file, GRAPH)
    assert (error.value.file, error.value.line) == (file, 2)


def test_published_counts(data_dir: Path) -> None:
    folder = data_dir / "kgqa"
    graph = load_triples(folder / "metaqa" / "kb.tsv")
    counts = {1: (9947, 9992), 2: (14_872, 14_872), 3: (14_274, 14_274)}
    for hops, (test, dev) in counts.items():
        for part, count in (("test", test), ("dev", dev)):
            questions = load_metaqa_questions(folder / "metaqa" / f"{hops}-hop" / f"{part}.txt", graph)
            assert (len(questions), questions.hops) == (count, hops)
    for hops, count in ((2, 1908), (3, 5198)):
        graph = load_triples(folder / "pathquestion" / f"{hops}H-kb.txt")
        questions = load_pathquestion(folder / "pathquestion" / f"PQ-{hops}H.txt", graph)
        assert (len(questions), questions.hops, sum(questions.missing), sum(questions.unknown)) == (count, hops, 0, 0)
