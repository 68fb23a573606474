"""Triples from tables: every spelling of the same graph is the same graph; bad lines are named."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepakit.errors import DataError
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets.triples import load_triples

ROWS = [
    ("Kismet, the film", "directed_by", 'William "Bill" Dieterle'),
    ("Łódź", "in", "Polska"),
    ("loop", "knows", "loop"),
    ("Kismet, the film", "has|tag", "a\u2028b"),
]


def named(graph: KnowledgeGraph) -> set[tuple[str, ...]]:
    ids = graph.column("id")
    return {(ids[h], graph.relations[r].name, ids[t]) for h, r, t in graph.triples().tolist()}


def as_csv(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def test_every_format_is_read_as_the_same_graph(tmp_path: Path) -> None:
    tabs = "\n".join("\t".join(row) for row in ROWS)
    (tmp_path / "a.tsv").write_text(tabs, "utf-8")
    (tmp_path / "b.txt").write_text("head\trelation\ttail\n" + tabs + "\n\n", "utf-8")
    (tmp_path / "c.csv").write_text("\r\n".join(",".join(map(as_csv, row)) for row in ROWS), "utf-8")
    (tmp_path / "d.csv").write_text(
        "object,subject,predicate\n" + "\n".join(",".join(map(as_csv, (t, h, r))) for h, r, t in ROWS)
    )
    (tmp_path / "e.tsv").write_bytes(gzip.compress(tabs.encode()))
    heads, kinds, tails = zip(*ROWS, strict=True)
    pq.write_table(
        pa.table({"tail": tails, "head": heads, "relation": kinds, "more": [1, 2, 3, 4]}), tmp_path / "f.parquet"
    )
    for name in ("a.tsv", "b.txt", "c.csv", "d.csv", "e.tsv", "f.parquet"):
        assert named(load_triples(tmp_path / name)) == set(ROWS), name


def test_bars_separate_as_in_the_official_metaqa(tmp_path: Path) -> None:
    (tmp_path / "kb.txt").write_text("Kismet|directed_by|William Dieterle\nKismet|release_year|1944\n")
    graph = load_triples(tmp_path / "kb.txt")
    assert named(graph) == {("Kismet", "directed_by", "William Dieterle"), ("Kismet", "release_year", "1944")}
    assert graph.column("id")[0] == "Kismet"


@pytest.mark.parametrize("line", ["only\ttwo", "one\ttwo\tthree\tfour", "single"])
def test_a_line_with_another_number_of_values_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "kb.tsv"
    file.write_text(f"a\tr\tb\na\tr\tc\n{line}\na\tr\td\n")
    with pytest.raises(DataError) as error:
        load_triples(file)
    assert (error.value.file, error.value.line) == (file, 3)
    assert line in str(error.value.value)


@pytest.mark.parametrize(("row", "field"), [("\tr\tb", "head"), ("a\t \tb", "relation"), ("a\tr\t", "tail")])
def test_an_empty_value_is_named(tmp_path: Path, row: str, field: str) -> None:
    file = tmp_path / "kb.tsv"
    file.write_text(f"a\tr\tb\n{row}\n")
    with pytest.raises(DataError) as error:
        load_triples(file)
    assert (error.value.file, error.value.field) == (file, field)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a\tr\t\xff\n", b"head\trelation\ttail\n"])
def test_files_without_triples_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "kb.tsv"
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        load_triples(file)
    assert error.value.file == file


def test_texts_names_and_types_stand_beside(tmp_path: Path) -> None:
    (tmp_path / "kb.tsv").write_text("m1\tdirected_by\tp1\n")
    (tmp_path / "texts.csv").write_text('id,name,text\np1,William,"A director, born 1893."\nother,x,y\n')
    graph = load_triples(tmp_path / "kb.tsv", texts=tmp_path / "texts.csv")
    assert graph.entities.to_pylist() == [
        {"id": "m1", "name": "m1", "type": "", "text": ""},
        {"id": "p1", "name": "William", "type": "", "text": "A director, born 1893."},
    ]
    for table, value in (("name,text\nx,y\n", None), ("id,text\np1,y\nm1,z\np1,y\n", "p1")):
        (tmp_path / "texts.csv").write_text(table)
        with pytest.raises(DataError) as error:
            load_triples(tmp_path / "kb.tsv", texts=tmp_path / "texts.csv")
        assert (error.value.file, error.value.field, error.value.value) == (tmp_path / "texts.csv", "id", value)


def test_real_graphs_have_their_published_counts(data_dir: Path) -> None:
    folder = data_dir / "kgqa"
    counts = {
        "metaqa/kb.tsv": (131_306, 9),
        "pathquestion/2H-kb.txt": (1211, 13),
        "pathquestion/3H-kb.txt": (2839, 13),
        "primekg_subset/triples_59k.tsv": (59_478, 8),
    }
    for name, (triples, relations) in counts.items():
        graph = load_triples(folder / name)
        assert (graph.num_triples, len(graph.relations)) == (triples, relations)
    assert graph.num_entities == 14_609
