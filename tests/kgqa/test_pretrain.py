"""Pre-training end to end: it learns, repeats itself, goes on where it was killed, and keeps what was asked for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit import load_encoder
from jepakit.core import Views
from jepakit.errors import ConfigError, DataError
from jepakit.graph.masking import Masking
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.embed import embed_entities
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures
from jepakit.kgqa.networks.layers import LAYERS
from jepakit.kgqa.objective import ObjectiveConfig
from jepakit.kgqa.presets import PRESETS, preset
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.kgqa.sampling import Sampling
from jepakit.kgqa.views import SubgraphViews, ViewConfig
from jepakit.training import RunFolder
from jepakit.training.results import Pretrained
from jepakit.training.storage.checkpoint import read_checkpoint
from kg_samples import features_of, graph_of, two_groups


def config(**options: Any) -> PretrainConfig:
    """Every option that these tests depend on; the defaults are free to change."""
    common = {"epochs": 2, "batch_size": 16, "subgraphs": 32, "learning_rate": 3e-3, "warmup_epochs": 0.0}
    common |= {"accelerator": "cpu", "progress": False, "seed": 0, "export": "context"}
    common |= {"encoder": EncoderConfig(conv="rgcn", hidden=16, heads=2), "sampling": Sampling(nodes=16, fanout=4)}
    common |= {"masking": Masking(strategy="random", ratio=0.3)}
    common |= {"objective": ObjectiveConfig(target="ema", predict=["node"], predictor="mlp", loss="smooth_l1")}
    return PretrainConfig(**common | options)


def weights(pretrained: Pretrained[KnowledgeEncoder]) -> dict[str, Tensor]:
    return pretrained.encoder.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(run: RunFolder) -> list[float]:
    return [float(row["train/total"]) for row in run.read_metrics()]


@pytest.mark.parametrize("conv", LAYERS)
def test_the_loss_falls_and_the_encoder_is_stored(conv: str, tmp_path: Path) -> None:
    graph, features = two_groups()
    run = RunFolder(tmp_path / "run")
    settings = config(encoder=EncoderConfig(conv=conv, hidden=16, heads=2), epochs=12)
    pretrained = pretrain(graph, settings, features=features, run=run)
    assert losses(run)[-1] < 0.8 * losses(run)[0]
    for folder, encoder in ((run.encoder, pretrained.encoder), (run.random_encoder, pretrained.random_encoder)):
        loaded = load_encoder(folder)
        assert isinstance(loaded, KnowledgeEncoder)
        assert torch.equal(embed_entities(graph, loaded, features), embed_entities(graph, encoder, features))
    assert json.loads(run.diagnosis.read_text("utf-8"))["collapsed"] == pretrained.diagnosis.collapsed


def test_a_seed_is_a_run_and_the_random_state_of_the_caller_stays() -> None:
    graph, features = two_groups()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = pretrain(graph, config(), features=features)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert same(weights(first), weights(pretrain(graph, config(), features=features)))
    assert not same(weights(first), weights(pretrain(graph, config(seed=1), features=features)))


def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, features = two_groups()
    settings = config(epochs=4, encoder=EncoderConfig(hidden=16, heads=2, dropout=0.2))
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    expected = pretrain(graph, settings, features=features, run=whole)
    with monkeypatch.context() as patch:
        calls, make = [0], SubgraphViews.__call__

        def killed(self: SubgraphViews, indices: Tensor, generator: torch.Generator) -> Views:
            calls[0] += 1
            if calls[0] > 5:
                raise ConnectionAbortedError
            return make(self, indices, generator)

        patch.setattr(SubgraphViews, "__call__", killed)
        with pytest.raises(ConnectionAbortedError):
            pretrain(graph, settings, features=features, run=cut)
    resumed = pretrain(graph, settings, features=features, run=cut, resume=True)
    assert same(weights(resumed), weights(expected))
    assert losses(cut) == losses(whole)


@pytest.mark.parametrize(
    ("strategy", "target"),
    [
        *(("khop", "ema"), ("random", "simsiam"), ("walk", "lejepa")),
        *(("path", "ema"), ("metis", "simsiam"), ("blocks", "lejepa")),
    ],
)
def test_every_mask_and_target_trains(strategy: str, target: str) -> None:
    graph, features = two_groups()
    settings = config(
        epochs=4,
        masking=Masking(strategy=strategy, ratio=0.3),
        objective=ObjectiveConfig(target=target, predict=["node", "graph"], sigreg=0.05),
        patch_size=4,
    )
    pretrained = pretrain(graph, settings, features=features)
    untrained = pretrain(graph, replace(settings, epochs=1, learning_rate=1e-12), features=features)
    assert pretrained.fit.metrics["train/total"] < untrained.fit.metrics["train/total"]


@pytest.mark.parametrize(
    ("views", "objective"),
    [
        (ViewConfig(context="drop", target="region"), {"predictor": "cross_attention"}),
        (ViewConfig(context="token", target="region"), {"target": "simsiam"}),
        (ViewConfig(context="token", target="view", drop_edges=0.5), {"target": "simsiam"}),
        (
            ViewConfig(context="all", target="view", drop_edges=0.3, drop_features=0.3),
            {"predictor": "none", "target": "lejepa", "standardize": True, "decorrelation": 0.1},
        ),
    ],
    ids=lambda value: f"{value.context} {value.target}" if isinstance(value, ViewConfig) else "",
)
def test_every_view_trains(views: ViewConfig, objective: dict[str, Any]) -> None:
    graph, features = two_groups()
    encoder = EncoderConfig(hidden=16, heads=2, position="random_walk", position_size=4)
    settings = config(views=views, encoder=encoder, objective=ObjectiveConfig(**objective))
    pretrained = pretrain(graph, settings, features=features)
    assert not same(weights(pretrained), pretrained.random_encoder.state_dict())
    assert embed_entities(graph, pretrained.encoder, features).isfinite().all()


@pytest.mark.parametrize("method", ["fanout", "khop", "walk"])
def test_every_way_to_sample_trains_on_subgraphs_of_its_size(method: str) -> None:
    graph, features = two_groups()
    encoder = KnowledgeEncoder.for_graph(graph, features, EncoderConfig(hidden=8))
    sampling = Sampling(method=method, nodes=9)
    views = SubgraphViews(graph, encoder.fit_to(graph, features), encoder, sampling, Masking(), ViewConfig())
    batch = views.batch(7, torch.Generator().manual_seed(0))
    assert len(batch) == 7
    assert int(batch.nodes_per_graph.max()) <= 9
    assert int(batch.nodes_per_graph.min()) > 1
    again, other = (views.batch(7, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(batch.x, again.x)
    assert not torch.equal(batch.x[:9], other.x[:9])


@pytest.mark.parametrize("export", ["context", "target"])
@pytest.mark.parametrize("target", ["ema", "simsiam"])
def test_the_encoder_that_was_asked_for_is_kept(target: str, export: str, tmp_path: Path) -> None:
    graph, features = two_groups()
    run = RunFolder(tmp_path / "run")
    pretrained = pretrain(
        graph, config(objective=ObjectiveConfig(target=target), export=export), features=features, run=run
    )
    part = "target.encoder" if (target, export) == ("ema", "target") else "context_encoder"
    state = read_checkpoint(run.checkpoint)["state_dict"]
    assert same(weights(pretrained), {name: state[f"jepa.{part}.{name}"] for name in weights(pretrained)})


def test_mostly_isolated_entities_are_no_roots() -> None:
    graph = graph_of([(0, 0, 1), (2, 1, 2)], 1000)
    features = features_of(graph)
    encoder = KnowledgeEncoder.for_graph(graph, features, EncoderConfig(hidden=8))
    views = SubgraphViews(graph, encoder.fit_to(graph, features), encoder, Sampling(), Masking(), ViewConfig())
    assert views.batch(20, torch.Generator().manual_seed(0)).nodes_per_graph.tolist() == [2] * 20


def test_a_graph_of_self_loops_has_nothing_to_predict() -> None:
    graph = graph_of([(0, 0, 0), (2, 1, 2)], 3)
    with pytest.raises(DataError) as error:
        pretrain(graph, config(), features=features_of(graph))
    assert error.value.field == "toy"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"subgraphs": 0}, "subgraphs"),
        ({"patch_size": 0}, "patch_size"),
        ({"views": ViewConfig(context="drop")}, "objective.predictor"),
        ({"export": "both"}, "export"),
    ],
)
def test_options_are_checked(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as error:
        config(**options)
    assert error.value.field == field


def test_subgraphs_have_no_descriptors() -> None:
    with pytest.raises(ConfigError) as error:
        ObjectiveConfig(predict=["node", "descriptor"])
    assert error.value.field == "predict"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains(name: str) -> None:
    graph, features = two_groups()
    settings = preset(name, epochs=1, subgraphs=16, progress=False, accelerator="cpu", sampling=Sampling(nodes=8))
    settings = replace(settings, encoder=replace(settings.encoder, hidden=16))
    pretrained = pretrain(graph, settings, features=features)
    assert not same(weights(pretrained), pretrained.random_encoder.state_dict())


@pytest.mark.data
def test_a_biomedical_graph_is_read_and_encoded(data_dir: Path, tmp_path: Path) -> None:
    graph = load_triples(data_dir / "kgqa" / "primekg_subset" / "triples_59k.tsv")
    text = torch.randn(graph.num_entities, 8, generator=torch.Generator().manual_seed(0))
    features = EntityFeatures(text, torch.zeros(graph.num_entities, dtype=torch.long), ("",), "random")
    pretrained = pretrain(graph, config(sampling=Sampling(nodes=64)), features=features)
    assert not pretrained.diagnosis.collapsed
    assert np.isfinite(pretrained.fit.metrics["train/total"])


def test_relations_are_hidden_in_the_context_triple_by_triple() -> None:
    graph, features = two_groups()
    encoder = KnowledgeEncoder.for_graph(graph, features, EncoderConfig(hidden=8))
    views = SubgraphViews(
        graph, encoder.fit_to(graph, features), encoder, Sampling(), Masking(), ViewConfig(hide_relations=0.3)
    )(torch.arange(4), torch.Generator().manual_seed(0))
    seen, every = views.context.edge_type, views.target.edge_type
    hidden = seen == 2 * len(graph.relations)
    assert torch.equal(seen[~hidden], every[~hidden])
    assert 0.2 < float(hidden.float().mean()) < 0.4
    source, target = views.target.edge_index
    edges = list(zip(source.tolist(), every.tolist(), target.tolist(), strict=True))
    back = [edges.index((t, (r + 2) % 4, s)) for s, r, t in edges]
    assert torch.equal(hidden[back], hidden)
