"""Which document answers which query: tables of pairs, and the judgements of TREC and BEIR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jepakit.errors import DataError, did_you_mean
from jepakit.retrieval.data import Pairs, Queries
from jepakit.retrieval.datasets.rows import TABLES, Row, numbered_lines, read_rows, whole_number
from jepakit.search.documents import Documents

_QUERY_IDS = ("query-id", "query_id", "qid")
_QUERY_TEXTS = ("query", "question", "anchor")
_DOCUMENT_IDS = ("corpus-id", "corpus_id", "doc-id", "doc_id", "document-id", "document_id")
_DOCUMENTS = (*_DOCUMENT_IDS, "document", "positive", "answer")
_GRADES = ("grade", "score", "relevance")
_SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}


@dataclass(frozen=True, slots=True)
class _Judgement:
    """One line of a file, its names not yet looked up, with the columns they stand in."""

    line: int
    query: str
    query_field: str
    document: str
    document_field: str
    grade: int
    split: str


def names_queries_by_id(file: Path) -> bool:
    """Whether a file of pairs holds ids of queries and no texts.

    Raises:
        DataError: it cannot be read, or has no rows.
    """
    if not _is_table(file):
        return True
    return next(read_rows(file)).column(_QUERY_TEXTS) is None


def read_pairs(file: Path, documents: Documents, queries: Queries | None) -> tuple[Queries, dict[str, Pairs]]:
    """Pairs out of a file, by split.

    A ``.jsonl``, ``.csv`` or ``.tsv`` file with a header has the columns

    - ``query`` (or ``question``, ``anchor``): the text; with ``queries`` also an id. Or ``query-id`` (``query_id``,
      ``qid``): an id of ``queries``.
    - ``document`` (or ``corpus-id``, ``doc_id``, ``positive``, ``answer``, ...): the id of a document, or exactly the
      text of one (of equal texts, the first).
    - ``grade`` (or ``score``, ``relevance``): a whole number, 1 where there is none. Below 0 (spam, in some of TREC's
      judgements) is taken as 0.
    - ``split``: train, dev (or valid, validation) or test.

    Every other file, and a ``.tsv`` without these columns, holds judgements a line: ``query-id 0 document-id grade`` as
    in TREC, or ``query-id document-id grade``, with white space or tabs between.

    A pair that stands twice with one grade counts once.

    Args:
        file: what is read.
        documents: the corpus that is named.
        queries: the queries that are named; None: they are the texts in the file.

    Returns:
        The queries (those given, or the file's, with ids ``q0``, ``q1``, ... in their order there), and the pairs of
        each split; without a column ``split`` there is one, ``all``.

    Raises:
        DataError: the file cannot be read or holds no pairs, a field is missing, a name names nothing, a grade is no
            whole number, a pair has two grades, or only some of the rows have a split.
    """
    found = list(_judgements(file, by_text=queries is None))
    if not found:
        raise DataError("no pairs", file=file, expected="at least one")
    if queries is None:
        texts = tuple(dict.fromkeys(judgement.query for judgement in found))
        queries = Queries(tuple(f"q{row}" for row in range(len(texts))), texts)
        asked = _Named("query", {text: row for row, text in enumerate(texts)}, texts)
    else:
        asked = _Named("query", queries.row, queries.texts)
    answers = _Named("document", documents.row, documents.texts)
    splits: dict[str, dict[tuple[int, int], _Judgement]] = {}
    for one in found:
        query = asked.find(one.query, file, one.line, one.query_field)
        document = answers.find(one.document, file, one.line, one.document_field)
        _add(splits.setdefault(one.split, {}), (query, document), one, file)
    if "all" in splits and len(splits) > 1:
        line = next(iter(splits["all"].values())).line
        problem = "no split, though other rows have one"
        raise DataError(problem, file=file, line=line, field="split", expected="train, dev or test")
    return queries, {name: _pairs(splits[name]) for name in ("all", "train", "dev", "test") if name in splits}


class _Named:
    """Rows by id, or else by exactly the text."""

    def __init__(self, kind: str, ids: Mapping[str, int], texts: Sequence[str]) -> None:
        self.kind, self.ids, self.texts = kind, ids, texts

    @cached_property
    def by_text(self) -> dict[str, int]:
        return {text: row for row, text in reversed(list(enumerate(self.texts)))}

    def find(self, name: str, file: Path, line: int, field: str) -> int:
        row = self.ids.get(name)
        row = self.by_text.get(name) if row is None else row
        if row is None:
            expected = f"the id or the text of a {self.kind}{did_you_mean(name, self.ids)}"
            raise DataError(f"names no {self.kind}", file=file, line=line, field=field, value=name, expected=expected)
        return row


def _add(pairs: dict[tuple[int, int], _Judgement], key: tuple[int, int], found: _Judgement, file: Path) -> None:
    before = pairs.setdefault(key, found)
    if before.grade != found.grade:
        problem = f"the pair stands in line {before.line} with grade {before.grade}"
        raise DataError(
            problem, file=file, line=found.line, field="grade", value=found.grade, expected="one grade a pair"
        )


def _pairs(found: Mapping[tuple[int, int], _Judgement]) -> Pairs:
    return Pairs.of(
        [query for query, _ in found], [document for _, document in found], [one.grade for one in found.values()]
    )


def _is_table(file: Path) -> bool:
    if file.suffix.lower() != ".tsv":
        return file.suffix.lower() in TABLES
    head = next((text for _, text in numbered_lines(file) if text.strip()), "")
    return any(name.strip() in (*_QUERY_IDS, *_QUERY_TEXTS) for name in head.split("\t"))


def _judgements(file: Path, *, by_text: bool) -> Iterator[_Judgement]:
    if _is_table(file):
        return (_of_row(row, by_text) for row in read_rows(file))
    if by_text:
        raise DataError("ids of queries, without their texts", file=file, expected="a file of queries beside it")
    return (_of_line(file, line, text) for line, text in numbered_lines(file) if text.strip())


def _of_row(row: Row, by_text: bool) -> _Judgement:
    names = _QUERY_TEXTS if by_text else (*_QUERY_IDS, *_QUERY_TEXTS)
    query = row.text(names) if by_text else row.identifier(names)
    field = row.column(names) or names[0]
    if not query.strip():
        raise row.error("an empty query", field, query)
    split = "all"
    if row.column(("split",)):
        split = _SPLITS.get(row.text(("split",)), "")
        if not split:
            raise row.error("no such split", "split", row.cells["split"], "train, dev or test")
    document = row.identifier(_DOCUMENTS)
    return _Judgement(
        row.line, query, field, document, row.column(_DOCUMENTS) or _DOCUMENTS[0], max(row.whole(_GRADES, 1), 0), split
    )


def _of_line(file: Path, line: int, text: str) -> _Judgement:
    cells = [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()
    if len(cells) not in (3, 4):
        expected = "query-id 0 document-id grade, or a header with 'query' and 'document'"
        raise DataError("not a judgement", file=file, line=line, value=text.strip(), expected=expected)
    grade = whole_number(cells[-1], file, line, "grade")
    return _Judgement(line, cells[0], "query-id", cells[-2], "document-id", max(grade, 0), "all")
