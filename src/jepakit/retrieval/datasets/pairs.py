"""Which document answers which query: tables of pairs, and the judgements of TREC and BEIR."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from jepakit.errors import DataError, did_you_mean
from jepakit.files import numbered_lines
from jepakit.retrieval.data import Pairs, Queries, same_query
from jepakit.retrieval.datasets.rows import TABLES, Row, read_rows
from jepakit.search.documents import Documents

_QUERY_IDS = ("query-id", "query_id", "qid")
_QUERY_TEXTS = ("query", "question", "anchor")
_DOCUMENT_IDS = ("corpus-id", "corpus_id", "doc-id", "doc_id", "document-id", "document_id")
_DOCUMENTS = (*_DOCUMENT_IDS, "document", "positive", "answer")
_GRADES = ("grade", "score", "relevance")
_SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}


def names_queries_by_id(file: Path) -> bool:
    """Whether a file of pairs holds ids of queries and no texts.

    Raises:
        DataError: it cannot be read, or has no rows.
    """
    return not _is_table(file) or next(read_rows(file)).column(_QUERY_TEXTS) is None


def read_pairs(file: Path, documents: Documents, queries: Queries | None) -> tuple[Queries, dict[str, Pairs]]:
    """Reads pairs from a file, by split.

    A ``.jsonl``, ``.csv`` or ``.tsv`` file with a header has the columns

    - ``query`` (or ``question``, ``anchor``): the text; with ``queries`` also an id. Or ``query-id`` (``query_id``,
      ``qid``): an id of ``queries``.
    - ``document`` (or ``corpus-id``, ``doc_id``, ``positive``, ``answer``, ...): the id of a document, or exactly the
      text of one (of equal texts, the first). ``page.md``, the part of ids before ``#``, is a page: each of its pieces
      is the whole answer.
    - ``grade`` (or ``score``, ``relevance``): an integer, 1 by default. Negative grades (spam in some TREC judgements)
      count as 0.
    - ``split``: train, dev (or valid, validation) or test.

    Every other file, and a ``.tsv`` without these columns, holds a judgement a line: ``query-id 0 document-id grade``
    as in TREC, or ``query-id document-id grade``, separated by white space or tabs.

    A pair that is listed twice with one grade counts once. Queries whose texts differ in nothing but white space and
    Unicode normalisation (NFC) are one query, the first of them, also under several ids; of different grades that ids
    give a document, the highest counts. Case makes a difference, as it does to many encoders.

    Args:
        file: the pairs.
        documents: the corpus.
        queries: the queries that the file refers to; None: their texts are in the file.

    Returns:
        The queries (those given, or the file's, with ids ``q0``, ``q1``, ... in their order there), and the pairs of
        each split; without a column ``split`` there is one, ``all``.

    Raises:
        DataError: the file cannot be read or holds no pairs, a field is missing, an id is unknown, a grade is no
            integer, a pair has two grades, or only some of the rows have a split.
    """
    rows = list(_rows(file, with_texts=queries is None))
    if not rows:
        raise DataError("no pairs", file=file, expected="at least one")
    columns = (*_QUERY_IDS, *_QUERY_TEXTS)
    if queries is None:
        columns = _QUERY_TEXTS
        written = [row.text(_QUERY_TEXTS, empty="an empty query") for row in rows]
        written_first: dict[str, str] = {}
        for text in written:
            written_first.setdefault(same_query(text), text)
        texts = tuple(written_first.values())
        queries = Queries(tuple(f"q{number}" for number in range(len(texts))), texts)
        query_rows = _Rows("query", {}, texts, same_query)
    else:
        query_rows = _Rows("query", queries.row, queries.texts, same_query)
    document_rows = _Rows("document", documents.row, documents.texts)
    pages = _pages(documents)
    splits: dict[str, dict[tuple[int, int], tuple[int, int, Row]]] = {}
    for row in rows:
        query, grade = query_rows.find(row, columns), max(row.integer(_GRADES, 1), 0)
        pieces = pages.get(row.identifier(_DOCUMENTS), ()) or (document_rows.find(row, _DOCUMENTS),)
        page = pieces[0] if len(pieces) > 1 else -1
        for document in pieces:
            first = (grade, page, row)
            first_grade, _, listed = splits.setdefault(_split(row), {}).setdefault((query, document), first)
            if first_grade != grade:
                problem = f"the pair has grade {first_grade} in line {listed.line}"
                raise row.error(problem, "grade", grade, "one grade a pair")
    if "all" in splits and len(splits) > 1:
        *_, row = next(iter(splits["all"].values()))
        raise row.error("no split, though other rows have one", "split", expected="train, dev or test")
    return queries, {
        name: _pairs(splits[name], query_rows) for name in ("all", "train", "dev", "test") if name in splits
    }


def _pages(documents: Documents) -> dict[str, list[int]]:
    """Page -> the rows of its pieces, whose ids are the page's and, but for one, a part behind ``#``."""
    pages: dict[str, list[int]] = {}
    for row, name in enumerate(documents.ids):
        page, cut, _ = name.partition("#")
        if documents.source:
            page = documents.source[row]
            cut = name == page or name.startswith(f"{page}#")
        if cut:
            pages.setdefault(page, []).append(row)
    return pages if documents.source else {page: rows for page, rows in pages.items() if page not in documents.row}


def _pairs(judged: Mapping[tuple[int, int], tuple[int, int, Row]], queries: _Rows) -> Pairs:
    merged: dict[tuple[int, int], tuple[int, int]] = {}
    for (query, document), (grade, page, _) in judged.items():
        pair = queries.first(query), document
        merged[pair] = max((grade, page), merged.get(pair, (0, -1)))
    pairs = Pairs.of(
        [query for query, _ in merged], [row for _, row in merged], [grade for grade, _ in merged.values()]
    )
    pages = torch.tensor([page for _, page in merged.values()], dtype=torch.long)
    return replace(pairs, page=pages) if bool((pages >= 0).any()) else pairs


class _Rows:
    """Rows of queries or documents by id, or else by their text; ``spelled`` gives what equal texts have in common."""

    def __init__(
        self, kind: str, by_id: Mapping[str, int], texts: Sequence[str], spelled: Callable[[str], str] = str
    ) -> None:
        self.kind, self.by_id, self.texts, self.spelled = kind, by_id, texts, spelled

    @cached_property
    def by_text(self) -> dict[str, int]:
        return {self.spelled(text): row for row, text in reversed(list(enumerate(self.texts)))}

    def first(self, row: int) -> int:
        """The first row with the text of this one."""
        return self.by_text[self.spelled(self.texts[row])]

    def find(self, row: Row, columns: Sequence[str]) -> int:
        name = row.identifier(columns)
        place = self.by_id[name] if name in self.by_id else self.by_text.get(self.spelled(name))
        if place is None:
            expected = f"the id or the text of a {self.kind}{did_you_mean(name, self.by_id)}"
            raise row.error(f"unknown {self.kind}", row.column(columns), name, expected)
        return place


def _split(row: Row) -> str:
    if row.column(("split",)) is None:
        return "all"
    name = row.text(("split",))
    if name not in _SPLITS:
        raise row.error("no such split", "split", name, "train, dev or test")
    return _SPLITS[name]


def _is_table(file: Path) -> bool:
    if file.suffix.lower() != ".tsv":
        return file.suffix.lower() in TABLES
    head = next((text for _, text in numbered_lines(file) if text.strip()), "")
    return any(name.strip() in (*_QUERY_IDS, *_QUERY_TEXTS) for name in head.split("\t"))


def _rows(file: Path, *, with_texts: bool) -> Iterator[Row]:
    if _is_table(file):
        yield from read_rows(file)
        return
    if with_texts:
        raise DataError("ids of queries, without their texts", file=file, expected="a file of queries beside it")
    for line, text in numbered_lines(file):
        cells = [cell.strip() for cell in text.split("\t")] if "\t" in text else text.split()
        if len(cells) in (3, 4):
            yield Row(file, line, {"query-id": cells[0], "document-id": cells[-2], "grade": cells[-1]})
        elif text.strip():
            expected = "query-id 0 document-id grade, or a header with 'query' and 'document'"
            raise DataError("not a judgement", file=file, line=line, value=text.strip(), expected=expected)
