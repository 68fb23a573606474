"""Missing attributes are refused, or filled with 0 and a column that says where."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jepakit.errors import ConfigError, DataError
from jepakit.graph.datasets import load_dataset
from jepakit.graph.datasets.files import load_graph_files

NAN = float("nan")
FILLED: dict[str, tuple[list[Any], list[list[float]]]] = {
    "numbers": ([5, None, 7], [[5, 0], [0, 1], [7, 0]]),
    "nan": ([5.5, NAN, 7], [[5.5, 0], [0, 1], [7, 0]]),
    "booleans": ([True, None, False], [[1, 0], [0, 1], [0, 0]]),
    "texts": (["b", None, "a"], [[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    "lists": ([[1, 2], None, [3, 4]], [[1, 2, 0], [0, 0, 1], [3, 4, 0]]),
    "gaps in lists": ([[1, 2], [None, 5], [3, 4]], [[1, 2, 0], [0, 5, 1], [3, 4, 0]]),
    "nothing": ([None, None, None], [[0, 1], [0, 1], [0, 1]]),
    "nothing missing": ([5, 6.5, 7], [[5, 0], [6.5, 0], [7, 0]]),
}


def _json(folder: Path, values: list[Any]) -> Path:
    """``a`` is an attribute of nodes, and the same of edges; a null in the first half is one that is not given."""
    nodes = [{"id": f"n{row}"} | ({} if value is None and row else {"a": value}) for row, value in enumerate(values)]
    edges = [{"source": f"n{row}", "target": f"n{(row + 1) % 3}", "a": value} for row, value in enumerate(values)]
    (folder / "g.json").write_text(json.dumps({"nodes": nodes, "edges": edges}))
    return folder / "g.json"


def _parquet(folder: Path, values: list[Any]) -> Path:
    pq.write_table(pa.table({"node": [1, 2, 3], "a": pa.array(values)}), folder / "nodes.parquet")
    edges = {"source": [1, 2, 3], "target": [2, 3, 1], "a": pa.array(values)}
    pq.write_table(pa.table(edges), folder / "edges.parquet")
    return folder


@pytest.mark.parametrize("name", FILLED)
@pytest.mark.parametrize("write", [_json, _parquet])
def test_filled_by_hand(name: str, write: Any, tmp_path: Path) -> None:
    values, expected = FILLED[name]
    path = write(tmp_path, values)
    graphs = load_graph_files(path, fill_missing=True).graphs
    assert graphs.x.tolist() == expected
    assert graphs.edge_attr is not None
    assert sorted(graphs.edge_attr.tolist()) == sorted(expected * 2)
    if name != "nothing missing":
        with pytest.raises(DataError, match=r"attribute a.*fill_missing"):
            load_graph_files(path)


def test_what_is_not_missing_is_the_same_as_without_the_option(tmp_path: Path) -> None:
    path = _json(tmp_path, [0.5, 2.0, -1.0])
    plain, filled = load_graph_files(path).graphs, load_graph_files(path, fill_missing=True).graphs
    assert torch.equal(filled.x[:, :1], plain.x)


def test_node_labels_of_several_graphs_are_filled(tmp_path: Path) -> None:
    nodes = [{"id": "a", "label": "x"}, {"id": "b"}]
    (tmp_path / "g.json").write_text(json.dumps([{"nodes": nodes, "edges": []}] * 2))
    assert load_graph_files(tmp_path / "g.json", fill_missing=True).graphs.x.tolist() == [[1, 0], [0, 1]] * 2


def test_graph_labels_are_never_filled(tmp_path: Path) -> None:
    graphs = [{"graph": label, "nodes": [{"id": 0}], "edges": []} for label in ({"label": "x"}, {})]
    (tmp_path / "g.json").write_text(json.dumps(graphs))
    with pytest.raises(DataError, match="the graph has no label"):
        load_graph_files(tmp_path / "g.json", fill_missing=True)


def test_other_faults_stay_faults(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="attribute a: not a finite number"):
        load_graph_files(_json(tmp_path, [1.0, float("inf"), None]), fill_missing=True)
    with pytest.raises(DataError, match="lists differ in length"):
        load_graph_files(_json(tmp_path, [[1], [1, 2], None]), fill_missing=True)


def test_attributes_that_graphml_nodes_and_edges_lack(tmp_path: Path) -> None:
    file = tmp_path / "g.graphml"
    keys = '<key id="b" for="node" attr.name="born" attr.type="int"/><key id="t" for="node" attr.name="title"/>'
    people = '<node id="p"><data key="b">1964</data></node><node id="m"><data key="t">T</data></node>'
    file.write_text(f'<graphml>{keys}<graph>{people}<edge source="p" target="m"/></graph></graphml>')
    assert load_dataset(file, fill_missing=True).graphs.x.tolist() == [[1964, 0, 0, 1], [0, 1, 1, 0]]


def test_data_without_attributes_refuse_the_option() -> None:
    with pytest.raises(ConfigError, match=r"fill_missing.*expected false, since python is not node-link JSON"):
        load_dataset("python", fill_missing=True)
