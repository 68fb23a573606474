"""A graph on disk: what was put in is there, without reading it; what is damaged or wrong is said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.files.verify import verify
from jepakit.graph import EncoderConfig, GraphDataset, GraphEncoder, Graphs, evaluate, load_dataset, preset, pretrain
from jepakit.graph.evaluate import OURS, EvaluateConfig
from jepakit.graph.floors import FEATURES, SMOOTHING, SPREADING
from jepakit.graph.large import sampling, store
from jepakit.graph.large.embedding import spread
from jepakit.graph.large.parquet import store_parquet
from jepakit.graph.large.store import open_store, write_store
from jepakit.graph.probe.propagation import smoothed_features, spread_features
from jepakit.graph.recommendation import RANDOM

NODES, LABELS = 120, np.array([0, 1, 2] * 40)


def edges_of(seed: int = 0, *, pairs: int = 600) -> np.ndarray:
    """Undirected, more inside of a class, with repeats and self loops."""
    rng = np.random.default_rng(seed)
    source = rng.integers(NODES, size=pairs)
    target = np.where(
        rng.random(pairs) < 0.8, (source + 3 * rng.integers(NODES, size=pairs)) % NODES, rng.integers(NODES, size=pairs)
    )
    return np.stack([source, target])


def features() -> np.ndarray:
    return (np.random.default_rng(1).standard_normal((NODES, 4)) + LABELS[:, None]).astype(np.float32)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose node ids are no row numbers."""
    folder = tmp_path_factory.mktemp("parquet")
    x, ids = features(), 7 * (NODES - np.arange(NODES)) - 3
    write_parquet(folder, "nodes", node=ids, a=x[:, 0], rest=list(x[:, 1:]), label=[f"c{y}" for y in LABELS])
    source, target = ids[edges_of()]
    write_parquet(folder, "edges", source=source, target=target)
    return folder


def write_parquet(folder: Path, name: str, **columns: Any) -> None:
    pq.write_table(
        pa.table({key: pa.array(list(values)) for key, values in columns.items()}), folder / f"{name}.parquet"
    )


@settings(max_examples=12)
@given(st.integers(0, 50), st.integers(1, 5), st.sampled_from([1, 40, 8_000_000]))
def test_a_store_has_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, seed: int, parts: int, at_once: int
) -> None:
    folder = tmp_path_factory.mktemp("store") / "graph"
    edges, x = edges_of(seed, pairs=3 * seed), features()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_EDGES_IN_MEMORY", at_once)
        patch.setattr(store, "_ENTRIES_AT_ONCE", 64)
        written = write_store(folder, np.array_split(x, parts), np.array_split(edges, parts, axis=1), node_y=LABELS)
    graphs = open_store(written).graphs
    proper = edges[:, edges[0] != edges[1]]
    both = np.unique(np.concatenate([proper, proper[::-1]], axis=1), axis=1)
    expected = Graphs.pack(x, both, torch.tensor([NODES]), node_y=LABELS)
    for name, value in expected.tensors().items():
        assert torch.equal(graphs.tensors()[name], value), name
    assert torch.equal(graphs.degree, expected.in_degree)  # pyright: ignore[reportArgumentType]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["graph"]
    assert not verify(written).faults


