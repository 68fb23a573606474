"""Pre-training end to end: it learns, keeps the encoder that was asked for, repeats itself, and reads no label."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from graph_samples import five_graphs, necklaces, star_of
from jepakit import load_encoder
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.graph import (
    PRESETS,
    EncoderConfig,
    GraphDataset,
    GraphEncoder,
    Graphs,
    Masking,
    ObjectiveConfig,
    PretrainConfig,
    Pretrained,
    ViewConfig,
    concatenate,
    load_dataset,
    preset,
    pretrain,
)
from jepakit.graph.networks.layers import LAYERS
from jepakit.training import RunFolder
from jepakit.training.storage.checkpoint import read_checkpoint
from objective_choices import every_choice

ENCODER: dict[str, Any] = {
    **{"conv": "gin", "hidden": 16, "layers": 2, "heads": 2, "norm": "batch", "dropout": 0.0, "residual": False},
    **{"jumping": "concat", "pooling": "sum", "position": "none", "position_size": 4, "prototypes": 0},
}
OBJECTIVE: dict[str, Any] = {
    **{"target": "ema", "momentum": 0.99, "predict": ["node"], "predictor": "mlp", "predictor_depth": 2},
    **{"loss": "smooth_l1", "normalize_target": True, "sigreg": 0.0, "vicreg": 0.0, "isotropy": 0.0},
    **{"standardize": False, "decorrelation": 0.0},
}


def config(
    *,
    encoder: dict[str, Any] | None = None,
    objective: dict[str, Any] | None = None,
    masking: Masking | None = None,
    views: ViewConfig | None = None,
    **options: Any,
) -> PretrainConfig:
    """Every option that these tests depend on, said; the defaults are free to change."""
    common = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup_epochs": 0.0}
    common |= {"clip_norm": 1.0, "accelerator": "cpu", "progress": False, "seed": 0, "export": "context"}
    return PretrainConfig(
        encoder=EncoderConfig(**ENCODER | (encoder or {})),
        masking=masking or Masking(strategy="khop", ratio=0.4),
        views=views or ViewConfig(context="token", target="whole"),
        objective=ObjectiveConfig(**OBJECTIVE | (objective or {})),
        **common | options,
    )


def weights(pretrained: Pretrained) -> dict[str, Tensor]:
    return pretrained.encoder.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def one_graph(nodes_per_class: int = 30) -> GraphDataset:
    """A single graph of two communities with node classes and splits, as Planetoid has them."""
    generator = torch.Generator().manual_seed(0)
    n = 2 * nodes_per_class
    y = torch.arange(n) % 2
    chance = torch.where(y[:, None] == y, 0.2, 0.02)
    upper = (torch.rand(n, n, generator=generator) < chance).triu(1)
    graphs = Graphs.pack(
        0.5 * torch.randn(n, 5, generator=generator) + y[:, None],
        (upper | upper.T).nonzero().T,
        torch.tensor([n]),
        node_y=y,
    )
    order = torch.randperm(n, generator=generator)
    splits = {"train": order[:10], "val": order[10:20], "test": order[20:]}
    return GraphDataset("communities", graphs, "node classification", ("a", "b"), splits)


def first_and_last_loss(run: RunFolder) -> tuple[float, float]:
    with run.metrics.open(newline="", encoding="utf-8") as file:
        losses = [float(row["train/total"]) for row in csv.DictReader(file)]
    return losses[0], losses[-1]


@pytest.mark.parametrize("conv", LAYERS)
def test_the_loss_falls_on_a_set_that_needs_no_data(conv: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    pretrain(necklaces(64), config(encoder={"conv": conv}, epochs=10, learning_rate=3e-3), run=run)
    first, last = first_and_last_loss(run)
    assert last < 0.75 * first


@pytest.mark.parametrize("choice", every_choice(), ids=str)
def test_whatever_core_has_registered_can_be_trained_with(choice: dict[str, Any], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    metrics = pretrain(necklaces(16), config(objective=choice, epochs=1), run=run).fit.metrics
    (regularizer,) = choice.keys() - {"loss", "target"}
    assert metrics[f"train/{regularizer}"] > 0
    total = metrics["train/predict/node"] + 0.1 * metrics[f"train/{regularizer}"]
    assert metrics["train/total"] == pytest.approx(total, rel=1e-4)


@pytest.mark.data
def test_the_loss_falls_on_mutag_and_nothing_collapses(data_dir: Path, tmp_path: Path) -> None:
    dataset = load_dataset("MUTAG", data_dir=data_dir)
    run = RunFolder(tmp_path / "run")
    pretrained = pretrain(dataset, config(epochs=8, batch_size=32, learning_rate=2e-3, export="target"), run=run)
    first, last = first_and_last_loss(run)
    assert last < 0.75 * first
    assert pretrained.fit.steps == 8 * 6
    assert not pretrained.diagnosis.collapsed


@pytest.mark.parametrize("target", ["ema", "simsiam", "lejepa"])
@pytest.mark.parametrize("export", ["context", "target"])
def test_the_encoder_that_was_asked_for_is_kept(target: str, export: str, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    objective = {"target": target, "sigreg": 0.1}
    pretrained = pretrain(necklaces(32), config(objective=objective, export=export), run=run)
    trained = read_checkpoint(run.checkpoint)["state_dict"]
    part = "target.encoder" if (target, export) == ("ema", "target") else "context_encoder"
    expected = {name: trained[f"jepa.{part}.{name}"] for name in weights(pretrained)}
    assert same(weights(pretrained), expected)
    assert not pretrained.encoder.training
    assert json.loads((run.encoder / "config.json").read_text("utf-8"))["role"] == (
        "target" if part == "target.encoder" else "context"
    )
    if target == "ema":
        other = "context_encoder" if part == "target.encoder" else "target.encoder"
        assert not same(expected, {name: trained[f"jepa.{other}.{name}"] for name in expected})


def test_labels_do_not_reach_the_weights(tmp_path: Path) -> None:
    dataset = necklaces(32)
    graphs, y = dataset.graphs, dataset.graphs.y
    assert y is not None
    shuffled = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    others = [
        replace(dataset, graphs=replace(graphs, y=shuffled)),
        replace(dataset, graphs=replace(graphs, y=None), task="none", label_names=()),
        replace(dataset, graphs=replace(graphs, y=y.float()[:, None]), task="graph regression"),
    ]
    settings = config(epochs=3, export="target", diagnose_every=1, encoder={"prototypes": 4})
    expected = weights(pretrain(dataset, settings, run=RunFolder(tmp_path / "run")))
    for other in others:
        assert same(weights(pretrain(other, settings)), expected)


def test_node_labels_and_splits_do_not_reach_the_weights() -> None:
    dataset = one_graph()
    graphs = dataset.graphs
    assert graphs.node_y is not None
    expected = weights(pretrain(dataset, config(epochs=3)))
    swapped = replace(dataset, graphs=replace(graphs, node_y=1 - graphs.node_y.roll(7)), splits={})
    assert same(weights(pretrain(swapped, config(epochs=3))), expected)


def test_a_seed_is_a_run() -> None:
    dataset = necklaces(32)
    settings = config(encoder={"dropout": 0.2}, objective={"sigreg": 0.1})
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = pretrain(dataset, settings)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    again = pretrain(dataset, settings)
    assert same(weights(first), weights(again))
    assert first.fit.metrics == again.fit.metrics
    other = pretrain(dataset, config(encoder={"dropout": 0.2}, objective={"sigreg": 0.1}, seed=1))
    assert not torch.allclose(weights(first)["features.weight"], weights(other)["features.weight"])


def test_the_random_encoder_is_the_one_before_training() -> None:
    dataset = necklaces(32)
    settings = config(encoder={"prototypes": 4})
    pretrained = pretrain(dataset, settings)
    torch.manual_seed(settings.seed)
    fresh = GraphEncoder.for_data(dataset.graphs, settings.encoder)
    fresh.calibrate(dataset.graphs)
    torch.testing.assert_close(
        pretrained.random_encoder.embed(dataset.graphs, key="node"), fresh.embed(dataset.graphs, key="node")
    )
    for name, parameter in pretrained.random_encoder.named_parameters():
        assert torch.equal(parameter, fresh.get_parameter(name)), name
        moved = not torch.equal(parameter, pretrained.encoder.get_parameter(name))
        assert moved or name.endswith("mask_token"), name


def test_the_run_folder_is_complete(tmp_path: Path) -> None:
    dataset = necklaces(32)
    run = RunFolder(tmp_path / "deep" / "run")
    pretrained = pretrain(dataset, config(epochs=3, diagnose_every=2), run=run)
    found = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    folders = {
        f"{name}/{file}"
        for name in ("encoder", "random_encoder")
        for file in ("config.json", "model.safetensors", "README.md")
    }
    assert (
        found == {"checkpoints/last.safetensors", "metrics.csv", "diagnosis.json", "embeddings.safetensors"} | folders
    )

    rows = run.read_metrics()
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [bool(row["diagnostics/effective_rank"]) for row in rows] == [True, False, True]
    assert float(rows[-1]["train/total"]) == pytest.approx(pretrained.fit.metrics["train/total"], rel=1e-6)

    for folder, encoder in (("encoder", pretrained.encoder), ("random_encoder", pretrained.random_encoder)):
        loaded = load_encoder(run.path / folder)
        assert isinstance(loaded, GraphEncoder)
        assert torch.equal(loaded.embed(dataset.graphs), encoder.embed(dataset.graphs))

    saved = load_file(run.embeddings)
    assert torch.equal(saved["embedding"], pretrained.encoder.embed(dataset.graphs))
    assert torch.equal(saved["label"], dataset.graphs.y)
    diagnosis = json.loads(run.diagnosis.read_text("utf-8"))
    assert diagnosis["collapsed"] == pretrained.diagnosis.collapsed
    assert diagnosis["values"] == pytest.approx(pretrained.diagnosis.values)


def test_unlabelled_graphs_are_diagnosed_without_classes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    pretrained = pretrain(necklaces(32, labels="none"), config(), run=run)
    assert "label" not in load_file(run.embeddings)
    assert "within_group_rank" not in pretrained.diagnosis.values
    assert pretrained.diagnosis.values["effective_rank"] > 0


def test_a_single_graph_is_pre_trained_on_its_nodes(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    pretrained = pretrain(one_graph(), config(epochs=60, learning_rate=3e-3, encoder={"conv": "gcn"}), run=run)
    first, last = first_and_last_loss(run)
    assert last < 0.8 * first
    assert pretrained.fit.steps == 60
    assert load_file(run.embeddings)["embedding"].shape == (60, pretrained.encoder.config.width)
    assert "within_group_rank" in pretrained.diagnosis.values


@pytest.mark.data
def test_cora_is_pre_trained_on_its_nodes(data_dir: Path) -> None:
    dataset = load_dataset("Cora", data_dir=data_dir)
    pretrained = pretrain(dataset, config(epochs=3, encoder={"conv": "gcn"}))
    assert pretrained.fit.steps == 3
    assert not pretrained.diagnosis.collapsed


@pytest.mark.parametrize("strategy", ["khop", "random", "walk", "path", "metis", "blocks"])
def test_every_masking_strategy_trains(strategy: str) -> None:
    settings = config(masking=Masking(strategy=strategy, ratio=0.4), patch_size=3, epochs=4, learning_rate=3e-3)
    pretrained = pretrain(necklaces(32), settings)
    untrained = pretrain(necklaces(32), replace(settings, epochs=1, learning_rate=1e-12))
    assert pretrained.fit.metrics["train/total"] < untrained.fit.metrics["train/total"]


def test_patches_need_a_size() -> None:
    with pytest.raises(ConfigError, match=r"patch_size = 0: expected at least 1"):
        pretrain(necklaces(8), config(masking=Masking(strategy="metis"), patch_size=0))


@pytest.mark.parametrize("conv", LAYERS)
def test_mixed_precision_trains(conv: str) -> None:
    pretrained = pretrain(necklaces(16), config(encoder={"conv": conv}, precision="bf16-mixed"))
    full = pretrain(necklaces(16), config(encoder={"conv": conv}))
    assert pretrained.fit.metrics["train/total"] == pytest.approx(full.fit.metrics["train/total"], rel=0.05)
    assert all(value.dtype == torch.float32 for value in pretrained.encoder.parameters())


def mostly_single_nodes() -> GraphDataset:
    graphs = concatenate([star_of(1, 1, 1, 5, 1, 2, 1, 1, features=(1.0, 0.5, -1.0)), five_graphs(edge_features=False)])
    return GraphDataset("odd", graphs)


@pytest.mark.parametrize(
    ("views", "objective"),
    [
        (ViewConfig(context="token", target="whole"), {"predictor": "cross_attention"}),
        (ViewConfig(context="drop", target="region"), {"predictor": "cross_attention"}),
        (ViewConfig(context="drop", target="whole"), {"predictor": "cross_attention", "target": "simsiam"}),
        (ViewConfig(context="token", target="region"), {"target": "lejepa", "loss": "hyperbolic"}),
        (ViewConfig(context="token", target="view", drop_edges=0.5), {"target": "simsiam"}),
        (
            ViewConfig(context="all", target="view", drop_edges=0.3, drop_features=0.3),
            {"predictor": "none", "target": "lejepa", "standardize": True, "decorrelation": 0.1},
        ),
        (
            ViewConfig(context="all", target="whole", drop_features=0.5),
            {"predictor": "none", "normalize_target": False},
        ),
    ],
    ids=lambda value: f"{value.context} {value.target}" if isinstance(value, ViewConfig) else "",
)
def test_graphs_of_one_and_two_nodes_train_one_at_a_time(views: ViewConfig, objective: dict[str, Any]) -> None:
    """A batch may be a single pair, of which the context or the target sees one node: no variance to normalise by."""
    dataset = mostly_single_nodes()
    options = {"predict": ["node", "graph"], "isotropy": 0.01} | objective
    settings = config(batch_size=1, encoder={"position": "random_walk"}, views=views, objective=options)
    pretrained = pretrain(dataset, settings)
    assert pretrained.fit.steps == 2 * 6  # six of thirteen graphs have two nodes or more
    assert not same(weights(pretrained), pretrained.random_encoder.state_dict())
    assert pretrained.encoder.embed(dataset.graphs).isfinite().all()


@pytest.mark.parametrize(
    "graphs", [star_of(1, 1, 1), five_graphs()[[]], five_graphs().induced(torch.zeros(14, dtype=torch.bool))]
)
def test_a_set_without_two_nodes_anywhere_has_nothing_to_predict(graphs: Graphs, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(DataError, match=r"dust: no graph has two nodes"):
        pretrain(GraphDataset("dust", graphs), config(), run=run)
    assert not run.path.exists()


def test_a_diverged_run_says_so_and_leaves_no_encoder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ModelError, match=r"no longer a finite number; lower learning_rate"):
        pretrain(necklaces(16), config(learning_rate=1e30, clip_norm=0.0, epochs=3, encoder={"norm": "none"}), run=run)
    assert not run.encoder.exists()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains(name: str) -> None:
    dataset = necklaces(8)
    described = replace(dataset.graphs, descriptors=torch.rand(8, 2))
    pretrained = pretrain(replace(dataset, graphs=described), preset(name, epochs=1, progress=False, accelerator="cpu"))
    assert pretrained.fit.epochs == 1
    assert not same(weights(pretrained), pretrained.random_encoder.state_dict())


@pytest.mark.parametrize(("dropped", "easy"), [(0.01, True), (0.4, False)])
def test_views_that_hardly_differ_are_a_task_that_is_too_easy(dropped: float, easy: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    ends = torch.randint(300, (2, 600), generator=draw)
    graph = Graphs.pack(torch.randn(300, 32, generator=draw), torch.cat([ends, ends.flip(0)], 1), torch.tensor([300]))
    few = preset("nodes", epochs=5, progress=False, accelerator="cpu")
    views = replace(few.views, drop_edges=dropped, drop_features=0.0)
    settings = replace(few, views=views, encoder=replace(few.encoder, hidden=32))
    diagnosis = pretrain(GraphDataset("drawn", graph), settings).diagnosis
    assert any("too easy" in finding.what for finding in diagnosis.findings) == easy, diagnosis.values
