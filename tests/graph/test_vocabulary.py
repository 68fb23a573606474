"""Other data are read by the names of their columns: whatever else a set holds, a graph has the same embedding."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import networkx as nx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jepakit.errors import ConfigError, DataError
from jepakit.graph import EncoderConfig, GraphEncoder, Graphs, PretrainConfig, concatenate, load_dataset, pretrain
from jepakit.graph.vocabulary import Attribute, Vocabulary, hide_values, translate

FORMATS = ("json", "graphml", "parquet", "tu")


@dataclass(frozen=True)
class Drawn:
    """A graph: of each node an element, a mass and a label; edges with a bond and a length."""

    nodes: list[tuple[str, float, int]]
    edges: list[tuple[int, int, str, float]]


@st.composite
def drawn_sets(draw: st.DrawFn) -> list[Drawn]:
    seed = draw(st.integers(0, 2**31))
    chance = random.Random(seed)
    graphs = []
    for _ in range(draw(st.integers(2, 6))):
        size = chance.randint(1, 5)
        nodes = [(chance.choice("CNOF"), chance.choice([1.0, 14.5, -3.25]), chance.randint(0, 3)) for _ in range(size)]
        pairs = [(a, b) for a in range(size) for b in range(a + 1, size) if chance.random() < 0.5]
        graphs.append(Drawn(nodes, [(a, b, chance.choice("-=#"), chance.random()) for a, b in pairs]))
    return graphs


def write(folder: Path, kind: str, graphs: list[Drawn], seed: int = 0) -> Path:
    """The graphs in a file or folder; ``seed`` shuffles what has no order: nodes, edges and the keys of attributes."""
    folder.mkdir(parents=True)
    return {"json": _json, "graphml": _graphml, "parquet": _parquet, "tu": _tu}[kind](folder, graphs, seed)


def _attributes(graph: Drawn, seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    chance = random.Random(seed)
    turned = (lambda items: dict(reversed(items.items()))) if seed % 2 else dict
    nodes = [turned({"element": e, "mass": m, "label": k}) | {"id": f"n{i}"} for i, (e, m, k) in enumerate(graph.nodes)]
    edges = [turned({"bond": b, "length": w}) | {"source": f"n{s}", "target": f"n{t}"} for s, t, b, w in graph.edges]
    if seed:
        chance.shuffle(edges)
    return nodes, edges


def _json(folder: Path, graphs: list[Drawn], seed: int) -> Path:
    parts = [dict(zip(("nodes", "edges"), _attributes(graph, seed), strict=True)) for graph in graphs]
    (folder / "set.json").write_text(json.dumps(parts))
    return folder / "set.json"


def _graphml(folder: Path, graphs: list[Drawn], seed: int) -> Path:
    for index, graph in enumerate(graphs):
        made = nx.Graph()
        nodes, edges = _attributes(graph, seed)
        made.add_nodes_from((node.pop("id"), node) for node in nodes)
        made.add_edges_from((edge.pop("source"), edge.pop("target"), edge) for edge in edges)
        nx.write_graphml(made, folder / f"{index:03}.graphml")
    return folder


def _parquet(folder: Path, graphs: list[Drawn], seed: int) -> Path:
    nodes, edges = [], []
    for index, graph in enumerate(graphs):
        of_nodes, of_edges = _attributes(graph, seed)
        nodes += [{"graph": index, "node": node.pop("id"), **node} for node in of_nodes]
        edges += [{"graph": index, **edge} for edge in of_edges]
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    columns = {"graph": whole, "source": text, "target": text, "bond": text, "length": number}
    pq.write_table(pa.Table.from_pylist(nodes), folder / "nodes.parquet")
    names = list(columns) if seed % 2 == 0 else list(reversed(columns))
    schema = pa.schema([(name, columns[name]) for name in names])
    pq.write_table(pa.Table.from_pylist(edges, schema), folder / "edges.parquet")
    return folder


def _tu(folder: Path, graphs: list[Drawn], seed: int) -> Path:
    lines: dict[str, list[str]] = {
        name: []
        for name in ("graph_indicator", "node_labels", "node_attributes", "A", "edge_labels", "edge_attributes")
    }
    first = 1
    for index, graph in enumerate(graphs, start=1):
        for element, mass, label in graph.nodes:
            lines["graph_indicator"].append(str(index))
            lines["node_labels"].append(f"{label}, {ord(element)}")
            lines["node_attributes"].append(f"{mass}")
        for source, target, bond, length in graph.edges:
            for a, b in ((source, target), (target, source)):
                lines["A"].append(f"{first + a}, {first + b}")
                lines["edge_labels"].append(str(ord(bond)))
                lines["edge_attributes"].append(str(length))
        first += len(graph.nodes)
    for name, rows in lines.items():
        (folder / f"T_{name}.txt").write_text("".join(f"{row}\n" for row in rows))
    return folder


def untrained(graphs: Graphs, **options: Any) -> GraphEncoder:
    config = EncoderConfig(hidden=8, layers=2, **{"prototypes": 0, "pooling": "mean", **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = GraphEncoder.for_data(graphs, config)
    encoder.calibrate(encoder.prepare(graphs))
    return encoder.eval()


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs=drawn_sets(), data=st.data())
def test_a_graph_is_embedded_alike_in_every_set(
    kind: str, graphs: list[Drawn], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any part of the set, in any order, with attributes and edges written in any order, down to a single graph."""
    folder = tmp_path_factory.mktemp("sets")
    # The whole set has an edge, so that there are edge attributes to be trained on.
    graphs = [*graphs, Drawn([("C", 1.0, 0), ("N", 2.0, 1)], [(0, 1, "-", 0.5)])]
    encoder = untrained(load_dataset(write(folder / "all", kind, graphs)).graphs)
    expected = encoder.embed(load_dataset(folder / ("all/set.json" if kind == "json" else "all")).graphs)
    chosen = data.draw(st.permutations(range(len(graphs))))[: data.draw(st.integers(1, len(graphs)))]
    path = write(folder / "some", kind, [graphs[index] for index in chosen], seed=data.draw(st.integers(0, 9)))
    some = load_dataset(path, vocabulary=encoder.vocabulary).graphs
    torch.testing.assert_close(encoder.embed(some), expected[list(chosen)], rtol=1e-4, atol=1e-4)


