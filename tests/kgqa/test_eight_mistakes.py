"""What goes wrong in public JEPA code, number by number, on subgraphs of a knowledge graph.

Mistake 8, tables without floors, concerns evaluations: `test_probe`. The objective by itself is tested in `tests/core`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distributed_knowledge_worker import batch_of, measure
from jepakit.core import Views, diagnose
from jepakit.graph.data import Graphs
from jepakit.graph.masking import Masking
from jepakit.graph.objective import build_jepa
from jepakit.graph.views import BatchViews, ViewConfig
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.networks.layers import LAYERS
from jepakit.kgqa.objective import ObjectiveConfig
from jepakit.kgqa.pretrain import PretrainConfig, pretrain
from jepakit.kgqa.sampling import Sampling
from jepakit.training import RunFolder
from jepakit.training.storage.checkpoint import read_checkpoint
from kg_samples import TEXT, two_groups
from processes import run_group


def encoder_with(**options: object) -> KnowledgeEncoder:
    torch.manual_seed(0)
    common = {"hidden": 8, "layers": 2, "heads": 2, "norm": "layer", "position": "random_walk", "position_size": 4}
    return KnowledgeEncoder(TEXT, ["r0", "r1"], **common | options)


def masked_of(graphs: Graphs) -> Tensor:
    return Masking(strategy="random", ratio=0.4)(graphs, torch.Generator().manual_seed(1))


def views_of(encoder: KnowledgeEncoder, graphs: Graphs, masked: Tensor, context: str, target: str = "whole") -> Views:
    return BatchViews(Masking(), ViewConfig(context=context, target=target)).of(encoder.prepare(graphs), masked)


@pytest.mark.parametrize(
    ("predictor", "context"), [("mlp", "token"), ("cross_attention", "token"), ("cross_attention", "drop")]
)
def test_mistake_1_predictions_of_two_masked_entities_differ(predictor: str, context: str) -> None:
    graphs, encoder = batch_of(4), encoder_with()
    jepa = build_jepa(encoder, ObjectiveConfig(predictor=predictor, predict=["node"]), total_steps=1)
    masked = masked_of(graphs)
    rows = jepa(views_of(encoder, graphs, masked, context)).prediction["node"].detach()
    if predictor == "cross_attention":
        # Queries are positions: two leaves of one entity have the same.
        position = encoder.prepare(graphs).position
        assert position is not None
        place = torch.cat([position, graphs.graph_of_node[:, None].float()], dim=1)[masked]
        rows = rows[[int((place == one).all(1).nonzero()[0]) for one in place.unique(dim=0)]]
    assert len(rows) > 8
    assert float(torch.pdist(rows).min()) > 1e-4


@pytest.mark.parametrize("conv", LAYERS)
@pytest.mark.parametrize("context", ["token", "drop"])
def test_mistake_2_adding_a_subgraph_to_the_batch_changes_no_other_output(context: str, conv: str) -> None:
    graphs, encoder = batch_of(4), encoder_with(conv=conv).eval()
    masked = masked_of(graphs)
    options = ObjectiveConfig(predictor="cross_attention", predict=["node", "graph"])
    jepa = build_jepa(encoder, options, total_steps=1).eval()
    together = jepa(views_of(encoder, graphs, masked, context))
    kept = torch.isin(graphs.graph_of_node, torch.tensor([1, 3]))
    alone = jepa(views_of(encoder, graphs[[1, 3]], masked[kept], context))
    for name in ("prediction", "target"):
        for key, rows in (("node", kept[masked]), ("graph", torch.tensor([False, True, False, True]))):
            torch.testing.assert_close(getattr(alone, name)[key], getattr(together, name)[key][rows])


@pytest.mark.parametrize("conv", LAYERS)
@pytest.mark.parametrize("target", ["whole", "region"])
@pytest.mark.parametrize("context", ["token", "drop"])
def test_mistake_3_corrupting_text_and_type_of_masked_entities_leaves_the_context_unchanged(
    context: str, target: str, conv: str
) -> None:
    graphs = batch_of(4)
    encoder = encoder_with(conv=conv, types=["a", "b"]).eval()
    masked = masked_of(graphs)
    assert graphs.node_type is not None
    kinds = graphs.node_type + 1
    corrupted = replace(graphs, x=graphs.x - 5.0 * masked[:, None], node_type=torch.where(masked, 2 - kinds, kinds))
    graphs = replace(graphs, node_type=kinds)
    before, after = (views_of(encoder, g, masked, context, target) for g in (graphs, corrupted))
    for key in ("node", "graph"):
        assert torch.equal(encoder(before.context)[key], encoder(after.context)[key])
    assert not torch.allclose(encoder(before.target)["node"], encoder(after.target)["node"])


def settings(**options: object) -> PretrainConfig:
    common = {"epochs": 2, "batch_size": 8, "subgraphs": 24, "accelerator": "cpu", "progress": False}
    encoder = EncoderConfig(hidden=8, layers=2, heads=2)
    return PretrainConfig(**{**common, "encoder": encoder, "sampling": Sampling(nodes=16), **options})


def test_mistake_4_the_ema_moves_once_a_step_with_its_buffers_and_in_eval_mode(tmp_path: Path) -> None:
    graph, features = two_groups()
    run = RunFolder(tmp_path / "run")
    config = settings(
        encoder=EncoderConfig(hidden=8, heads=2, norm="batch", dropout=0.5),
        objective=ObjectiveConfig(target="ema", momentum=0.5, loss="mse"),
    )
    pretrained = pretrain(graph, config, features=features, run=run)
    saved = read_checkpoint(run.checkpoint)["state_dict"]
    assert int(saved["jepa.target.step"]) == pretrained.fit.steps == 6
    untrained = pretrained.random_encoder.state_dict()
    statistics = [name for name in untrained if "running_" in name]
    assert statistics
    for name in statistics:
        assert not torch.equal(saved[f"jepa.target.encoder.{name}"], untrained[name])
        assert not torch.equal(saved[f"jepa.target.encoder.{name}"], saved[f"jepa.context_encoder.{name}"])
    graphs = batch_of(4)
    jepa = build_jepa(encoder_with(dropout=0.5, norm="batch"), config.objective, total_steps=6).train()
    views = views_of(encoder_with(), graphs, masked_of(graphs), "token")
    first, second = jepa(views), jepa(views)
    assert torch.equal(first.target["node"], second.target["node"])
    assert not torch.equal(first.context["node"], second.context["node"])


def test_mistake_5_two_processes_have_the_value_and_the_gradient_of_one(tmp_path: Path) -> None:
    ranks = run_group(measure, tmp_path)
    single = measure(0, 1)
    for name, expected in single.items():
        found = [rank[name] for rank in ranks]
        found = found if name == "term/sigreg" or name.startswith("grad/") else [torch.stack(found).mean(0)]
        for value in found:
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_mistake_6_pre_training_reads_the_triples_it_is_given_and_no_others() -> None:
    """Held-out triples are left out of the graph: whatever they are, the weights are the same."""
    graph, features = two_groups()
    rows = graph.triples()
    held_out = np.arange(len(rows)) % 10 == 0
    assert graph.num_triples > 100
    first, second = (
        pretrain(type(graph).from_rows("part", graph.entities, graph.relations, part), settings(), features=features)
        for part in (rows[~held_out], np.concatenate([rows[~held_out], rows[~held_out][:5]]))
    )
    state = first.encoder.state_dict()
    assert all(torch.equal(state[name], value) for name, value in second.encoder.state_dict().items())


def test_mistake_7_a_collapsed_encoder_is_flagged() -> None:
    graphs, encoder = batch_of(8), encoder_with(conv="rgcn", residual=False, jumping="last", position="none").eval()
    for name, parameter in encoder.named_parameters():
        if name.startswith("layers.1"):
            torch.nn.init.zeros_(parameter)
    assert not diagnose(encoder_with(position="none").eval()(graphs)["node"].detach()).collapsed
    assert diagnose(encoder(graphs)["node"].detach()).collapsed


def test_mistake_7_every_run_reports_its_rank_beside_that_of_the_random_encoder() -> None:
    graph, features = two_groups()
    values = pretrain(graph, settings(), features=features).diagnosis.values
    assert values["effective_rank"] > 1
