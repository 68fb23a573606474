"""The table: every floor in it, chance where there is nothing to know, and a sentence that follows from the numbers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from graph_samples import necklaces
from jepakit.errors import ConfigError, DataError
from jepakit.graph import (
    EncoderConfig,
    EvaluateConfig,
    Evaluation,
    GraphDataset,
    GraphEncoder,
    Graphs,
    evaluate,
    load_dataset,
)
from jepakit.graph.evaluate import LABELS, RANDOM, RANDOM_GCN, SMOOTHING, SPREADING, random_gcn
from jepakit.training.result_rows import ResultRow, read_rows

OURS = "jepakit: pre-trained encoder"
NO_NETWORK, WL, WL_OA = "no network", "WL subtree kernel", "WL optimal assignment kernel"
ALL_FLOORS = ["no network", "random", "wl", "wl-oa"]


def encoder_for(dataset: GraphDataset, *, seed: int = 0, conv: str = "gin", prototypes: int = 0) -> GraphEncoder:
    """An untrained encoder that sees structure."""
    torch.manual_seed(seed)
    options = {"hidden": 8, "layers": 2, "norm": "batch", "pooling": "sum", "jumping": "concat", "position": "none"}
    encoder = GraphEncoder.for_data(dataset.graphs, EncoderConfig(conv=conv, prototypes=prototypes, **options))
    encoder.calibrate(dataset.graphs)
    encoder.fit_readout(dataset.graphs)
    return encoder.eval()


def blind_encoder_for(dataset: GraphDataset) -> GraphEncoder:
    """An encoder that says the same of every node."""
    encoder = encoder_for(dataset)
    for parameter in encoder.parameters():
        nn.init.zeros_(parameter)
    return encoder


def protocol(**options: object) -> EvaluateConfig:
    quick = {"classifier": "svm", "folds": 2, "seeds": [0, 1], "floors": ["random"]}
    return EvaluateConfig(**quick | options)


def table(evaluation: Evaluation) -> dict[str, ResultRow]:
    return {row.method: row for row in evaluation.rows}


def scores(evaluation: Evaluation) -> dict[str, float]:
    return {row.method: row.value for row in evaluation.rows if row.value is not None}


@pytest.fixture(scope="module")
def structured() -> Evaluation:
    dataset = necklaces(48)
    return evaluate(dataset, encoder_for(dataset), encoder_for(dataset, seed=1), protocol(floors=ALL_FLOORS))


def test_what_depends_on_structure_is_seen_by_networks_and_kernels_and_not_by_counting(structured: Evaluation) -> None:
    found = scores(structured)
    assert found[NO_NETWORK] < 65
    for method in (OURS, RANDOM, WL, WL_OA):
        assert found[method] > found[NO_NETWORK] + 20
        assert found[method] > 85


def test_every_floor_is_a_row_beside_ours_from_the_same_run(structured: Evaluation) -> None:
    assert [row.method for row in structured.rows] == [OURS, RANDOM, NO_NETWORK, WL, WL_OA]
    for row in structured.rows:
        assert (row.dataset, row.metric, row.seeds, row.ours) == ("necklaces", "accuracy %", 2, row.method == OURS)
        assert row.std is not None


@pytest.mark.parametrize(("floor", "method"), [("no network", NO_NETWORK), ("wl", WL)])
def test_a_floor_alone_is_what_it_is_among_others(floor: str, method: str, structured: Evaluation) -> None:
    dataset = necklaces(48)
    evaluation = evaluate(dataset, encoder_for(dataset), None, protocol(floors=[floor]))
    assert evaluation.rows == (table(structured)[OURS], table(structured)[method])


def test_a_table_is_read_back_from_json(structured: Evaluation) -> None:
    saved = json.loads(json.dumps(structured.as_json()))
    assert read_rows(saved["rows"]) == structured.rows
    assert saved["recommendation"] == structured.recommendation
    assert "2-fold" in saved["summary"][0]


def test_random_labels_put_everything_at_chance() -> None:
    """With nested selection; the best of many settings on the test folds would be well above one half."""
    dataset = necklaces(80, labels="random")
    everything = protocol(floors=ALL_FLOORS)
    evaluation = evaluate(dataset, encoder_for(dataset), encoder_for(dataset, seed=1), everything)
    assert len(evaluation.rows) == 5
    for row in evaluation.rows:
        assert row.value == pytest.approx(50, abs=11), row.method


def test_a_gain_is_recommended() -> None:
    dataset = necklaces(24)
    floors = protocol(floors=["no network", "random"])
    evaluation = evaluate(dataset, encoder_for(dataset), blind_encoder_for(dataset), floors)
    assert evaluation.recommendation is not None
    assert evaluation.recommendation.startswith("Use the pre-trained encoder: +")
    gain = scores(evaluation)[OURS] - scores(evaluation)[RANDOM]
    assert gain > 20
    assert f"+{gain:.2f} ±" in evaluation.recommendation


def test_harm_is_said_and_the_random_encoder_recommended() -> None:
    dataset = necklaces(24)
    evaluation = evaluate(dataset, blind_encoder_for(dataset), encoder_for(dataset), protocol())
    assert evaluation.recommendation is not None
    assert evaluation.recommendation.startswith("Use the random encoder (random_encoder/ in the run folder)")
    assert "harm here, -" in evaluation.recommendation


def test_no_difference_is_no_gain() -> None:
    dataset = necklaces(24)
    encoder = encoder_for(dataset)
    evaluation = evaluate(dataset, encoder, encoder, protocol())
    assert evaluation.recommendation is not None
    assert "made no difference that stands out of the spread (+0.00 ± 0.00" in evaluation.recommendation


def test_one_seed_cannot_tell() -> None:
    dataset = necklaces(24)
    evaluation = evaluate(dataset, encoder_for(dataset), blind_encoder_for(dataset), protocol(seeds=[0]))
    assert evaluation.recommendation is not None
    assert evaluation.recommendation.startswith("+")
    assert "one seed" in evaluation.recommendation
    assert table(evaluation)[OURS].std is None


def test_without_a_random_encoder_nothing_is_recommended() -> None:
    dataset = necklaces(24)
    evaluation = evaluate(dataset, encoder_for(dataset), None, protocol(floors=["random", "no network"], seeds=[0]))
    assert [row.method for row in evaluation.rows] == [OURS, NO_NETWORK]
    assert evaluation.recommendation is None


def test_unlabelled_graphs_have_nothing_to_probe() -> None:
    dataset = necklaces(24, labels="none")
    evaluation = evaluate(dataset, encoder_for(dataset), encoder_for(dataset), protocol(floors=ALL_FLOORS))
    assert evaluation.rows == ()
    assert evaluation.recommendation is None
    assert "no labels" in evaluation.summary[0]


@pytest.mark.parametrize("whole_columns", [0, 1])
def test_kernels_take_what_is_discrete_of_continuous_features(whole_columns: int) -> None:
    dataset = necklaces(32)
    noise = torch.rand(dataset.graphs.num_nodes, 2, generator=torch.Generator().manual_seed(0))
    x = torch.cat([dataset.graphs.x[:, :whole_columns], noise], dim=1)
    dataset = replace(dataset, graphs=replace(dataset.graphs, x=x))
    evaluation = evaluate(dataset, encoder_for(dataset), None, protocol(floors=["wl"], seeds=[0]))
    # A ring without beads tells nothing; the beads tell all.
    assert (scores(evaluation)[WL] > 80) == (whole_columns == 1)


def communities(*, splits: bool = True) -> GraphDataset:
    """One graph of two communities whose nodes have features that are almost all noise."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 2
    chance = torch.where(y[:, None] == y, 0.12, 0.01)
    upper = (torch.rand(160, 160, generator=generator) < chance).triu(1)
    x = torch.randn(160, 4, generator=generator) + 0.7 * y[:, None]
    graphs = Graphs.pack(x, (upper | upper.T).nonzero().T, torch.tensor([160]), node_y=y)
    order = torch.randperm(160, generator=generator)
    parts = {"train": order[:30], "val": order[30:60], "test": order[60:]} if splits else {}
    return GraphDataset("communities", graphs, "node classification", ("a", "b"), parts)


