"""`Graphs`: packing, selection, induced subgraphs and concatenation keep every graph what it was."""

from dataclasses import fields, replace

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.errors import DataError
from jepakit.graph.data import Graphs, concatenate

Picture = tuple[list[list[float]], list[int], dict[tuple[int, int], float], int]
"""One graph by itself: features, node classes, edges with their feature, label."""


@pytest.fixture
def three() -> Graphs:
    """A path of three nodes, a single node, and a triangle with one edge that runs one way only."""
    return Graphs.pack(
        torch.arange(14.0).reshape(7, 2),
        torch.tensor([[5, 0, 1, 6, 2, 1, 4, 6], [6, 1, 0, 5, 1, 2, 5, 4]]),
        torch.tensor([3, 1, 3]),
        edge_attr=torch.tensor([[56.0], [1.0], [10.0], [65.0], [21.0], [12.0], [45.0], [64.0]]),
        y=torch.tensor([7, 8, 9]),
        node_y=torch.tensor([0, 1, -1, 2, 0, 1, 2]),
    )


@st.composite
def random_graphs(draw: st.DrawFn) -> Graphs:
    """Up to six graphs of one to six nodes, any edges, some without edges; every feature value occurs once."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    edges, start = [], 0
    for size in sizes:
        present = torch.rand(size, size, generator=generator) < draw(st.sampled_from([0.0, 0.3, 0.9]))
        edges.append(present.nonzero().T + start)
        start += size
    edge_index = torch.cat(edges, dim=1)
    shuffled = edge_index[:, torch.randperm(edge_index.shape[1], generator=generator)]
    return Graphs.pack(
        torch.arange(start * 2.0).reshape(start, 2),
        shuffled,
        torch.tensor(sizes),
        edge_attr=(shuffled[0] * 1000.0 + shuffled[1])[:, None],
        y=torch.arange(len(sizes)),
        node_y=torch.arange(start),
    )


def pictures(graphs: Graphs) -> list[Picture]:
    """What the packed tensors say of each graph, read with plain loops."""
    found = []
    assert graphs.edge_attr is not None
    assert graphs.y is not None
    assert graphs.node_y is not None
    for g in range(len(graphs)):
        first, last = graphs.node_ptr[g : g + 2].tolist()
        rows = range(*graphs.edge_ptr[g : g + 2].tolist())
        ends = [(int(graphs.edge_index[0, e]) - first, int(graphs.edge_index[1, e]) - first) for e in rows]
        assert all(0 <= source < last - first and 0 <= target < last - first for source, target in ends)
        assert ends == sorted(ends, key=lambda pair: (pair[1], pair[0]))
        edges = {pair: float(graphs.edge_attr[e, 0]) for pair, e in zip(ends, rows, strict=True)}
        found.append((graphs.x[first:last].tolist(), graphs.node_y[first:last].tolist(), edges, int(graphs.y[g])))
    return found


def assert_same(found: Graphs, expected: Graphs) -> None:
    for f in fields(Graphs):
        ours, theirs = getattr(found, f.name), getattr(expected, f.name)
        assert (ours is None) == (theirs is None), f.name
        same = ours is None or f.name == "vocabulary" or (ours.dtype == theirs.dtype and torch.equal(ours, theirs))
        assert same, f.name


def test_pack_sorts_edges_and_their_features(three: Graphs) -> None:
    assert three.edge_index.tolist() == [[1, 0, 2, 1, 6, 4, 6, 5], [0, 1, 1, 2, 4, 5, 5, 6]]
    assert three.edge_attr is not None
    assert three.edge_attr.squeeze(1).tolist() == [10, 1, 21, 12, 64, 45, 65, 56]
    assert three.node_ptr.tolist() == [0, 3, 4, 7]
    assert three.edge_ptr.tolist() == [0, 4, 4, 8]


def test_counts_by_hand(three: Graphs) -> None:
    assert (len(three), three.num_nodes, three.num_edges) == (3, 7, 8)
    assert three.nodes_per_graph.tolist() == [3, 1, 3]
    assert three.edges_per_graph.tolist() == [4, 0, 4]
    assert three.graph_of_node.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert three.in_degree.tolist() == [1, 2, 1, 0, 1, 2, 1]


@given(random_graphs(), st.data())
@settings(max_examples=60)
def test_selection_in_any_order_keeps_each_graph(graphs: Graphs, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, len(graphs) - 1), max_size=8))
    every = pictures(graphs)
    assert pictures(graphs[ids]) == [every[g] for g in ids]


@given(random_graphs(), st.data())
@settings(max_examples=60)
def test_a_permutation_and_its_inverse_give_the_same_tensors(graphs: Graphs, data: st.DataObject) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(graphs)))))
    assert_same(graphs[order][order.argsort()], graphs)


def test_ways_of_naming_the_same_graphs(three: Graphs) -> None:
    assert_same(three[torch.tensor([True, False, True])], three[[0, 2]])
    assert_same(three[1:], three[[1, 2]])
    assert_same(three[2], three[[2]])
    assert len(three[[]]) == 0


def test_selection_takes_encodings_and_patches_along(three: Graphs) -> None:
    marked = replace(three, position=torch.arange(7.0)[:, None], patch=torch.arange(7))
    chosen = marked[[2, 0]]
    assert chosen.position is not None
    assert chosen.patch is not None
    assert chosen.position.squeeze(1).tolist() == [4, 5, 6, 0, 1, 2]
    assert chosen.patch.tolist() == [4, 5, 6, 0, 1, 2]


@given(random_graphs(), st.data())
@settings(max_examples=60)
def test_induced_is_what_networkx_induces(graphs: Graphs, data: st.DataObject) -> None:
    flags = data.draw(st.lists(st.booleans(), min_size=graphs.num_nodes, max_size=graphs.num_nodes))
    subgraphs = pictures(graphs.induced(torch.tensor(flags)))
    assert len(subgraphs) == len(graphs)
    start = 0
    for (x, classes, edges, label), (found_x, found_classes, found_edges, found_label) in zip(
        pictures(graphs), subgraphs, strict=True
    ):
        whole = nx.DiGraph()
        whole.add_nodes_from(range(len(x)))
        whole.add_weighted_edges_from((source, target, value) for (source, target), value in edges.items())
        kept = [node for node in range(len(x)) if flags[start + node]]
        expected = nx.relabel_nodes(whole.subgraph(kept), {node: i for i, node in enumerate(kept)})
        assert found_x == [x[node] for node in kept]
        assert found_classes == [classes[node] for node in kept]
        assert found_edges == {(s, t): value for s, t, value in expected.edges.data("weight")}
        assert found_label == label
        start += len(x)


def test_induced_by_all_and_by_no_nodes(three: Graphs) -> None:
    assert_same(three.induced(torch.ones(7, dtype=torch.bool)), three)
    emptied = three.induced(torch.zeros(7, dtype=torch.bool))
    assert (len(emptied), emptied.num_nodes, emptied.num_edges) == (3, 0, 0)
    assert emptied.y is not None
    assert emptied.y.tolist() == [7, 8, 9]


@given(random_graphs())
@settings(max_examples=30)
def test_concatenating_single_graphs_gives_the_set(graphs: Graphs) -> None:
    assert_same(concatenate([graphs[g] for g in range(len(graphs))]), graphs)


def test_concatenation_drops_what_one_part_lacks(three: Graphs) -> None:
    joined = concatenate([three, replace(three, node_y=None)])
    assert joined.node_y is None
    assert pictures(replace(joined, node_y=torch.zeros(14)))[3][2] == pictures(three)[0][2]


def test_graphs_without_edges_pack() -> None:
    lone = Graphs.pack(torch.ones(2, 1), torch.empty(2, 0, dtype=torch.long), torch.tensor([1, 1]))
    assert lone.edge_ptr.tolist() == [0, 0, 0]
    assert lone[[1, 0]].num_nodes == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"edge_index": torch.tensor([[0, 2], [1, 4]])},
            r"toy\.edge_index\[:, 1\]: an edge names a node .*\[2, 4\].*0 to 3",
        ),
        ({"edge_index": torch.tensor([[0, -1], [1, 0]])}, r"toy\.edge_index\[:, 1\]: an edge names a node .*\[-1, 0\]"),
        (
            {"edge_index": torch.tensor([[0, 1], [1, 2]])},
            r"toy\.edge_index\[:, 1\]: an edge joins two graphs .*\[1, 2\]",
        ),
        ({"nodes_per_graph": torch.tensor([2, 3])}, r"toy: the nodes per graph do not add up .*found 5.*expected 4"),
        (
            {"x": torch.tensor([[0.0], [1.0], [float("nan")], [0.0]])},
            r"toy\.x\[2, 0\]: a feature is not a finite number",
        ),
        ({"edge_attr": torch.tensor([[0.0], [float("inf")]])}, r"toy\.edge_attr\[1, 0\]: a feature is not a finite"),
    ],
)
def test_pack_refuses(change: dict[str, torch.Tensor], message: str) -> None:
    good = {
        "x": torch.zeros(4, 1),
        "edge_index": torch.tensor([[0, 2], [1, 3]]),
        "nodes_per_graph": torch.tensor([2, 2]),
    }
    Graphs.pack(**good)
    with pytest.raises(DataError, match=message):
        Graphs.pack(**good | change, field_name="toy")


def test_negative_ids_count_from_the_end_and_others_are_refused() -> None:
    graphs = Graphs.pack(torch.arange(3.0)[:, None], torch.tensor([[1], [2]]), torch.tensor([1, 2]))
    assert graphs[-1].x.flatten().tolist() == [1.0, 2.0]
    with pytest.raises(DataError, match=r"no such graph \(found 2\); expected from -2 to 1"):
        graphs[2]


def test_types_stay_with_their_nodes_and_edges() -> None:
    """A node's type is ten times its feature, an edge's the sum of its ends' types: so it stays, whatever is taken."""
    x = torch.tensor([[3.0], [1.0], [2.0], [5.0], [4.0]])
    node_type = (10 * x[:, 0]).long()
    edges = torch.tensor([[2, 0, 1, 4, 3], [0, 2, 0, 3, 4]])
    graphs = Graphs.pack(
        x, edges, torch.tensor([3, 2]), node_type=node_type, edge_type=node_type[edges].sum(0), field_name="typed"
    )
    taken = [
        graphs,
        graphs[[1, 0]],
        graphs.induced(torch.tensor([True, False, True, True, True])),
        graphs.with_edges(torch.tensor([True, False, True, True, False])),
        concatenate([graphs[[1]], graphs]),
    ]
    assert [part.num_edges for part in taken] == [5, 5, 4, 3, 7]
    for part in taken:
        assert part.node_type is not None
        assert part.edge_type is not None
        assert torch.equal(part.node_type.float(), 10 * part.x[:, 0])
        assert torch.equal(part.edge_type, part.node_type[part.edge_index].sum(0))