def test_labels_0_and_1_are_the_same_in_a_set_of_1_and_2(tmp_path: Path) -> None:
    """The set of the report: read by position, label 1 of the second is label 0 of the first."""

    def labelled(name: str, *labels: int) -> Path:
        chain = [(0, 1, "-", 1.0), (1, 2, "-", 1.0)]
        return write(tmp_path / name, "tu", [Drawn([("C", 1.0, label) for label in labels], chain)] * 2)

    trained, other, known = labelled("01", 0, 1, 1), labelled("12", 1, 2, 1), labelled("1", 1, 1, 1)
    encoder = untrained(load_dataset(trained).graphs)
    with pytest.raises(DataError, match=r"T_node_labels.txt:2: .* not trained on \(found '2'\); expected one of 0, 1;"):
        load_dataset(other, vocabulary=encoder.vocabulary)
    with pytest.raises(DataError, match=r"node 1, node attribute label: .* \(found '2'\).*--unknown true"):
        encoder.embed(load_dataset(other).graphs)
    ones = encoder.read_by_name(load_dataset(known).graphs)
    assert ones.x[:, :2].tolist() == [[0, 1]] * 6
    assert ones.vocabulary is None


def test_a_category_never_seen_has_its_own_trained_column(tmp_path: Path) -> None:
    chain = [(0, 1, "-", 1.0), (1, 2, "-", 1.0)]
    seen = [Drawn([("C", 1.0, 0), ("N", 1.0, 1), (element, 2.0, 1)], chain) for element in "CNC" * 7]
    dataset = load_dataset(write(tmp_path / "seen", "json", seen))
    config = PretrainConfig(
        epochs=2, unknown=True, export="context", progress=False, encoder=EncoderConfig(hidden=8, layers=2)
    )
    pretrained = pretrain(dataset, config)
    before, encoder = pretrained.random_encoder, pretrained.encoder
    assert encoder.vocabulary is not None
    element = encoder.vocabulary.node("element")
    assert element == Attribute("element", "categories", values=("C", "N"), unknown=True)
    # Weights decay too: a column without examples shrinks evenly.
    change = encoder.features.weight[:, 2] / before.features.weight[:, 2]
    assert change.std() > 1e-3
    graphs = [
        load_dataset(
            write(tmp_path / value, "json", [Drawn([(value, 1.0, 0), ("C", 1.0, 0)], chain[:1])]),
            vocabulary=encoder.vocabulary,
        ).graphs
        for value in ("C", "N", "Xe", "Kr")
    ]
    carbon, nitrogen, xenon, krypton = (encoder.embed(one, key="node")[0] for one in graphs)
    assert torch.equal(xenon, krypton)
    assert min(float((xenon - other).abs().max()) for other in (carbon, nitrogen)) > 1e-3
    with pytest.raises(ConfigError, match="unknown = True"):
        pretrain(load_dataset(_plain(tmp_path)), config)


def _plain(tmp_path: Path) -> Path:
    (tmp_path / "plain.json").write_text('{"nodes": [{"id": 0}, {"id": 1}], "edges": [{"source": 0, "target": 1}]}')
    return tmp_path / "plain.json"


