"""Questions with answers, in the formats of the public data sets and as JSON lines.

Topics and answers that the graph does not have are counted, see `Questions`; they are no error, because public
questions and graphs come from different versions of the data.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jepakit.errors import DataError
from jepakit.files import json_lines, numbered_lines, reading
from jepakit.kgqa.data import KnowledgeGraph, Questions

_TOPIC = re.compile(r"\[([^\[\]]+)\]")


def load_metaqa_questions(file: Path, graph: KnowledgeGraph) -> Questions:
    """Lines ``question with [topic entity]<TAB>answer|answer`` of MetaQA (Zhang et al. 2018).

    Raises:
        DataError: a line has another form; names file and line.
    """
    texts: list[str] = []
    topics: list[list[str]] = []
    answers: list[list[str]] = []
    for line, text in numbered_lines(file):
        if not text.strip():
            continue
        question, tab, listed = text.rstrip("\r\n").partition("\t")
        found = _TOPIC.findall(question)
        if not tab or len(found) != 1:
            expected = "question with one [topic entity], a tab, answers separated by |"
            raise DataError("not a question of MetaQA", file=file, line=line, value=text.strip(), expected=expected)
        texts.append(_TOPIC.sub(r"\1", question))
        topics.append(found)
        answers.append([answer for answer in listed.split("|") if answer])
    hops = next((int(part[0]) for part in file.parts[::-1] if re.fullmatch(r"\dhop|\d-hop", part)), None)
    with reading(file):
        return linked_questions(graph, texts, topics, answers, hops=hops)


def load_pathquestion(file: Path, graph: KnowledgeGraph) -> Questions:
    """Lines ``question<TAB>answer(answer/answer/)<TAB>topic#relation#entity#...#<end>#answer`` (Zhou et al. 2018).

    Raises:
        DataError: a line has another form, or a relation that the graph does not have; names file and line.
    """
    index = {relation.name: row for row, relation in enumerate(graph.relations)}
    texts: list[str] = []
    topics: list[list[str]] = []
    answers: list[list[str]] = []
    paths: list[tuple[int, ...]] = []
    for line, text in numbered_lines(file):
        if not text.strip():
            continue
        cells = text.rstrip("\r\n").split("\t")
        bracket = re.fullmatch(r".*?\((.*)\)", cells[1]) if len(cells) == 3 else None
        if bracket is None:
            expected = "question, answer(answer/answer/) and path, separated by tabs"
            raise DataError(
                "not a question of PathQuestion", file=file, line=line, value=text.strip(), expected=expected
            )
        walk = cells[2].split("#<end>")[0].split("#")
        steps = walk[1::2]
        unknown = next((step for step in steps if step not in index), None)
        if unknown is not None:
            raise DataError("not a relation of the graph", file=file, line=line, field="path", value=unknown)
        # The topic is written with underscores in the question, as in the graph.
        texts.append(cells[0])
        topics.append(walk[:1])
        answers.append([answer for answer in bracket[1].split("/") if answer])
        paths.append(tuple(index[step] for step in steps))
    lengths = {len(path) for path in paths}
    with reading(file):
        return linked_questions(graph, texts, topics, answers, paths, lengths.pop() if len(lengths) == 1 else None)


def load_questions(file: Path, graph: KnowledgeGraph) -> Questions:
    """JSON lines ``{"question": ..., "answers": [ids], "topics": [ids]}``; topics may be left out.

    Raises:
        DataError: a line is no such object; names file and line.
    """
    texts: list[str] = []
    topics: list[list[str]] = []
    answers: list[list[str]] = []
    with reading(file):
        for line, record in json_lines(file):
            if not isinstance(record.get("question"), str):
                expected = '{"question": "...", "answers": [...]}'
                raise DataError("no question", line=line, value=record, expected=expected)
            given = {name: record.get(name, []) for name in ("topics", "answers")}
            for name, ids in given.items():
                if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
                    raise DataError("not a list of ids", line=line, field=name, value=ids)
            texts.append(record["question"])
            topics.append(given["topics"])
            answers.append(given["answers"])
        return linked_questions(graph, texts, topics, answers)


def linked_questions(
    graph: KnowledgeGraph,
    texts: Sequence[str],
    topics: Sequence[Sequence[str]],
    answers: Sequence[Sequence[str]],
    paths: Sequence[tuple[int, ...]] = (),
    hops: int | None = None,
) -> Questions:
    """Questions whose topics and answers are ids; those that the graph does not have are counted."""
    if not texts:
        raise DataError("no questions", expected="a question on each line")
    found, missing = _rows(graph, answers)
    linked, unknown = _rows(graph, topics)
    return Questions(tuple(texts), linked, found, tuple(paths), missing, unknown, hops)


def _rows(graph: KnowledgeGraph, ids: Sequence[Sequence[str]]) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """For each list of ids the rows of those that the graph has, and the number of those that it does not have."""
    flat = graph.find([one for listed in ids for one in listed])
    ends = np.cumsum([len(listed) for listed in ids])
    parts = np.split(flat, ends[:-1])
    found = tuple(tuple(int(row) for row in np.unique(part[part >= 0])) for part in parts)
    return found, tuple(int((part < 0).sum()) for part in parts)
