"""What goes wrong in public JEPA code, number by number, and does not here.

Each test is the proof on the graph system; more of the same stands in `test_objective`, `test_encoder`,
`test_pretrain`, `test_evaluate`, `tests/properties` and, for the objective by itself, in `tests/core`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_graph_worker import measure
from torch import Tensor, nn

from graph_samples import EDGE_FEATURES, FEATURES, MASKED, five_graphs, necklaces
from jepakit.core import Views, diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.graph import (
    EncoderConfig,
    EvaluateConfig,
    GraphDataset,
    GraphEncoder,
    Graphs,
    GraphViews,
    Masking,
    ObjectiveConfig,
    PretrainConfig,
    ViewConfig,
    build_jepa,
    evaluate,
    pretrain,
)
from jepakit.graph.finetune import FinetuneConfig, finetune
from jepakit.graph.floors import COUNTS
from jepakit.graph.probe.nodes import probe_nodes
from jepakit.graph.probe.selection import FeatureSource, evaluate_split
from jepakit.graph.probe.targets import probe_multilabel, probe_regression
from jepakit.graph.recommendation import RANDOM
from jepakit.training import RunFolder
from jepakit.training.storage.checkpoint import read_checkpoint
from processes import run_group


def encoder_with(**options: object) -> GraphEncoder:
    torch.manual_seed(0)
    common = {"conv": "gps", "hidden": 8, "layers": 2, "heads": 2, "norm": "layer", "dropout": 0.0, "prototypes": 0}
    common |= {"position": "random_walk", "position_size": 4, "jumping": "concat", "pooling": "sum"}
    return GraphEncoder(FEATURES, EDGE_FEATURES, **common | options)


def views_of(
    encoder: GraphEncoder, graphs: Graphs, masked: Tensor, context: str = "token", target: str = "whole"
) -> Views:
    graphs = encoder.prepare(graphs)
    return GraphViews(graphs, Masking(), ViewConfig(context=context, target=target)).of(graphs, masked)


@pytest.mark.parametrize(
    ("predictor", "context"), [("mlp", "token"), ("cross_attention", "token"), ("cross_attention", "drop")]
)
def test_mistake_1_predictions_of_two_masked_nodes_differ(predictor: str, context: str) -> None:
    encoder = encoder_with()
    jepa = build_jepa(encoder, ObjectiveConfig(predictor=predictor, predict=["node"]), total_steps=1)
    rows = jepa(views_of(encoder, five_graphs(), MASKED, context)).prediction["node"].detach()
    assert float(torch.pdist(rows).min()) > 1e-4


@pytest.mark.parametrize("context", ["token", "drop"])
def test_mistake_2_adding_a_graph_to_the_batch_changes_no_other_output(context: str) -> None:
    """With attention in the encoder and in the predictor, for embeddings, targets and predictions."""
    encoder = encoder_with().eval()
    options = ObjectiveConfig(predictor="cross_attention", predict=["node", "graph"])
    jepa = build_jepa(encoder, options, total_steps=1).eval()
    graphs = five_graphs()
    together = jepa(views_of(encoder, graphs, MASKED, context))
    # The two smallest, so that the others also change how far they are padded; of these, node 5 is masked.
    kept = torch.tensor([1, 2])
    nodes = torch.isin(graphs.graph_of_node, kept)
    alone = jepa(views_of(encoder, graphs[kept], MASKED[nodes], context))
    for name in ("prediction", "target"):
        torch.testing.assert_close(getattr(alone, name)["node"], getattr(together, name)["node"][[2]])
        torch.testing.assert_close(getattr(alone, name)["graph"], getattr(together, name)["graph"][[1]])
    torch.testing.assert_close(alone.context["graph"], together.context["graph"][kept])


@pytest.mark.parametrize("target", ["whole", "region"])
@pytest.mark.parametrize("context", ["token", "drop"])
def test_mistake_3_corrupting_the_masked_part_leaves_the_context_unchanged(context: str, target: str) -> None:
    encoder = encoder_with().eval()
    graphs = five_graphs()
    corrupted = replace(graphs, x=graphs.x + 100.0 * MASKED[:, None])
    before, after = (views_of(encoder, g, MASKED, context, target) for g in (graphs, corrupted))
    for key in ("node", "graph"):
        assert torch.equal(encoder(before.context)[key], encoder(after.context)[key])
    assert not torch.allclose(encoder(before.target)["node"], encoder(after.target)["node"])


def test_mistake_4_the_ema_moves_once_a_step_with_its_buffers_and_in_eval_mode(tmp_path: Path) -> None:
    dataset, run = necklaces(40), RunFolder(tmp_path / "run")
    settings = PretrainConfig(
        **{"epochs": 2, "batch_size": 16, "accelerator": "cpu", "progress": False},
        encoder=EncoderConfig(conv="gin", hidden=8, layers=2, norm="batch", dropout=0.5, prototypes=0),
        masking=Masking(strategy="random", ratio=0.4),
        views=ViewConfig(context="token", target="whole"),
        objective=ObjectiveConfig(target="ema", momentum=0.5, predict=["node"], predictor="mlp", loss="mse"),
    )
    pretrained = pretrain(dataset, settings, run=run)
    saved = read_checkpoint(run.checkpoint)["state_dict"]
    assert int(saved["jepa.target.step"]) == pretrained.fit.steps == 6  # three batches in each of two epochs
    untrained = pretrained.random_encoder.state_dict()
    statistics = [name for name in untrained if "running_" in name]
    assert statistics
    for name in statistics:
        slow, online = saved[f"jepa.target.encoder.{name}"], saved[f"jepa.context_encoder.{name}"]
        assert not torch.equal(slow, untrained[name])
        assert not torch.equal(slow, online)

    jepa = build_jepa(pretrained.random_encoder, settings.objective, total_steps=6).train()
    maker = GraphViews(dataset.graphs, settings.masking, settings.views)
    views = maker(torch.arange(8), torch.Generator().manual_seed(0))
    first, second = jepa(views), jepa(views)
    assert torch.equal(first.target["node"], second.target["node"])  # no dropout, statistics at rest
    assert not torch.equal(first.context["node"], second.context["node"])


def test_mistake_5_two_processes_have_the_value_and_the_gradient_of_one(tmp_path: Path) -> None:
    """The graph objective with all its regularisers; each loss by itself is in tests/core/test_distributed.py."""
    ranks = run_group(measure, tmp_path)
    single = measure(0, 1)
    regularisers = {"term/sigreg", "term/vicreg", "term/isotropy", "term/decorrelation"}
    assert regularisers < single.keys()
    for name, expected in single.items():
        found = [rank[name] for rank in ranks]
        # The prediction loss of a process is its part of that of all rows, the regularisers are of the global batch.
        same = name in regularisers or name.startswith(("grad/", "statistic/"))
        found = found if same else [torch.stack(found).mean(0)]
        for value in found:
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_mistake_6_pre_training_reads_no_label() -> None:
    dataset = necklaces(24)
    settings = PretrainConfig(
        **{"epochs": 3, "batch_size": 8, "accelerator": "cpu", "progress": False, "patience": 1, "diagnose_every": 1},
        encoder=EncoderConfig(hidden=8, layers=2, prototypes=4),
    )
    y = torch.randint(0, 2, (24,), generator=torch.Generator().manual_seed(0))
    first, second = (
        pretrain(replace(dataset, graphs=replace(dataset.graphs, y=labels)), settings).encoder.state_dict()
        for labels in (dataset.graphs.y, y)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_mistake_6_choices_read_no_test_label_and_no_other_test_row() -> None:
    """The classifier, its strength and its view are chosen on training rows; rows of the test do not see each other."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 6)), np.arange(60) % 2
    x[:, 0] += y
    train, test = np.arange(40), np.arange(40, 60)
    expected = evaluate_split(FeatureSource(x, "best"), y, train, test, 0)
    flipped = y.copy()
    flipped[test] = 1 - flipped[test]
    found = evaluate_split(FeatureSource(x, "best"), flipped, train, test, 0)
    assert found.chosen == expected.chosen
    assert found.predicted.tolist() == expected.predicted.tolist()
    corrupted = x.copy()
    corrupted[50:] *= 1e3
    found = evaluate_split(FeatureSource(corrupted, "best"), y, train, test, 0)
    assert found.chosen == expected.chosen
    assert found.predicted[:10].tolist() == expected.predicted[:10].tolist()


