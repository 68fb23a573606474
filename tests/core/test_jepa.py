"""The objective: what is encoded, predicted, compared, and what must not happen on the way."""

import pytest
import torch
from torch import nn

from jepakit.core import (
    JEPA,
    BidirectionalPredictor,
    EMATarget,
    MLPPredictor,
    PredictorPerKey,
    SeparateTarget,
    SharedTarget,
    SIGReg,
    Views,
    Where,
    cosine,
    isotropy_penalty,
    mse,
)
from jepakit.errors import ConfigError


class TwoHeads(nn.Module):
    """A dict-valued encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.node, self.graph = nn.Linear(3, 4), nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"node": self.node(x), "graph": self.graph(x).mean(0, keepdim=True)}


class Identity(nn.Module):
    def forward(self, context: torch.Tensor, where: Where | None = None) -> torch.Tensor:
        return context


def test_total_is_the_hand_computed_loss_plus_weighted_regularisers() -> None:
    encoder = nn.Linear(3, 4)
    context, target = torch.randn(6, 3), torch.randn(6, 3)
    jepa = JEPA(encoder, SharedTarget(), Identity(), mse, {"isotropy": (0.5, isotropy_penalty)})
    output = jepa(Views(context, target))
    expected_loss = (encoder(context) - encoder(target)).square().mean()
    expected_penalty = isotropy_penalty(encoder(context))
    torch.testing.assert_close(output.terms["predict"], expected_loss.detach())
    torch.testing.assert_close(output.terms["isotropy"], expected_penalty.detach())
    torch.testing.assert_close(output.total, expected_loss + 0.5 * expected_penalty)


def test_the_prediction_loss_has_a_weight_and_the_rest_of_the_target_comes_with_the_output() -> None:
    encoder = nn.Linear(3, 4)
    context, target = torch.randn(2, 3), torch.randn(5, 3)
    where = Where(target_rows=torch.tensor([4, 1]))
    output = JEPA(encoder, SharedTarget(), Identity(), mse, weight=0.25)(Views(context, target, where))
    torch.testing.assert_close(output.total, 0.25 * (encoder(context) - encoder(target)[[4, 1]]).square().mean())
    torch.testing.assert_close(output.terms["predict"], 4 * output.total.detach())
    torch.testing.assert_close(output.encoded, encoder(target).detach())
    with pytest.raises(ConfigError, match=r"weight = -1\.0"):
        JEPA(encoder, SharedTarget(), Identity(), mse, weight=-1.0)


def test_regularisers_see_the_target_where_it_is_trained() -> None:
    encoder = nn.Linear(3, 4)
    context, target = torch.randn(6, 3), torch.randn(9, 3)
    where = Where(target_rows=torch.arange(6))
    jepa = JEPA(encoder, SharedTarget(stop_gradient=False), Identity(), mse, {"isotropy": (1.0, isotropy_penalty)})
    expected = (isotropy_penalty(encoder(context)) + isotropy_penalty(encoder(target))) / 2
    torch.testing.assert_close(jepa(Views(context, target, where)).terms["isotropy"], expected.detach())


def test_where_selects_rows_of_both_sides() -> None:
    encoder = nn.Linear(3, 3)
    x = torch.randn(5, 3)
    where = Where(target_rows=torch.tensor([4, 0]), context_rows=torch.tensor([1, 2]))
    output = JEPA(encoder, SharedTarget(), MLPPredictor(3, residual=True), mse)(Views(x, x, where))
    torch.testing.assert_close(output.target, encoder(x)[[4, 0]])
    torch.testing.assert_close(output.prediction, encoder(x)[[1, 2]])  # a residual predictor starts at the identity


def test_dict_embeddings_are_predicted_key_by_key_and_averaged() -> None:
    encoder = TwoHeads()
    x = torch.randn(5, 3)
    predictor = PredictorPerKey({"node": MLPPredictor(4), "graph": MLPPredictor(5)})
    where = {"node": Where(target_rows=torch.tensor([1]), context_rows=torch.tensor([1]))}
    output = JEPA(encoder, EMATarget(encoder), predictor, mse)(Views(x, x, where))
    assert output.terms.keys() == {"predict/node", "predict/graph"}
    torch.testing.assert_close(output.total.detach(), torch.stack(list(output.terms.values())).mean())
    assert output.prediction["node"].shape == (1, 4)


def test_only_predicted_keys_are_compared() -> None:
    encoder = TwoHeads()
    output = JEPA(encoder, SharedTarget(), PredictorPerKey({"graph": MLPPredictor(5)}), mse)(
        Views(torch.randn(5, 3), torch.randn(2, 3))
    )
    assert output.terms.keys() == {"predict/graph"}


def test_a_key_may_have_a_loss_of_its_own_and_be_predicted_from_another() -> None:
    encoder, context, target = TwoHeads(), torch.randn(6, 3), torch.randn(6, 3)
    predictor = PredictorPerKey({"node": Identity(), "extra": Identity()}, {"extra": "node"})

    class WithExtra(TwoHeads):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {**super().forward(x), "extra": x.new_ones(6, 4)}

    losses = {"node": mse, "extra": cosine}
    regularizers = {"isotropy": (0.5, isotropy_penalty)}
    output = JEPA(encoder, SeparateTarget(other := WithExtra(), stop_gradient=True), predictor, losses, regularizers)(
        Views(context, target)
    )
    node = encoder(context)["node"]
    expected = (mse(node, other(target)["node"]) + cosine(node, torch.ones(6, 4))) / 2
    with pytest.raises(ConfigError, match="a loss for 'extra', which is predicted"):
        JEPA(encoder, SeparateTarget(other), predictor, {"node": mse})(Views(context, target))
    # The context encoder has no "extra" to keep from collapsing.
    torch.testing.assert_close(output.total, expected + 0.5 * isotropy_penalty(node))


def test_several_views_count_equally() -> None:
    encoder = nn.Linear(3, 4)
    a, b = torch.randn(6, 3), torch.randn(6, 3)
    predictor = BidirectionalPredictor(MLPPredictor(4), MLPPredictor(4))
    jepa = JEPA(encoder, SharedTarget(), predictor, mse)
    there, back = Views(a, b), Views(b, a, Where(backward=True))
    both = jepa([there, back])
    torch.testing.assert_close(both.total, (jepa(there).total + jepa(back).total) / 2)
    assert not torch.allclose(jepa(back).prediction, predictor.forward_predictor(encoder(b)))


def test_a_prediction_of_the_wrong_length_is_refused_not_broadcast() -> None:
    encoder = nn.Linear(3, 4)
    with pytest.raises(ConfigError, match=r"predict.*6, 4.*1 target rows"):
        JEPA(encoder, SharedTarget(), Identity(), mse)(Views(torch.randn(6, 3), torch.randn(1, 3)))


def test_bad_arguments_name_themselves() -> None:
    encoder = nn.Linear(3, 4)
    with pytest.raises(ConfigError, match=r"regularizers\['isotropy'\] = -1"):
        JEPA(encoder, SharedTarget(), Identity(), mse, {"isotropy": (-1.0, isotropy_penalty)})
    with pytest.raises(ConfigError, match="views"):
        JEPA(encoder, SharedTarget(), Identity(), mse)([])
    with pytest.raises(ConfigError, match=r"target = .*weight"):
        JEPA(encoder, EMATarget(nn.Linear(3, 5)), Identity(), mse)


def test_a_regularisers_state_is_saved_with_the_objective() -> None:
    encoder = nn.Linear(3, 4)
    jepa = JEPA(encoder, SharedTarget(), Identity(), mse, {"sigreg": (1.0, SIGReg(directions=4))})
    jepa(Views(torch.randn(6, 3), torch.randn(6, 3)))
    steps = [value for name, value in jepa.state_dict().items() if name.endswith("step")]
    assert [int(step) for step in steps] == [1]


@pytest.mark.parametrize("sigreg", [False, True])
def test_a_bare_loop_learns_and_does_not_collapse(sigreg: bool) -> None:
    """Predict one half of correlated data from the other, with an EMA target or with SIGReg and no target at all."""
    torch.manual_seed(0)
    factors = torch.randn(512, 4)
    context = torch.cat([factors, torch.randn(512, 4)], 1)
    target = torch.cat([factors, torch.randn(512, 4)], 1)
    encoder = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 4))
    how = SharedTarget(stop_gradient=False) if sigreg else EMATarget(encoder, 0.99)
    jepa = JEPA(encoder, how, MLPPredictor(4), mse, {"sigreg": (0.1, SIGReg(directions=32))} if sigreg else None)
    optimizer = torch.optim.AdamW(jepa.parameters(), lr=3e-3)
    errors = []
    for _ in range(150):
        output = jepa(Views(context, target))
        output.total.backward()
        optimizer.step()
        optimizer.zero_grad()
        jepa.after_step()
        # Relative to the variance of the target: a shrinking embedding would make the plain error small.
        errors.append(float(output.terms["predict"] / output.target.detach().var(0).mean()))
    assert errors[-1] < 0.7
    assert errors[-1] < 0.7 * errors[0]
    assert encoder(context).std(0).min() > 0.05