def test_nodes_are_classified_on_their_splits() -> None:
    dataset = communities()
    encoders = [encoder_for(dataset, seed=seed, conv="gcn") for seed in (0, 1)]
    evaluation = evaluate(dataset, *encoders, protocol(floors=ALL_FLOORS))
    found = scores(evaluation)
    assert found.keys() == {OURS, RANDOM, RANDOM_GCN, NO_NETWORK, SMOOTHING, SPREADING, LABELS}
    for method in (OURS, RANDOM_GCN, SMOOTHING, SPREADING, LABELS):
        assert found[method] > found[NO_NETWORK] + 3
        assert found[method] > 85
    assert "validation split" in evaluation.summary[0]


def test_a_random_gcn_is_the_same_each_time_and_leaves_the_generator_alone() -> None:
    graphs = communities().graphs
    state = torch.random.get_rng_state()
    embedded = random_gcn(graphs)
    assert embedded.shape == (160, 512)
    assert torch.equal(embedded, random_gcn(graphs))
    assert not torch.equal(embedded, random_gcn(graphs, seed=1))
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_smoothing_alone_reaches_is_a_row_that_the_recommendation_reads() -> None:
    dataset = communities()
    encoder = blind_encoder_for(dataset)
    evaluation = evaluate(dataset, encoder, encoder, protocol(floors=["no network"]))
    found = scores(evaluation)
    assert found[SMOOTHING] > found[OURS] + 20
    best = max(found, key=lambda method: found[method])
    assert evaluation.recommendation is not None
    assert f"{best} gains {found[best] - found[OURS]:+.2f}" in evaluation.recommendation


