"""The objective of the guard: its terms by hand, what they pull together and push apart."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import Where
from jepakit.errors import ConfigError
from jepakit.guard.model import GuardModel
from jepakit.guard.objective import Judged, ObjectiveConfig, build_jepa

TINY = {"latent_dim": 4, "hidden": 4, "heads": 1, "layers": 1, "text_dim": 4}


class Given(nn.Module):
    """An encoder or predictor whose output is its input, or the rows of it that are asked for."""

    def forward(self, view: Tensor, where: Where | None = None) -> Tensor:
        return view if where is None or where.context_rows is None else view[where.context_rows]


def judged(contexts: Tensor, calls: Tensor, context_of: list[int], malicious: list[bool]) -> Judged:
    owner, bad = torch.tensor(context_of), torch.tensor(malicious)
    benign = torch.nonzero(~bad)[:, 0]
    where = Where(target_rows=benign, context_rows=owner[benign])
    known = torch.ones(len(owner), dtype=torch.bool)
    return Judged(context=contexts, target=calls, where=where, context_of=owner, malicious=bad, known=known)


def terms(views: Judged, **config: float | bool) -> dict[str, float]:
    model = GuardModel(TINY)
    model.governance, model.execution, model.predictor = Given(), Given(), Given()  # type: ignore[assignment]
    output = build_jepa(model, ObjectiveConfig(**config))(views)  # type: ignore[arg-type]
    return {name: float(value) for name, value in output.terms.items()}


E1, E2, E3, E4 = torch.eye(4)


def test_the_terms_by_hand() -> None:
    # Context 0 predicts e1, context 1 e2. The benign calls are right; the malicious call of context 0 is at e3.
    views = judged(torch.stack([E1, E2]), torch.stack([E1, E2, E3]), [0, 1, 0], [False, False, True])
    told = terms(views, temperature=1.0, security_margin=0.5)
    assert told["predict"] == pytest.approx(0.0, abs=1e-6)
    assert told["energy/benign"] == pytest.approx(0.0, abs=1e-6)
    assert told["energy/malicious"] == pytest.approx(1.0)
    # (.5 + 0 - 1) / .1 = -5.
    assert told["margin"] == pytest.approx(math.log1p(math.exp(-5)), rel=1e-4)
    to_calls = math.log(math.e + 2) - 1
    to_contexts = math.log(math.e + 1) - 1
    assert told["contrastive"] == pytest.approx((to_calls + to_contexts) / 2, rel=1e-5)


def test_without_hard_negatives_malicious_calls_are_no_candidates() -> None:
    views = judged(torch.stack([E1, E2]), torch.stack([E1, E2, E3]), [0, 1, 0], [False, False, True])
    told = terms(views, temperature=1.0, hard_negatives=False)
    assert told["contrastive"] == pytest.approx(math.log(math.e + 1) - 1, rel=1e-5)


def test_other_benign_calls_of_a_task_are_no_negatives_of_it() -> None:
    # A second benign call of context 0, as near to its prediction as the first.
    views = judged(torch.stack([E1, E2]), torch.stack([E1, E1, E2]), [0, 0, 1], [False, False, False])
    alone = judged(torch.stack([E1, E2]), torch.stack([E1, E2]), [0, 1], [False, False])
    config = {"temperature": 0.1}
    of_first = [terms(one, **config)["contrastive"] for one in (views, alone)]
    # From context 1 the second call is one more negative; from context 0 it is none.
    more = (math.log(1 + 2 * math.exp(-10)) - math.log(1 + math.exp(-10))) / 3 / 2
    assert of_first[0] == pytest.approx(of_first[1] + more, rel=1e-3)


def test_the_margin_compares_calls_of_one_context_alone() -> None:
    # The only malicious call is of a context without a benign one.
    views = judged(torch.stack([E1, E2]), torch.stack([E1, E4]), [0, 1], [False, True])
    assert terms(views)["margin"] == 0.0


def test_the_margin_pushes_a_malicious_call_from_the_prediction() -> None:
    calls = torch.stack([E1, F.normalize(E1 + E2, dim=0)]).requires_grad_()
    views = judged(E1[None], calls, [0, 0], [False, True])
    model = GuardModel(TINY)
    model.governance, model.execution, model.predictor = Given(), Given(), Given()  # type: ignore[assignment]
    config = ObjectiveConfig(predictive=0.0, contrastive=0.0, labels=0.0, margin=1.0)
    build_jepa(model, config)(views).total.backward()
    assert calls.grad is not None
    assert calls.grad[1, 0] > 0


def test_a_batch_of_attacks_alone_has_a_finite_loss() -> None:
    views = judged(torch.stack([E1]), torch.stack([E2, E3]), [0, 0], [True, True])
    model = GuardModel(TINY)
    model.governance, model.execution, model.predictor = Given(), Given(), Given()  # type: ignore[assignment]
    assert build_jepa(model, ObjectiveConfig())(views).total.isfinite()


@pytest.mark.parametrize("field", ["predictive", "contrastive", "margin", "labels", "security_margin"])
def test_negative_weights_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        ObjectiveConfig(**{field: -1.0})
