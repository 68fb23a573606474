"""Predictors: queries know where they are, examples do not see each other."""

import pytest
import torch

from jepakit.core import CrossAttentionPredictor, MLPPredictor, Where
from jepakit.errors import ConfigError


def where(query_group: list[int], context_group: list[int], positions: torch.Tensor | None = None) -> Where:
    return Where(
        position=torch.randn(len(query_group), 3) if positions is None else positions,
        query_group=torch.tensor(query_group),
        context_group=torch.tensor(context_group),
    )


def test_queries_at_two_positions_get_two_predictions() -> None:
    predictor = CrossAttentionPredictor(8, 3)
    output = predictor(torch.randn(4, 8), where([0, 0], [0, 0, 0, 0]))
    assert (output[0] - output[1]).abs().max() > 1e-3


def test_queries_at_one_position_get_one_prediction() -> None:
    predictor = CrossAttentionPredictor(8, 3)
    output = predictor(torch.randn(4, 8), where([0, 0], [0, 0, 0, 0], torch.ones(2, 3)))
    torch.testing.assert_close(output[0], output[1])


def test_adding_examples_to_the_batch_changes_no_other_prediction() -> None:
    predictor = CrossAttentionPredictor(8, 3, 5).eval()
    context, positions = torch.randn(9, 8), torch.randn(5, 3)
    alone = predictor(context[:3], where([0, 0], [0, 0, 0], positions[:2]))
    together = predictor(context, where([0, 0, 1, 2, 2], [0, 0, 0, 1, 2, 2, 2, 2, 2], positions))
    torch.testing.assert_close(together[:2], alone)
    shuffled = torch.tensor([8, 0, 3, 1, 2, 4, 7, 6, 5])
    groups = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2, 2])[shuffled].tolist()
    torch.testing.assert_close(predictor(context[shuffled], where([0, 0, 1, 2, 2], groups, positions)), together)


def test_predictions_use_the_context_of_their_example() -> None:
    predictor = CrossAttentionPredictor(8, 3)
    context, positions = torch.randn(4, 8), torch.randn(2, 3)
    asked = where([0, 1], [0, 0, 1, 1], positions)
    changed = context.clone()
    changed[0] += 1
    difference = (predictor(context, asked) - predictor(changed, asked)).abs().amax(1)
    assert difference[0] > 1e-4
    assert difference[1] == 0


def test_an_example_without_context_is_predicted_from_its_position() -> None:
    predictor = CrossAttentionPredictor(8, 3)
    context = torch.randn(2, 8, requires_grad=True)
    output = predictor(context, where([0, 1, 1], [0, 0]))
    assert torch.isfinite(output).all()
    assert (output[1] - output[2]).abs().max() > 1e-4
    output.sum().backward()
    assert torch.isfinite(context.grad).all()


def test_cross_attention_says_what_is_missing() -> None:
    predictor = CrossAttentionPredictor(8, 3)
    with pytest.raises(ConfigError, match="position, query_group and context_group"):
        predictor(torch.randn(4, 8), Where())
    with pytest.raises(ConfigError, match="heads = 3"):
        CrossAttentionPredictor(8, 3, heads=3)
    with pytest.raises(ConfigError, match="position_dim"):
        CrossAttentionPredictor(8, 0)


def test_a_residual_mlp_starts_at_the_identity_and_learns() -> None:
    predictor = MLPPredictor(6, depth=3, residual=True)
    x = torch.randn(5, 6)
    torch.testing.assert_close(predictor(x), x)
    predictor(x).square().sum().backward()
    assert predictor.layers[-1].weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="residual"):
        MLPPredictor(6, 7, residual=True)


@pytest.mark.parametrize(("depth", "linears"), [(1, 1), (2, 2), (4, 4)])
def test_mlp_depth_counts_linear_layers(depth: int, linears: int) -> None:
    predictor = MLPPredictor(6, 3, depth=depth, width_factor=0.5)
    layers = [layer for layer in predictor.layers if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == linears
    assert [layer.out_features for layer in layers] == [3] * depth