def test_nodes_without_splits_get_a_random_one_that_is_reported() -> None:
    dataset = communities(splits=False)
    evaluation = evaluate(dataset, encoder_for(dataset, conv="gcn"), None, protocol())
    assert "80 : 10 : 10" in evaluation.summary[0]
    assert scores(evaluation)[OURS] > 85


@pytest.fixture(scope="module")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A table of 90 small molecules of nine ring systems: two properties that atoms tell, and a size."""
    pytest.importorskip("rdkit")
    folder = tmp_path_factory.mktemp("molecules")
    rings = ["c1ccccc1", "C1CCCCC1", "C1CCCC1", "c1ccncc1", "c1ccoc1", "C1CCNCC1", "C1CCOC1", "c1ccsc1", "C1CC1"]
    chains = ["C", "CC", "CCO", "CO", "CCl", "CCCl", "CCCC", "CF", "CCCO", "C(C)C"]
    lines, smiles_atoms = ["smiles,alcohol,halogen,size"], "CcNnOosSF"
    for i, (ring, chain) in enumerate((r, c) for r in rings for c in chains):
        smiles = ring + chain
        alcohol, halogen = int(chain.endswith("O")), int("Cl" in chain or "F" in chain)
        shown = "" if i % 7 == 0 else str(halogen)
        lines.append(f"{smiles},{alcohol},{shown},{sum(atom in smiles_atoms for atom in smiles)}")
    path = folder / "small.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield path


def test_molecules_with_several_labels_are_scored_by_roc_auc(molecules: Path) -> None:
    dataset = load_dataset(molecules, label_columns=["alcohol", "halogen"])
    assert dataset.task == "graph multilabel"
    evaluation = evaluate(dataset, encoder_for(dataset), blind_encoder_for(dataset), protocol(floors=ALL_FLOORS))
    found = scores(evaluation)
    assert found.keys() == {OURS, RANDOM, NO_NETWORK}
    assert found[OURS] > 90
    assert found[RANDOM] < found[OURS]
    assert {row.metric for row in evaluation.rows} == {"roc auc %"}
    assert evaluation.recommendation is not None
    assert "one seed" in evaluation.recommendation


def test_molecules_with_measurements_are_scored_by_rmse_where_less_is_better(molecules: Path) -> None:
    dataset = load_dataset(molecules, label_columns=["size"])
    assert dataset.task == "graph regression"
    evaluation = evaluate(dataset, encoder_for(dataset), blind_encoder_for(dataset), protocol(floors=ALL_FLOORS))
    found = scores(evaluation)
    assert found.keys() == {OURS, RANDOM, NO_NETWORK}
    assert found[OURS] < 0.5 * found[RANDOM]
    assert {row.metric for row in evaluation.rows} == {"rmse"}
    assert evaluation.recommendation is not None
    gain = found[OURS] - found[NO_NETWORK]
    assert gain > 0
    assert f"{NO_NETWORK} gains {gain:+.2f}" in evaluation.recommendation


def test_labels_the_protocol_cannot_run_on_are_refused() -> None:
    dataset = necklaces(8)
    with pytest.raises(DataError, match=r"fewer members than there are folds"):
        evaluate(dataset, encoder_for(dataset), None, protocol(folds=5))
    graphs = replace(dataset.graphs, y=torch.zeros(8, dtype=torch.long))
    with pytest.raises(DataError, match="only one class"):
        evaluate(replace(dataset, graphs=graphs), encoder_for(dataset), None, protocol())


def test_graphs_of_another_kind_are_refused() -> None:
    dataset = necklaces(8)
    with pytest.raises(DataError, match=r"graphs\.x: not the features this encoder was trained on"):
        evaluate(communities(), encoder_for(dataset), None, protocol())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier": "knn"}, r"classifier = 'knn': expected one of best, logistic, svm"),
        ({"floors": ["wl_oa"]}, r"floors = 'wl_oa': .*did you mean 'wl-oa'"),
        ({"folds": 1}, r"folds = 1: expected at least 2"),
        ({"jobs": 0}, r"jobs = 0: expected at least 1"),
        ({"seeds": []}, r"seeds = \[\]: expected at least one"),
    ],
)
def test_bad_options_name_themselves(options: dict[str, object], message: str) -> None:
    dataset = necklaces(8)
    with pytest.raises(ConfigError, match=message):
        evaluate(dataset, encoder_for(dataset), None, protocol(**options))
