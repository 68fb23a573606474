"""What a report says of graphs and nodes, and how it draws molecules."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from graph_samples import necklaces
from jepakit.graph.data import Origins
from jepakit.graph.facts import graph_facts, node_facts
from jepakit.graph.predictions import finetuned_scatter

ROWS = torch.tensor([0, 3])


def test_graphs_have_numbers_or_ids_and_say_their_class() -> None:
    dataset = necklaces(8)
    assert dataset.graphs.y is not None
    sizes, classes = dataset.graphs.nodes_per_graph, [dataset.label_names[label] for label in dataset.graphs.y]
    assert graph_facts(dataset, ROWS).titles == tuple(
        f"graph {r}\n{sizes[r]} nodes\nclass {classes[r]}" for r in (0, 3)
    )
    # A row that could not be read is of no graph.
    count = len(dataset.graphs)
    named = Origins({"id": ["lost", *(f"g{i}" for i in range(count))]}, torch.arange(-1, count), [""] * (count + 1))
    titles = graph_facts(replace(dataset, origins=named), ROWS).titles
    assert [title.split("\n")[0] for title in titles] == ["g0", "g3"]


def test_numbers_colour_the_points_and_stand_beside_predictions() -> None:
    dataset = necklaces(8)
    y = torch.arange(float(len(dataset.graphs)))[:, None].repeat(1, 2)
    y[3] = torch.nan
    dataset = replace(dataset, graphs=replace(dataset.graphs, y=y), task="graph regression", label_names=("a", "b"))
    facts = graph_facts(dataset, ROWS)
    assert facts.values is not None
    assert facts.values.nan_to_num(-1).tolist() == [0, -1]
    assert (facts.value_name, facts.drawings) == ("a", ())
    scatter = finetuned_scatter(dataset, torch.tensor([2, 3, 5]), torch.tensor([[2.5, 0], [0, 0], [4, 0]]))
    assert (scatter.true, scatter.predicted, scatter.names) == ((2, 5), (2.5, 4), ("graph 2", "graph 5"))


def test_nodes_say_their_degree() -> None:
    dataset = necklaces(8)
    degrees = torch.bincount(dataset.graphs.edge_index[0], minlength=dataset.graphs.num_nodes)
    assert node_facts(dataset).titles[1] == f"node 1\ndegree {degrees[1]}"
    named = replace(dataset, node_ids=[f"n{i}" for i in range(dataset.graphs.num_nodes)])
    assert node_facts(named).titles[1].startswith("node n1\n")


def test_a_molecule_is_drawn_with_its_bonds_and_atoms() -> None:
    pytest.importorskip("rdkit")
    from jepakit.graph.datasets.molecules.drawing import molecule_drawings

    ethanol, ethene, acid, methane, salt, no_smiles = molecule_drawings(
        ["CCO", "C=C", "CC(=O)O", "C", "[Na+].[Cl-]", "x"]
    )
    assert ethanol.count("M") == ethanol.count("L") == 2
    assert [text.split()[0] for text in ethanol.split("|")[1:]] == ["OH"]
    assert ethene.count("M") == 2, "two lines, for a double bond"
    assert "|" not in ethene
    assert acid.count("M") == 4
    assert [text.split()[0] for text in acid.split("|")[1:]] == ["O", "OH"]
    assert methane.startswith("|CH4 ")
    assert [text.split()[0] for text in salt.split("|")[1:]] == ["Na+", "Cl−"]
    assert no_smiles == ""
