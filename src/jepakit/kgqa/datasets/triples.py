"""Triples in tables: tab-, comma- or bar-separated text, or Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from jepakit.errors import DataError
from jepakit.files import numbered_lines, read_bytes, reading
from jepakit.kgqa.arrow import pc
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table

COLUMNS = ("head", "relation", "tail")
#: Names of the three columns in a header, in small letters, as the common sources write them.
_HEADERS = (
    COLUMNS,
    ("subject", "predicate", "object"),
    ("subject", "relation", "object"),
    ("source", "relation", "target"),
    ("x_name", "relation", "y_name"),
)
_SEPARATORS = {".tsv": "\t", ".csv": ","}
_TEXT = pa.large_utf8()


def load_triples(file: Path, *, texts: Path | None = None, name: str | None = None) -> KnowledgeGraph:
    """A graph from a table of triples; each different name is an entity.

    A header is optional in text and names the columns; otherwise they are head, relation and tail. Text has one triple
    a line, separated by a tab, a comma (with quotes as in RFC 4180) or a bar; it may be packed with gzip.

    Args:
        file: ``.tsv``, ``.csv``, ``.txt`` or ``.parquet``.
        texts: a table with the columns id and text, and optionally name and type, for some or all entities. Rows for
            ids that no triple has are left out.
        name: of the graph; by default that of the file.

    Raises:
        DataError: a line has not three values, a value is empty, or the file cannot be read; names file and line.
    """
    with reading(file):
        table = _parquet(file) if file.suffix == ".parquet" else _text_table(file)
        _require_values(table, file)
    return graph_of_names(name or file.stem, table, texts=texts)


def graph_of_names(name: str, table: pa.Table, *, texts: Path | None = None) -> KnowledgeGraph:
    """A graph from the names of head, relation and tail, columns `COLUMNS`; entities stand in order of appearance."""
    ends = pa.chunked_array([*table["head"].chunks, *table["tail"].chunks], _TEXT).combine_chunks().dictionary_encode()
    kinds = table["relation"].combine_chunks().dictionary_encode()
    rows = ends.indices.to_numpy().astype(np.int64)
    triples = np.stack([rows[: len(table)], kinds.indices.to_numpy().astype(np.int64), rows[len(table) :]], 1)
    entities = entity_table(ends.dictionary)
    if texts is not None:
        entities = _with_texts(entities, texts)
    return KnowledgeGraph.from_rows(name, entities, [Relation(kind) for kind in kinds.dictionary.to_pylist()], triples)


def read_table(file: Path) -> pa.Table:
    """The rows of a CSV, TSV or Parquet file with a header, all columns as text.

    Raises:
        DataError: it cannot be read; names file and line.
    """
    with reading(file):
        if file.suffix == ".parquet":
            table = pq.read_table(file, memory_map=True)
            return table.cast(pa.schema([(field.name, _TEXT) for field in table.schema]))
        return _delimited(file, _SEPARATORS.get(file.suffix, "\t"), None)


def _parquet(file: Path) -> pa.Table:
    schema = pq.read_schema(file)
    columns = _columns(schema.names)
    if columns is None:
        raise DataError("not a table of triples", field="columns", value=schema.names, expected=", ".join(COLUMNS))
    table = pq.read_table(file, columns=columns, memory_map=True).rename_columns(list(COLUMNS))
    return table.cast(pa.schema([(name, _TEXT) for name in COLUMNS]))


def _text_table(file: Path) -> pa.Table:
    first = next(line for _, line in numbered_lines(file))
    separator = _SEPARATORS.get(file.suffix) or next((mark for mark in "\t|," if first.count(mark) >= 2), "\t")
    header = [cell.strip().strip('"') for cell in first.strip("\r\n").split(separator)]
    columns = _columns(header)
    if columns is None:
        return _delimited(file, separator, COLUMNS)
    return _delimited(file, separator, None).select(columns).rename_columns(list(COLUMNS))


def _columns(header: Sequence[str]) -> list[str] | None:
    small = {name.lower(): name for name in header}
    return next(([small[name] for name in names] for names in _HEADERS if set(names) <= set(small)), None)


def _delimited(file: Path, separator: str, columns: Sequence[str] | None) -> pa.Table:
    """A table of texts. Quotes are a matter of commas: in a tab-separated file they belong to the value."""
    wrong: list[tuple[int, str]] = []

    def note(row: Any) -> str:
        wrong.append((row.number, row.text))
        return "skip"

    header = columns is None
    read = pacsv.ReadOptions(use_threads=False, column_names=columns, block_size=1 << 24)
    quotes = separator == ","
    parse = pacsv.ParseOptions(
        delimiter=separator,
        quote_char='"' if quotes else False,
        newlines_in_values=quotes,
        ignore_empty_lines=True,
        invalid_row_handler=note,
    )
    names = columns or [cell.strip('"') for cell in next(iter(numbered_lines(file)))[1].strip("\r\n").split(separator)]
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, _TEXT), strings_can_be_null=False, quoted_strings_can_be_null=False
    )
    content = read_bytes(file)
    _require_utf8(content)
    table = pacsv.read_csv(pa.BufferReader(content), read, parse, convert)
    if wrong:
        line, text = wrong[0]
        expected = f"{len(names)} values separated by {separator!r}"
        raise DataError("not a value for each column", line=line, value=text, expected=expected)
    if not table.num_rows:
        raise DataError(
            "the file has no rows", expected="a triple on each line" if not header else "a row below the header"
        )
    return table


def _require_utf8(content: bytes) -> None:
    """pyarrow prints what `note` cannot decode, and does not raise it.

    Raises:
        UnicodeDecodeError: it is another encoding.
    """
    ends = pa.py_buffer(np.array([0, len(content)], np.int64))
    whole = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(content)])
    try:
        whole.cast(pa.large_utf8())
    except pa.ArrowInvalid:
        content.decode("utf-8")


def _require_values(table: pa.Table, file: Path) -> None:
    for name in COLUMNS:
        blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(table[name]), ""), True)
        if pc.any(blank).as_py():
            row = pc.index(blank, True).as_py()
            raise DataError(
                "the value is empty", file=file, field=name, value=table.slice(row, 1).to_pylist()[0], expected="a name"
            )


def _with_texts(entities: pa.Table, file: Path) -> pa.Table:
    table = read_table(file)
    for name in ("id", "text"):
        if name not in table.column_names:
            raise DataError("the column is missing", file=file, field=name, expected="the columns id and text")
    counts = table["id"].value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        value = repeated[0]["values"].as_py()
        raise DataError("an id occurs twice", file=file, field="id", value=value, expected="a row for each entity")
    place = pc.index_in(entities["id"], value_set=table["id"])
    columns = {"id": entities["id"]}
    for name in ("name", "type", "text"):
        given = table[name].take(place) if name in table.column_names else pa.nulls(len(place), _TEXT)
        columns[name] = pc.coalesce(given, entities[name])
    return pa.table(columns)
