"""Descriptors: their normal scores by hand, predicted beside nodes, seen by no encoder."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graph_samples import FEATURES, MASKED, five_graphs, necklaces
from jepakit.errors import ConfigError, DataError
from jepakit.graph import (
    EncoderConfig,
    GraphDataset,
    GraphEncoder,
    GraphViews,
    Masking,
    ObjectiveConfig,
    PretrainConfig,
    ViewConfig,
    build_jepa,
    pretrain,
)
from jepakit.graph.descriptors import DescriptorPredictor, normal_scores
from jepakit.graph.probe.targets import probe_regression

NAN, INF = float("nan"), float("inf")
SMALL: dict[str, object] = {"hidden": 8, "layers": 2, "norm": "layer", "prototypes": 0}


def described(descriptors: Tensor) -> tuple[GraphEncoder, GraphViews]:
    torch.manual_seed(0)
    graphs = replace(five_graphs(edge_features=False), descriptors=descriptors)
    return GraphEncoder(FEATURES, **SMALL), GraphViews(graphs, Masking(), ViewConfig())


def test_normal_scores_by_hand() -> None:
    values = torch.tensor([[1.0, 7.0, 5.0], [1.0, 7.0, NAN], [1e9, 7.0, INF], [NAN, 7.0, 6.0]])
    # Two of three known values share a rank: -1/sqrt(2) twice and sqrt(2) once have mean 0 and variance 1.
    expected = torch.tensor([[-(0.5**0.5), -1.0], [-(0.5**0.5), 0.0], [2**0.5, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(normal_scores(values), expected)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=30).filter(lambda values: len(set(values)) > 1))
def test_normal_scores_keep_the_order_and_nothing_else(values: list[int]) -> None:
    column = torch.tensor(values)[:, None].double()
    scores = normal_scores(column)
    torch.testing.assert_close(normal_scores(column.exp()), scores)
    torch.testing.assert_close(normal_scores(-column), -scores)
    assert torch.equal(scores.argmax(), column.argmax())
    assert scores.mean().abs() < 1e-5


def test_descriptors_that_are_all_alike_are_refused() -> None:
    with pytest.raises(DataError, match="all descriptors are constant"):
        normal_scores(torch.tensor([[1.0, NAN], [1.0, 3.0]]))


def test_the_total_is_nodes_and_descriptors_of_the_masked_graphs_by_hand() -> None:
    encoder, views = described(torch.randn(5, 3))
    config = ObjectiveConfig(predict=["node", "descriptor"], loss="mse", isotropy=0.5)
    jepa = build_jepa(encoder, config, total_steps=10, descriptors=3)
    output = jepa(made := views.of(views.graphs, MASKED))
    graphs = made.target.descriptors
    assert torch.equal(output.target["descriptor"], graphs[[0, 1, 3, 4]])  # the third has no masked node
    expected = F.smooth_l1_loss(output.prediction["descriptor"], graphs[[0, 1, 3, 4]])
    torch.testing.assert_close(output.terms["predict/descriptor"], expected.detach())
    torch.testing.assert_close(
        output.total, (output.terms["predict/node"] + expected) / 2 + 0.5 * output.terms["isotropy"]
    )
    alone = build_jepa(encoder, ObjectiveConfig(loss="mse", isotropy=0.5), total_steps=10)
    torch.testing.assert_close(alone(made).terms["isotropy"], output.terms["isotropy"])  # of the nodes only


def test_no_encoder_sees_the_descriptors() -> None:
    config = ObjectiveConfig(predict=["node", "graph", "descriptor"])
    outputs = []
    for values in (torch.zeros(5, 3), torch.randn(5, 3)):
        encoder, views = described(values)
        jepa = build_jepa(encoder, config, total_steps=10, descriptors=3)
        outputs.append(jepa(views.of(views.graphs, MASKED)))
    for key in ("node", "graph"):
        assert torch.equal(outputs[0].context[key], outputs[1].context[key])
        assert torch.equal(outputs[0].target[key], outputs[1].target[key])
    assert torch.equal(outputs[0].prediction["descriptor"], outputs[1].prediction["descriptor"])


def test_a_batch_of_one_graph_is_predicted_too() -> None:
    predictor = DescriptorPredictor(4, 2, hidden=8)
    assert torch.isfinite(predictor(torch.randn(1, 4))).all()


def test_pretraining_on_a_descriptor_puts_it_within_reach_of_a_line() -> None:
    dataset = necklaces(120)
    graphs = dataset.graphs
    source, target = graphs.edge_index
    unlike = (graphs.x[source, 0] != graphs.x[target, 0]).double()
    changes = torch.zeros(len(graphs), dtype=torch.double).index_add(0, graphs.graph_of_node[source], unlike)
    noise = torch.randn(len(graphs), generator=torch.Generator().manual_seed(0), dtype=torch.double)
    described = replace(dataset, graphs=replace(graphs, descriptors=torch.stack([changes, noise], dim=1)))

    def unexplained(encoder: GraphEncoder) -> float:
        splits = dict(zip(("train", "val", "test"), torch.arange(len(graphs)).split([45, 15, 60]), strict=True))
        return probe_regression(encoder.embed(graphs), normal_scores(changes[:, None]), splits).mean ** 2

    config = PretrainConfig(
        encoder=EncoderConfig(hidden=8, layers=1, prototypes=0, jumping="last"),
        objective=ObjectiveConfig(predict=["node", "descriptor"]),
        masking=Masking(ratio=0.1),
        epochs=30,
        batch_size=20,
        learning_rate=3e-3,
        export="context",
        progress=False,
    )
    pretrained = pretrain(described, config)
    assert unexplained(pretrained.encoder) < 0.5 * unexplained(pretrained.random_encoder)


def test_descriptors_need_a_column_and_something_else_to_predict() -> None:
    dataset: GraphDataset = necklaces(4)
    with pytest.raises(ConfigError, match=r"objective\.predict.*graphs with descriptors"):
        pretrain(dataset, PretrainConfig(objective=ObjectiveConfig(predict=["node", "descriptor"]), progress=False))
    one_too_few = replace(dataset, graphs=replace(dataset.graphs, descriptors=torch.rand(3, 2)))
    with pytest.raises(DataError, match=r"graphs\.descriptors: .*\(found \(3, 2\)"):
        pretrain(one_too_few, PretrainConfig(objective=ObjectiveConfig(predict=["node", "descriptor"])))
    with pytest.raises(ConfigError, match=r"predict.*with or without descriptor"):
        ObjectiveConfig(predict=["descriptor"])