def test_a_store_of_parquet_is_the_graph_that_is_loaded_from_it(parquet: Path, tmp_path: Path) -> None:
    made = load_dataset(store_parquet(parquet, tmp_path / "s"))
    plain = load_dataset(parquet)
    assert (made.task, made.label_names) == (plain.task, plain.label_names)
    for name in ("x", "edge_index", "node_y"):
        assert torch.equal(made.graphs.tensors()[name], plain.graphs.tensors()[name]), name


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (
            {"node": [1, 1]},
            {"source": [1], "target": [1]},
            r"nodes.parquet: row 2, column node: the id occurs twice \(found 1\)",
        ),
        (
            {"node": [1, 2]},
            {"source": [1], "target": [3]},
            r"edges.parquet: row 1, column target: no such node",
        ),
        ({"node": ["a", "b"]}, {"source": [1], "target": [3]}, r"nodes.parquet.*node.*not whole numbers"),
        ({"node": [0, 1], "t": ["a", "b"]}, {"source": [0], "target": [1]}, r"nodes.parquet: t: not numbers"),
        ({"node": [0, 1], "t": [1.0, None]}, {"source": [0], "target": [1]}, r"nodes.parquet.*row 2.*missing"),
        ({"node": [0, None]}, {"source": [0], "target": [1]}, r"nodes.parquet.*row 2, column node.*missing"),
        ({"node": [0, 1]}, {"source": [0]}, r"edges.parquet.*no column 'target'"),
        ({"node": [0, 1], "graph": [0, 0]}, {"source": [0], "target": [1]}, r"several graphs"),
    ],
)
def test_what_is_wrong_in_parquet_is_said(nodes: Any, edges: Any, message: str, tmp_path: Path) -> None:
    write_parquet(tmp_path, "nodes", **nodes)
    write_parquet(tmp_path, "edges", **edges)
    with pytest.raises(DataError, match=r"(?s)" + message) as raised:
        store_parquet(tmp_path, tmp_path / "out")
    assert str(tmp_path) in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("x", "edges", "message"),
    [
        ([np.zeros((2, 1)), np.zeros((1, 2))], [], "not rows of one width"),
        ([np.array([[0.0], [np.nan]])], [], r"features\[1, 0\]"),
        ([], [], "there are no nodes"),
        ([np.zeros((2, 1))], [np.array([[0], [1]]), np.array([[0], [2]])], r"edges\[:, 1\]"),
        ([np.zeros((2, 1))], [np.zeros((2, 1))], "not edges"),
    ],
)
def test_arrays_that_are_no_graph_are_refused(x: Any, edges: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write_store(tmp_path / "out", x, edges)
    assert not list(tmp_path.iterdir())


def test_a_damaged_store_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "s", [features()], [edges_of()], node_y=LABELS, label_names=("a", "b", "c"))
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        for damaged in (content[: len(content) // 2], b"", content.replace(b"shape", b"spahe", 1)):
            if damaged == content:
                continue
            file.write_bytes(damaged)
            with pytest.raises(DataError, match=file.name):
                open_store(folder)
        file.unlink()
        with pytest.raises(DataError):
            load_dataset(folder)
        # One bit of the content: opening does not read it, verify does.
        file.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
        assert file.name in verify(folder).faults[0]
        file.write_bytes(content)
    assert not verify(folder).faults
    other = write_store(tmp_path / "t", [features()[1:]], [edges_of() % (NODES - 1)])
    (folder / "features.npy").write_bytes((other / "features.npy").read_bytes())
    with pytest.raises(DataError, match=r"features.npy.*not the shape that store.json states"):
        open_store(folder)


def test_an_edge_from_nowhere_in_a_damaged_store_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.graph.large.clusters.METIS_EDGES", 0)
    folder = write_store(tmp_path / "s", [features()], [edges_of()])
    edges = np.load(folder / "edges.npy")
    edges[0, 10:] = NODES + 5
    np.save(folder / "edges.npy", edges)
    graphs = open_store(folder)
    batches = sampling.NeighbourBatches(graphs.graphs, sampling.SamplingConfig("neighbours"))
    problem = "an edge comes from a node that does not exist"
    with pytest.raises(DataError, match=problem):
        batches.draw(graphs.graphs, torch.arange(batches.size), torch.Generator())
    with pytest.raises(DataError, match=problem), spread(graphs.graphs, steps=1, restart=0.1):
        pass
    with pytest.raises(DataError, match=problem):
        sampling.batches_of(graphs.graphs, sampling.SamplingConfig("clusters"), seed=0)


def test_spread_features_are_those_of_memory(tmp_path: Path) -> None:
    dataset = open_store(write_store(tmp_path / "s", [features()], [edges_of()]))
    with spread(dataset.graphs, steps=2, restart=0.0) as found:
        torch.testing.assert_close(found, smoothed_features(dataset.graphs))
    with spread(dataset.graphs, steps=20, restart=0.1, unit_rows=True, scratch=tmp_path) as found:
        torch.testing.assert_close(found, spread_features(dataset.graphs))
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_a_large_graph_is_pre_trained_probed_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large is lowered, so that all that is done for large graphs is done for this one."""
    folder = write_store(tmp_path / "s", [features()], [edges_of()], node_y=LABELS, label_names=("a", "b", "c"))
    dataset = open_store(folder)
    config = preset("nodes", epochs=2, progress=False, accelerator="cpu")
    config = replace(config, encoder=EncoderConfig(conv="gcn", hidden=8, layers=1, norm="none", jumping="last"))
    monkeypatch.setattr(sampling, "FULL_NODES", 50)
    monkeypatch.setattr(sampling, "_SAMPLE_NODES", 50)
    pretrained = pretrain(dataset, replace(config, sampling=sampling.SamplingConfig(batch_nodes=40)))
    assert pretrained.fit.steps == 2 * 3
    probed = EvaluateConfig(most_nodes=20)
    found = evaluate(dataset, pretrained.encoder, pretrained.random_encoder, probed)
    assert {row.method for row in found.rows} == {OURS, RANDOM, FEATURES, SMOOTHING, SPREADING}
    assert "train 20, val 12, test 12" in found.summary[0]
    monkeypatch.undo()
    plain = evaluate(dataset, pretrained.encoder, None, EvaluateConfig())
    whole = {row.method: row.value for row in plain.rows}
    monkeypatch.setattr(sampling, "FULL_NODES", 50)
    every = evaluate(dataset, pretrained.encoder, None, EvaluateConfig())
    assert {row.method: row.value for row in every.rows} == pytest.approx(
        {method: whole[method] for method in (OURS, FEATURES, SMOOTHING, SPREADING)}
    )


def test_names_of_a_graph_in_memory_are_those_of_a_store(tmp_path: Path) -> None:
    dataset = open_store(write_store(tmp_path / "mine", [features()], [edges_of()], node_y=LABELS))
    assert isinstance(dataset, GraphDataset)
    assert dataset.name == "mine"
    encoder = GraphEncoder.for_data(dataset.graphs, EncoderConfig(hidden=4, layers=1, prototypes=0))
    assert encoder.embed(dataset.graphs, key="node").shape == (NODES, 8)
