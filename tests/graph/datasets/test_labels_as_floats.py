"""Whole numbers that are stored or written as floats are the same classes and ids."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jepakit.errors import DataError
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets.files import load_graph_files
from jepakit.graph.datasets.tu import load_tu


def _labelled(folder: Path, labels: list[float]) -> GraphDataset:
    graphs = [{"graph": {"label": label}, "nodes": [{"id": 0}], "edges": []} for label in labels]
    (folder / "g.json").write_text(json.dumps(graphs))
    dataset = load_graph_files(folder / "g.json")
    ids = list(range(len(labels)))
    pq.write_table(pa.table({"graph": ids, "node": ids}), folder / "nodes.parquet")
    pq.write_table(pa.table({"graph": ids[:1], "source": ids[:1], "target": ids[:1]}), folder / "edges.parquet")
    pq.write_table(pa.table({"graph": ids, "label": pa.array(labels)}), folder / "graphs.parquet")
    again = load_graph_files(folder)
    assert (again.task, again.label_names) == (dataset.task, dataset.label_names)
    return dataset


@pytest.mark.parametrize("labels", [[0, 1, 1], [-1, 1, -1], [7, 7], [0, 1, 2, 2, 1] * 3])
def test_whole_floats_are_the_classes_that_the_integers_are(labels: list[int], tmp_path: Path) -> None:
    for name in ("floats", "integers"):
        (tmp_path / name).mkdir()
    floats = _labelled(tmp_path / "floats", [float(label) for label in labels])
    integers = _labelled(tmp_path / "integers", labels)
    assert (floats.task, floats.label_names) == ("graph classification", integers.label_names)
    assert floats.graphs.y is not None
    assert integers.graphs.y is not None
    assert torch.equal(floats.graphs.y, integers.graphs.y)


@pytest.mark.parametrize("labels", [[0.0, 1.0, 0.5], [100.0, 78.0, 64.0], [float(count) for count in range(20)] * 2])
def test_measurements_stay_numbers(labels: list[float], tmp_path: Path) -> None:
    dataset = _labelled(tmp_path, labels)
    assert dataset.task == "graph regression"
    assert dataset.graphs.y is not None
    assert dataset.graphs.y[:, 0].tolist() == labels


_TU = {
    "A": [[1, 2], [2, 1], [3, 4]],
    "graph_indicator": [1, 1, 2, 2],
    "graph_labels": [0, 1],
    "node_labels": [3, 5, 3, 5],
}


@pytest.mark.parametrize("form", ["%d.0", "%.18e", "%g", "+%d"])
def test_tu_files_as_numpy_writes_them(form: str, tmp_path: Path) -> None:
    for folder, written in (("plain", "%d"), ("floats", form)):
        (tmp_path / folder).mkdir()
        for part, values in _TU.items():
            np.savetxt(tmp_path / folder / f"T_{part}.txt", np.array(values), fmt=written, delimiter=", ")
    found, expected = load_tu(tmp_path / "floats"), load_tu(tmp_path / "plain")
    assert (found.task, found.label_names) == ("graph classification", expected.label_names)
    assert torch.equal(found.graphs.x, expected.graphs.x)
    assert torch.equal(found.graphs.edge_index, expected.graphs.edge_index)


@pytest.mark.parametrize("value", ["0.5", "nan", "inf", "1e300", "x"])
def test_tu_labels_that_are_not_whole_are_refused(value: str, tmp_path: Path) -> None:
    (tmp_path / "T_A.txt").write_text("1, 2\n")
    (tmp_path / "T_graph_indicator.txt").write_text("1\n2.0\n2\n")
    (tmp_path / "T_graph_labels.txt").write_text(f"1.0\n{value}\n")
    with pytest.raises(DataError, match=rf"T_graph_labels\.txt:2: not a whole number \(found '{value}'\)"):
        load_tu(tmp_path)