def test_missing_values_are_read_by_the_encoders_columns(tmp_path: Path) -> None:
    """An attribute that a subset lacks altogether is missing there, as it was for some nodes of the whole."""

    def graph(*nodes: dict[str, Any]) -> dict[str, Any]:
        return {"nodes": [{"id": i, **node} for i, node in enumerate(nodes)], "edges": [{"source": 0, "target": 1}]}

    whole = [graph({"kind": "a", "mass": 3}, {"kind": "b"}), graph({"mass": 1}, {}), graph({}, {})]
    (tmp_path / "all.json").write_text(json.dumps(whole))
    everything = load_dataset(tmp_path / "all.json", fill_missing=True).graphs
    encoder = untrained(everything)
    for index, one in enumerate(whole):
        (tmp_path / "one.json").write_text(json.dumps([one]))
        alone = load_dataset(tmp_path / "one.json", fill_missing=True, vocabulary=encoder.vocabulary).graphs
        assert torch.equal(encoder.read_by_name(alone).x, everything[[index]].x)
        torch.testing.assert_close(encoder.embed(alone), encoder.embed(everything[[index]]))


TEXT, NUMBER = Attribute("kind", "categories", values=("a", "b")), Attribute("mass", "numbers", 1)


@pytest.mark.parametrize(
    ("own", "wanted", "rows", "message"),
    [
        ((NUMBER,), (TEXT, NUMBER), [[1.0]], "node attribute kind: the attribute is missing"),
        ((replace(NUMBER, name="kind"),), (TEXT,), [[1.0]], r"kind: not what .*\(found 'a number'\).* text or classes"),
        ((replace(NUMBER, width=2),), (NUMBER,), [[1.0, 2.0]], r"mass: .*'2 numbers'.* expected a number"),
        ((replace(NUMBER, gaps=True),), (NUMBER,), [[1.0, 0], [0, 1]], r"node 1, node attribute mass: .* is missing"),
        ((replace(TEXT, values=("c",)),), (TEXT,), [[1.0]], r"node 0, .* \(found 'c'\); expected one of a, b;"),
        ((replace(TEXT, unknown=True),), (TEXT,), [[0.0, 0, 1]], r"node 0, node attribute kind: .* not trained on"),
    ],
)
def test_what_does_not_fit_is_named(
    own: tuple[Attribute, ...], wanted: tuple[Attribute, ...], rows: list[list[float]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        translate(torch.tensor(rows), own, wanted, "node")


def test_translation_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    own = (
        Attribute("z", "numbers", 1),
        Attribute("kind", "categories", values=("b", "c")),
        Attribute("mass", "numbers", 1, mean=(10.0,), spread=(2.0,), gaps=True),
    )
    wanted = (
        Attribute("mass", "numbers", 1, mean=(8.0,), spread=(4.0,), gaps=True),
        Attribute("kind", "categories", values=("a", "b"), unknown=True),
    )
    found = translate(torch.tensor([[7.0, 1, 0, -0.5, 0], [7, 0, 1, 3, 0]]), own, wanted, "node")
    # Masses 9 and 16; b is known, c is not.
    assert found.tolist() == [[0.25, 0, 0, 1, 0], [2, 0, 0, 0, 1]]
    assert "left out, as the encoder was trained without them: node attributes z" in caplog.text


def test_hidden_values_are_a_few_and_still_one_hot() -> None:
    attribute = replace(TEXT, unknown=True)
    values = torch.eye(3)[torch.arange(5000) % 2]
    hidden = hide_values(torch.cat([values, values[:, :1]], dim=1), (attribute, NUMBER), torch.Generator())
    assert (hidden[:, :3].sum(1) == 1).all()
    assert torch.equal(hidden[:, 3:], values[:, :1])
    assert 0.01 < hidden[:, 2].mean() < 0.03


def test_an_encoder_keeps_its_vocabulary() -> None:
    vocabulary = Vocabulary((TEXT, replace(NUMBER, mean=(0.1,), spread=(3.3,))), (TEXT,))
    graphs = Graphs.pack(torch.rand(3, 3), torch.tensor([[0, 1], [1, 0]]), torch.tensor([3]), vocabulary=vocabulary)
    graphs = replace(graphs, edge_attr=torch.eye(2))
    encoder = untrained(graphs)
    again = GraphEncoder(**json.loads(json.dumps(encoder.arguments)))
    assert again.vocabulary == vocabulary
    with pytest.raises(ConfigError, match="vocabulary"):
        GraphEncoder(**{**encoder.arguments, "in_dim": 4})
    assert concatenate([graphs, graphs]).vocabulary == vocabulary
    with pytest.raises(DataError, match="columns of the parts differ"):
        concatenate([graphs, replace(graphs, vocabulary=None)])
