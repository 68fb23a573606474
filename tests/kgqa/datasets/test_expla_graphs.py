from collections import Counter
from pathlib import Path

import pytest

from jepakit.errors import DataError
from jepakit.kgqa.datasets.expla_graphs import load_expla_graphs

HEADER = "arg1\targ2\tlabel\tgraph\n"


def test_pairs_have_their_own_triples(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    rows = ["A is good.\tB, too.\tsupport\t(a; is a; b)( b ;causes;c)", "C.\tD.\tcounter\t(c; is a; a)"]
    file.write_text(HEADER + "\n".join(rows) + "\n")
    pairs = load_expla_graphs(file)
    assert pairs.labels == ("support", "counter")
    assert (pairs.beliefs[0], pairs.arguments[0]) == ("A is good.", "B, too.")

    def named(row: int) -> set[tuple[str, str, str]]:
        subgraph, graph = pairs.subgraphs[row], pairs.graph
        names = graph.column("name", subgraph.entities)
        return {(names[h], graph.relations[r].name, names[t]) for h, r, t in subgraph.triples.tolist()}

    assert named(0) == {("a", "is a", "b"), ("b", "causes", "c")}
    # It shares its concepts with the first pair, not its triples.
    assert named(1) == {("c", "is a", "a")}
    assert pairs.graph.num_triples == 3


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("A\tB\tsupport", None),
        ("A\tB\tmaybe\t(a; is a; b)", "label"),
        ("A\tB\tsupport\t(a; is a)", "graph"),
        ("A\tB\tsupport\t(a; is a; b) and more", "graph"),
        ("A\tB\tsupport\t(a; ; b)", "graph"),
        ("A\tB\tsupport\t", "graph"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, row: str, field: str | None) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text(f"{HEADER}A\tB\tsupport\t(a; is a; b)\n{row}\n")
    with pytest.raises(DataError) as caught:
        load_expla_graphs(file)
    assert (caught.value.file, caught.value.line, caught.value.field) == (file, 3, field)


def test_a_file_without_pairs_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text(HEADER)
    with pytest.raises(DataError):
        load_expla_graphs(file)


@pytest.mark.data
def test_the_public_file(data_dir: Path) -> None:
    pairs = load_expla_graphs(data_dir / "kgqa" / "expla_graphs" / "train_dev.tsv")
    assert Counter(pairs.labels) == {"support": 1534, "counter": 1232}
    assert len(pairs.graph.relations) == 28
    # The published mean sizes (He et al. 2024, table 2): 5.17 nodes and 4.25 edges.
    assert sum(len(part.entities) for part in pairs.subgraphs) / len(pairs) == pytest.approx(5.17, abs=0.01)
    assert sum(len(part.triples) for part in pairs.subgraphs) / len(pairs) == pytest.approx(4.25, abs=0.01)
