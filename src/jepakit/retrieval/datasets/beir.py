"""Documents and queries in files, and the folder of the BEIR benchmark (Thakur et al. 2021) that holds both."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from jepakit.errors import DataError
from jepakit.files import numbered_lines
from jepakit.retrieval.data import Pairs, Queries, RetrievalDataset
from jepakit.retrieval.datasets.pairs import read_pairs
from jepakit.retrieval.datasets.rows import Row, read_rows
from jepakit.search.documents import Documents

_LOG = logging.getLogger(__name__)

_ID = ("_id", "id")
_NOT_METADATA = {*_ID, "title", "text", "metadata"}
_HEADERS = {"_id", "id", "query-id", "query_id", "qid"}
_SPLITS = ("train", "dev", "test")
# A number that begins with 0 is a code and stays text.
_CELL_TYPES: tuple[tuple[re.Pattern[str], Callable[[str], int | float | bool]], ...] = (
    (re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII), int),
    (re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d{1,2})?", re.ASCII), float),
    (re.compile(r"true|false", re.IGNORECASE), lambda text: text.lower() == "true"),
)


def load_beir(folder: Path) -> RetrievalDataset:
    """Loads ``corpus.jsonl``, ``queries.jsonl`` and those of ``qrels/{train,dev,test}.tsv`` that exist.

    Documents have ``_id``, ``text``, optionally ``title``, and ``metadata``: an object, or the JSON text of one.
    Queries without judgements are kept. A folder without ``queries.jsonl`` and ``qrels`` is a corpus alone.

    Raises:
        DataError: a file is missing or damaged, an id occurs twice, or a judgement has an unknown id.
    """
    documents = read_documents(folder / "corpus.jsonl")
    files = {name: file for name in _SPLITS if (file := folder / "qrels" / f"{name}.tsv").exists()}
    others = sorted(file.name for file in folder.glob("qrels/*") if file not in files.values())
    if others:
        _LOG.warning("%s: not read, since no train.tsv, dev.tsv or test.tsv: %s", folder / "qrels", ", ".join(others))
    queries = Queries((), ())
    if files or (folder / "queries.jsonl").exists():
        queries = read_queries(folder / "queries.jsonl")
    splits: dict[str, Pairs] = {}
    for split, file in files.items():
        _, parts = read_pairs(file, documents, queries)
        if list(parts) != ["all"]:
            raise DataError("a column 'split' in the file of one split", file=file, expected="none")
        splits[split] = parts["all"]
    name = folder.resolve().name
    return RetrievalDataset(name, documents, queries, splits, f"BEIR folder {name}", bool(splits))


def read_documents(file: Path) -> Documents:
    """Reads documents from a ``.jsonl``, ``.csv`` or ``.tsv`` file, see `jepakit.retrieval.datasets.rows`.

    Columns: ``_id`` or ``id``, ``text``, ``title`` (may be missing or null). All others, and those of an object in the
    column ``metadata``, become metadata: strings, numbers and truth values unchanged, lists and objects as JSON text;
    null and empty cells are left out. A column of a CSV or TSV file becomes numbers or truth values if each of its
    cells is one.

    Empty documents keep their row, so that ids stay valid; one warning counts them.

    Raises:
        DataError: the file cannot be read, has no rows or no text, an id occurs twice, or a field is missing or of the
            wrong type.
    """
    line_of: dict[str, int] = {}
    texts: list[str] = []
    titles: list[str] = []
    metadata: list[dict[str, str | int | float | bool]] = []
    for row in read_rows(file):
        _add_id(row, line_of)
        texts.append(row.text(("text",)))
        titles.append(row.text(("title",)) if row.column(("title",)) else "")
        metadata.append(_metadata(row))
    if file.suffix.lower() != ".jsonl":
        _convert_columns(metadata)
    documents = Documents(tuple(line_of), tuple(texts), tuple(titles), tuple(metadata))
    empty = [name for name, text in zip(documents.ids, documents.passages, strict=True) if not text]
    if len(empty) == len(documents):
        raise DataError("no text in any of the documents", file=file, field="text", expected="at least one with text")
    if empty:
        _LOG.warning("%s: %d of %d documents are empty, such as %r", file, len(empty), len(documents), empty[0])
    return documents


def read_queries(file: Path) -> Queries:
    """Reads queries from a ``.jsonl`` or ``.csv`` file with ``_id`` (or ``id``) and ``text``, or lines ``id<TAB>text``.

    Raises:
        DataError: the file cannot be read, has no rows, an id occurs twice, or a query is missing, empty or no string.
    """
    if not file.exists():
        raise DataError("no such file", file=file, expected="the texts of the queries")
    line_of: dict[str, int] = {}
    texts: list[str] = []
    for row in read_rows(file) if file.suffix.lower() in (".jsonl", ".csv") else _tab_separated(file):
        _add_id(row, line_of)
        texts.append(row.text(("text",), empty="an empty query"))
    if not texts:
        raise DataError("no queries", file=file, expected="at least one")
    return Queries(tuple(line_of), tuple(texts))


def _tab_separated(file: Path) -> Iterator[Row]:
    filled = ((line, text.rstrip("\r\n")) for line, text in numbered_lines(file) if text.strip())
    for place, (line, text) in enumerate(filled):
        name, tab, query = text.partition("\t")
        if not tab:
            raise DataError("no tab", file=file, line=line, value=text, expected="id<TAB>text")
        if place or name.strip().lower() not in _HEADERS:
            yield Row(file, line, {"_id": name, "text": query})


def _add_id(row: Row, line_of: dict[str, int]) -> None:
    name = row.identifier(_ID)
    if name in line_of:
        raise row.error(f"the id occurs twice, first in line {line_of[name]}", row.column(_ID), name)
    line_of[name] = row.line


def _metadata(row: Row) -> dict[str, str | int | float | bool]:
    cells = {name: value for name, value in row.cells.items() if name not in _NOT_METADATA}
    given = row.cells.get("metadata")
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except ValueError as error:
            raise row.error(f"not JSON: {error}", "metadata", given, "an object") from None
    if isinstance(given, dict):
        cells |= given
    elif given is not None and given != "":
        raise row.error("not an object", "metadata", given, '{"year": 2024, ...}')
    return {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value, ensure_ascii=False)
        for name, value in cells.items()
        if value is not None and value != ""
    }


def _convert_columns(metadata: list[dict[str, str | int | float | bool]]) -> None:
    """Converts the columns of which every cell is a number or a truth value."""
    for name in dict.fromkeys(name for cells in metadata for name in cells):
        rows = [cells for cells in metadata if name in cells]
        for pattern, convert in _CELL_TYPES:
            if all(pattern.fullmatch(str(cells[name])) for cells in rows):
                for cells in rows:
                    cells[name] = convert(str(cells[name]))
                break
