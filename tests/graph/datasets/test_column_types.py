"""Every type a column of a table can have is read or refused by a DataError that names the file."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging.version import Version

from jepakit.errors import DataError
from jepakit.graph.datasets.files import load_graph_files

_NUMBERS: list[pa.DataType] = [
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
]
_TEXTS: list[pa.DataType] = [pa.string(), pa.large_string(), pa.string_view()]
_READ = [
    *((kind, [0, 1, 1]) for kind in _NUMBERS),
    *((kind, ["a", "b", "a"]) for kind in _TEXTS),
    *((pa.dictionary(pa.int32(), kind), ["a", "b", "a"]) for kind in (pa.string(), pa.large_string())),
    *((listed(pa.float64()), [[0.0, 1.0]] * 3) for listed in (pa.list_, pa.large_list)),
]
_REFUSED: list[tuple[pa.DataType, list[Any]]] = [
    *((pa.list_(kind), [["a"], ["b"], ["a"]]) for kind in _TEXTS),
    (pa.timestamp("us"), [0, 1, 2]),
    (pa.date32(), [0, 1, 2]),
    (pa.duration("s"), [0, 1, 2]),
    (pa.decimal128(5, 2), [0, 1, 2]),
    (pa.binary(), [b"a", b"b", b"a"]),
    (pa.binary_view(), [b"a", b"b", b"a"]),
    (pa.struct({"a": pa.int64()}), [{"a": 1}] * 3),
    (pa.null(), [None] * 3),
]


@contextlib.contextmanager
def _if_pyarrow_can() -> Iterator[None]:
    """The oldest pyarrow that jepakit takes cannot make every column, nor write it."""
    try:
        yield
    except pa.ArrowNotImplementedError as error:
        if Version(pa.__version__) >= Version("19"):
            raise
        pytest.skip(str(error))


@_if_pyarrow_can()
def _array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_float16(kind):
        return pa.array([np.float16(value) for value in values], kind)
    if pa.types.is_boolean(kind):
        return pa.array([bool(value) for value in values])
    return pa.array(values, kind)


@_if_pyarrow_can()
def _folder(path: Path, place: str, column: pa.Array) -> Path:
    """Three graphs of one node each; ``column`` is the feature, the label of the graphs, the ids or the edges'."""
    ids = pa.array([10, 20, 30])
    of_graph = column if place == "graph" else ids
    of_node = column if place == "node" else ids
    edge_feature = {"w": column} if place == "edge feature" else {}
    tables: dict[str, dict[str, pa.Array]] = {
        "nodes": {"graph": of_graph, "node": of_node, **({"f": column} if place == "feature" else {})},
        "edges": {"graph": of_graph, "source": of_node, "target": of_node, **edge_feature},
        "graphs": {"graph": of_graph, **({"label": column} if place == "label" else {})},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), path / f"{name}.parquet")
    return path


@pytest.mark.parametrize(("kind", "values"), _READ, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("place", ["feature", "edge feature", "label"])
def test_numbers_texts_and_lists_of_any_width_are_read(
    kind: pa.DataType, values: list[Any], place: str, tmp_path: Path
) -> None:
    graphs = load_graph_files(_folder(tmp_path, place, _array(kind, values))).graphs
    assert len(graphs) == 3
    one_hot = {"a": [1, 0], "b": [0, 1]}
    if place == "feature":
        assert graphs.x.tolist() == [
            one_hot[value] if isinstance(value, str) else value if isinstance(value, list) else [value]
            for value in values
        ]


@pytest.mark.parametrize(("kind", "values"), [*_READ, *_REFUSED], ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("place", ["feature", "edge feature", "label", "node", "graph"])
def test_no_type_escapes_as_another_error(kind: pa.DataType, values: list[Any], place: str, tmp_path: Path) -> None:
    with contextlib.suppress(DataError):
        load_graph_files(_folder(tmp_path, place, _array(kind, values)))


@pytest.mark.parametrize("kind", _TEXTS, ids=str)
def test_ids_are_texts_of_any_width(kind: pa.DataType, tmp_path: Path) -> None:
    with _if_pyarrow_can():
        nodes = {"node": pa.array(["b", "a"], kind), "label": pa.array(["x", None], kind)}
        pq.write_table(pa.table(nodes), tmp_path / "nodes.parquet")
    pq.write_table(pa.table({"source": pa.array(["a"]), "target": pa.array(["b"])}), tmp_path / "edges.parquet")
    graphs = load_graph_files(tmp_path).graphs
    assert sorted(map(tuple, graphs.edge_index.T.tolist())) == [(0, 1), (1, 0)]
    assert graphs.node_y is not None
    assert graphs.node_y.tolist() == [0, -1]


@pytest.mark.parametrize("edge_kind", _NUMBERS[:-1], ids=str)
@pytest.mark.parametrize("node_kind", _NUMBERS[:-1], ids=str)
def test_ids_are_the_same_numbers_in_any_type(node_kind: pa.DataType, edge_kind: pa.DataType, tmp_path: Path) -> None:
    pq.write_table(pa.table({"node": _array(node_kind, [7, 100, 5])}), tmp_path / "nodes.parquet")
    ends = {"source": _array(edge_kind, [100]), "target": _array(edge_kind, [5])}
    pq.write_table(pa.table(ends), tmp_path / "edges.parquet")
    edges = load_graph_files(tmp_path).graphs.edge_index
    assert sorted(map(tuple, edges.T.tolist())) == [(1, 2), (2, 1)]


def test_an_id_that_is_not_a_number_is_no_id(tmp_path: Path) -> None:
    pq.write_table(pa.table({"node": [1.0, float("nan")]}), tmp_path / "nodes.parquet")
    pq.write_table(pa.table({"source": [1.0], "target": [1.0]}), tmp_path / "edges.parquet")
    with pytest.raises(DataError, match="row 2, column node: no id"):
        load_graph_files(tmp_path)


def _graphml(path: Path, kind: str, values: list[str]) -> Path:
    nodes = "".join(f'<node id="{at}"><data key="k">{value}</data></node>' for at, value in enumerate(values))
    key = f'<key id="k" for="node" attr.name="a" attr.type="{kind}"/>'
    path.write_text(f"<graphml>{key}<graph>{nodes}</graph></graphml>")
    return path


@pytest.mark.parametrize("kind", ["int", "integer", "long", "short", "byte"])
def test_names_of_whole_number_types(kind: str, tmp_path: Path) -> None:
    assert load_graph_files(_graphml(tmp_path / "g.graphml", kind, ["5", "-7"])).graphs.x.tolist() == [[5], [-7]]
    with pytest.raises(DataError, match="not of its key's type"):
        load_graph_files(_graphml(tmp_path / "g.graphml", kind, ["5", "half"]))


@pytest.mark.parametrize("value", [2**24 + 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 + 1, -(2**63), -(10**30)])
@pytest.mark.parametrize("other", ["3", "1"])
def test_whole_numbers_of_any_size_become_floats_and_rounding_is_said(
    value: int, other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = _graphml(tmp_path / "g.graphml", "long", [str(value), other])
    found = load_graph_files(file).graphs.x[:, 0].tolist()
    assert found == [float(np.float32(value)), float(other)]
    assert f"{file}: attribute a: " in caplog.text


def test_numbers_beyond_floats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nodes\[1\].*attribute a: too large a number"):
        load_graph_files(_graphml(tmp_path / "g.graphml", "long", ["1", "1" + "0" * 400]))


def test_small_whole_numbers_are_exact_and_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_graph_files(_graphml(tmp_path / "g.graphml", "long", [str(2**24), "3"]))
    assert caplog.text == ""
