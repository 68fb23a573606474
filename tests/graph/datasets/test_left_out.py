"""What a file holds and is not read is named; names and ids are neither labels nor features."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets.files import load_graph_files
from jepakit.graph.datasets.tu import load_tu

_PLAIN = {"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"source": "a", "target": "b"}]}


def _load_json(folder: Path, content: object) -> GraphDataset:
    file = folder / "g.json"
    file.write_text(json.dumps(content))
    return load_graph_files(file)


def _nodes(folder: Path, columns: dict[str, list[Any]]) -> GraphDataset:
    """A graph without edges whose nodes have the given attributes, and ids a, b, ... if none are given."""
    size = len(next(iter(columns.values())))
    ids = columns.get("id") or [chr(ord("a") + row) for row in range(size)]
    nodes = [{"id": ids[row]} | {name: values[row] for name, values in columns.items()} for row in range(size)]
    return _load_json(folder, {"nodes": nodes, "edges": []})


@pytest.mark.parametrize("place", ["graph", "node", "edge"])
@pytest.mark.parametrize("key", ["", '<key id="k" for="all" attr.type="int"/>'])
def test_graphml_data_without_a_declared_name_is_named(
    place: str, key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = {name: '<data key="k">1</data>' if name == place else "" for name in ("graph", "node", "edge")}
    file = tmp_path / "g.graphml"
    file.write_text(
        f'<graphml>{key}<graph>{data["graph"]}<node id="a">{data["node"]}</node><node id="b">{data["node"]}</node>'
        f'<edge source="a" target="b">{data["edge"]}</edge></graph></graphml>'
    )
    load_graph_files(file)
    assert len(caplog.messages) == 1
    assert f"{file}: left out: data of key 'k' ({2 if place == 'node' else 1})" in caplog.messages[0]


def test_graphml_ports_are_named_and_drawings_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    start = '<graphml><key id="d" for="node" yfiles.type="nodegraphics"/><graph><node id="a"><data key="d"/>'
    file = tmp_path / "g.graphml"
    file.write_text(f"{start}</node></graph></graphml>")
    load_graph_files(file)
    assert caplog.messages == []
    file.write_text(f'{start}<port name="north"/></node></graph></graphml>')
    load_graph_files(file)
    assert "left out: ports (1)" in caplog.text


@pytest.mark.parametrize("name", ["hyperedges", "hyperEdges"])
def test_json_hyperedges_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"g\.json: graphs\[1\]\.{name}: hyperedges are not supported"):
        _load_json(tmp_path, [_PLAIN, {**_PLAIN, name: [{"nodes": ["a", "b"]}]}])
    assert len(_load_json(tmp_path, {**_PLAIN, name: []}).graphs) == 1


def test_json_keys_that_are_not_read_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _load_json(tmp_path, {**_PLAIN, "directed": False, "multigraph": False, "graph": {"name": "g"}})
    assert caplog.messages == []
    _load_json(tmp_path, [{**_PLAIN, "label": 1}, {**_PLAIN, "label": 0, "groups": ["a"]}])
    assert len(caplog.messages) == 1
    assert "no part of node-link JSON: label, groups" in caplog.messages[0]


@pytest.mark.parametrize(
    "labels",
    [
        ["Ann", "Bob", "Cem"],
        [7, 9, 8],
        [f"name {index}" for index in range(12)],
        [*(f"name {index}" for index in range(15)), "name 0", "name 1", None],
    ],
)
def test_labels_that_are_names_make_no_task(
    labels: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = _nodes(tmp_path, {"label": labels, "size": [0.5] * len(labels)})
    assert (dataset.task, dataset.graphs.node_y, dataset.label_names) == ("none", None, ())
    assert dataset.graphs.x.tolist() == [[0.5]] * len(labels)
    assert len(caplog.messages) == 1
    assert f"attribute label: {len({*labels} - {None})} different values for {len(labels)} nodes" in caplog.messages[0]


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b"],
        ["a", "b", None],
        ["a", "b", "c", "a"],
        [*(f"class {index}" for index in range(12)), *[None] * 20],
        [f"class {index % 15}" for index in range(30)],
    ],
)
def test_labels_that_are_classes_stay(labels: list[Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _nodes(tmp_path, {"label": labels}).task == "node classification"
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        *((name, {name: [15110, 21914]}) for name in ("name", "v_name", "Name", "node_id", "index")),
        ("name", {"name": [15110.0, 21914.0, 507.0]}),
        ("number", {"id": [3, 5, 4], "number": [3, 5, 4]}),
        ("number", {"id": ["n3", "n5", "n4"], "number": [3.0, 5.0, 4.0]}),
    ],
)
def test_numbers_that_are_ids_are_no_feature(
    name: str, columns: dict[str, list[Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(columns[name])
    assert _nodes(tmp_path, {**columns, "mass": [0.5] * size}).graphs.x.tolist() == [[0.5]] * size
    assert len(caplog.messages) == 1
    assert f"g.json: attribute {name}: a different whole number for each node" in caplog.messages[0]


def test_ids_of_parquet_rows_in_any_order_are_no_feature(tmp_path: Path) -> None:
    nodes = {"graph": ["p", "q", "p"], "node": [11, 12, 13], "copy": [11, 12, 13], "mass": [1, 3, 2]}
    pq.write_table(pa.table(nodes), tmp_path / "nodes.parquet")
    edges = {"graph": ["p"], "source": [11], "target": [13]}
    pq.write_table(pa.table(edges), tmp_path / "edges.parquet")
    assert load_graph_files(tmp_path).graphs.x.tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    "columns",
    [
        {"name": [1, 1, 2]},
        {"name": [0.5, 1.5, 2.5]},
        {"mass": [15110, 21914, 507]},
        {"id": [1, 2, 3], "mass": [1, 3, 2]},
        {"id": ["a", "b", "c"], "mass": [0, 1, 2]},
    ],
)
def test_other_numbers_are_features(
    columns: dict[str, list[Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = next(name for name in columns if name != "id")
    assert _nodes(tmp_path, columns).graphs.x[:, 0].tolist() == columns[name]
    assert caplog.messages == []


def _tu(folder: Path, sizes: list[int], edges: list[tuple[int, int]]) -> Path:
    (folder / "T_A.txt").write_text("".join(f"{source}, {target}\n" for source, target in edges))
    rows = [f"{graph}\n" for graph, size in enumerate(sizes, start=1) for _ in range(size)]
    (folder / "T_graph_indicator.txt").write_text("".join(rows))
    return folder


@pytest.mark.parametrize(
    ("sizes", "edges"),
    [
        ([2, 2], [(1, 2), (2, 1)] * 2),
        ([3, 3, 2], [(1, 2), (2, 3), (1, 2), (2, 3), (1, 2)]),
        ([2, 3], [(1, 2), (1, 2), (2, 3)]),
        ([2, 4], [(1, 2), (1, 4)]),
    ],
)
def test_node_ids_that_restart_are_refused(sizes: list[int], edges: list[tuple[int, int]], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"T_A\.txt: node ids restart in each graph.*from 1 to {sum(sizes)}"):
        load_tu(_tu(tmp_path, sizes, edges))


def test_node_ids_that_perhaps_restart_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load_tu(_tu(tmp_path, [3, 3], [(1, 2), (2, 3)])).graphs.edges_per_graph.tolist() == [4, 0]
    assert "perhaps node ids restart in each graph: no id is above 3, and 1 graphs have no edges" in caplog.text


@pytest.mark.parametrize(
    ("sizes", "edges"),
    [([3, 1], [(1, 2), (2, 1)] * 2), ([2, 2], [(3, 4), (3, 4)]), ([4], [(1, 2), (1, 2)]), ([2, 2], [])],
)
def test_node_ids_that_go_on_are_read(
    sizes: list[int], edges: list[tuple[int, int]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(load_tu(_tu(tmp_path, sizes, edges)).graphs) == len(sizes)
    assert caplog.messages == []