def test_mistake_6_probes_on_given_splits_choose_on_validation_rows() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(90, 5))
    classes = (x[:, 0] + 0.5 * rng.normal(size=90) > 0).astype(np.int64)
    values = x[:, :2] + 0.5 * rng.normal(size=(90, 2))
    order = rng.permutation(90)
    splits = {"train": order[:40], "val": order[40:65], "test": order[65:]}
    test = splits["test"]

    def permuted(y: np.ndarray) -> np.ndarray:
        changed = y.copy()
        changed[test] = y[rng.permutation(test)]
        return changed

    binary = (values > 0).astype(float)
    for probe, y in ((probe_nodes, classes), (probe_multilabel, binary), (probe_regression, values)):
        first, second = probe(x, y, splits), probe(x, permuted(y), splits)
        assert first.chosen == second.chosen
        assert first.mean != second.mean


def test_mistake_6_fine_tuning_sees_the_labels_it_is_given_and_no_others() -> None:
    dataset = necklaces(24)
    torch.manual_seed(0)
    encoder = GraphEncoder.for_data(dataset.graphs, EncoderConfig(hidden=8, layers=2, prototypes=0))
    rows, settings = torch.arange(12), FinetuneConfig(epochs=2, batch_size=4, accelerator="cpu")
    y = dataset.graphs.y.clone()
    y[12:] = 1 - y[12:]
    changed = replace(dataset, graphs=replace(dataset.graphs, y=y))
    first, second = (finetune(encoder, data, rows, settings).state_dict() for data in (dataset, changed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_mistake_7_a_collapsed_encoder_that_probes_well_is_flagged() -> None:
    """An encoder that is deaf to all but the class: every score is perfect, and only the rank within classes tells."""
    kinds = 10
    graphs = five_graphs(edge_features=False)[torch.arange(60) % 5]
    y = torch.arange(60) // 6
    one_hot = torch.nn.functional.one_hot(y[graphs.graph_of_node], kinds).float()
    dataset = GraphDataset("kinds", replace(graphs, x=one_hot, y=y), "graph classification")
    torch.manual_seed(0)
    encoder = GraphEncoder(kinds, conv="gin", hidden=16, layers=1, norm="none", pooling="mean", prototypes=0).eval()
    for parameter in encoder.layers.parameters():
        nn.init.zeros_(parameter)
    embeddings = encoder.embed(dataset.graphs)

    probed = evaluate(dataset, encoder, None, EvaluateConfig(classifier="svm", folds=3, seeds=[0], floors=[]))
    assert probed.rows[0].value == 100
    assert effective_rank(embeddings) > 5
    assert not diagnose(embeddings).collapsed
    diagnosis = diagnose(embeddings, group=y)
    assert diagnosis.collapsed
    assert diagnosis.values["within_group_rank"] < 1
    assert "every class has shrunk to almost a point" in diagnosis.findings[0].what


def test_mistake_7_every_labelled_run_reports_the_rank_within_classes() -> None:
    settings = PretrainConfig(
        **{"epochs": 1, "batch_size": 16, "accelerator": "cpu", "progress": False},
        encoder=EncoderConfig(hidden=8, layers=2),
    )
    pretrained = pretrain(necklaces(32), settings)
    assert pretrained.diagnosis.values["within_group_rank"] > 0
    assert pretrained.fit.metrics["diagnostics/within_group_rank"] > 0


def test_mistake_8_every_table_has_its_floors_from_the_same_run() -> None:
    """Without being asked: no network, the random network, the strongest unlearned rival, and the spread over seeds."""
    dataset = necklaces(16)
    torch.manual_seed(0)
    encoders = [GraphEncoder.for_data(dataset.graphs, EncoderConfig(hidden=4, layers=1)).eval() for _ in range(2)]
    settings = EvaluateConfig(classifier="svm", folds=2)
    assert {"no network", "random"} < set(settings.floors)
    assert {"wl", "wl-oa"} & set(settings.floors)
    rows = {row.method: row for row in evaluate(dataset, *encoders, settings).rows}
    assert len(rows) == 1 + len(settings.floors)
    assert {COUNTS, RANDOM} < rows.keys()
    assert any(method.startswith("WL") for method in rows)
    for row in rows.values():
        # The random network is five networks.
        assert row.seeds is not None
        assert row.seeds >= len(settings.seeds) > 1
        assert row.std is not None
        assert row.metric == "accuracy %"
