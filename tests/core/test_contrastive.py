"""Contrast against its definition: in the batch, against given candidates, with hard negatives, with masks."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepakit.core import (
    CandidateSets,
    Contrast,
    ContrastiveJEPA,
    IdentityPredictor,
    InfoNCE,
    SharedTarget,
    Where,
    isotropy_penalty,
    mse,
    near_positive,
)
from jepakit.errors import ConfigError


def cross_entropy_by_hand(scores: Tensor, positive: int) -> Tensor:
    return torch.logsumexp(scores, 0) - scores[positive]


def test_info_nce_equals_the_cross_entropy_written_out(generator: torch.Generator) -> None:
    p, t, hard = (torch.randn(*shape, generator=generator) for shape in ((4, 6), (4, 6), (4, 3, 6)))
    pn, tn, hn = (F.normalize(x, dim=-1) for x in (p, t, hard))
    loss = InfoNCE(temperature=0.2)
    rows = [cross_entropy_by_hand(torch.cat([tn @ pn[i], hn[i] @ pn[i]]) / 0.2, i) for i in range(4)]
    torch.testing.assert_close(loss(p, t, negatives=hard), torch.stack(rows).mean())
    rows = [cross_entropy_by_hand(torch.cat([tn @ pn[i], hn[0] @ pn[i]]) / 0.2, i) for i in range(4)]
    torch.testing.assert_close(loss(p, t, negatives=hard[0]), torch.stack(rows).mean())


def test_info_nce_of_ignorance_is_the_log_of_the_candidates() -> None:
    same = torch.ones(5, 3)
    assert float(InfoNCE()(same, same)) == pytest.approx(math.log(5))
    assert float(InfoNCE()(same, same, negatives=torch.ones(7, 3))) == pytest.approx(math.log(12))
    assert float(InfoNCE()(same, torch.ones(9, 3), torch.arange(5))) == pytest.approx(math.log(9))


def test_symmetric_info_nce_averages_both_directions() -> None:
    p, t = torch.randn(4, 6), torch.randn(4, 6)
    torch.testing.assert_close(InfoNCE(symmetric=True)(p, t), (InfoNCE()(p, t) + InfoNCE()(t, p)) / 2)
    with pytest.raises(ConfigError, match="symmetric"):
        InfoNCE(symmetric=True)(p, t, torch.arange(4))


def test_the_temperature_is_learned_only_when_asked() -> None:
    p, t = torch.randn(4, 6), torch.randn(4, 6)
    learned = InfoNCE(learn_temperature=True)
    learned(p, t).backward()
    assert learned.log_temperature.grad is not None
    assert not InfoNCE().log_temperature.requires_grad
    with pytest.raises(ConfigError, match="temperature = 0"):
        InfoNCE(temperature=0.0)


def test_given_candidates_by_hand_and_as_the_batch_has_them(generator: torch.Generator) -> None:
    predictions, candidates = torch.randn(4, 6, generator=generator), torch.randn(7, 6, generator=generator)
    positive, loss = torch.tensor([2, 0, 5, 5]), InfoNCE(temperature=0.2)
    logits = F.normalize(predictions, dim=-1) @ F.normalize(candidates, dim=-1).T / 0.2
    by_hand = torch.stack([cross_entropy_by_hand(row, int(place)) for row, place in zip(logits, positive, strict=True)])
    torch.testing.assert_close(loss(predictions, candidates, positive), by_hand.mean())
    batch = loss(predictions, candidates[:4])
    torch.testing.assert_close(loss(predictions, candidates[:4], torch.arange(4)), batch)
    # An excluded candidate counts as little as one that is not there.
    excluded = torch.zeros(4, 7, dtype=torch.bool)
    excluded[:, 6] = True
    without = loss(predictions, candidates[:6], positive)
    torch.testing.assert_close(loss(predictions, candidates, positive, excluded=excluded), without)


def test_candidates_are_unique_and_right_answers_are_the_positive_or_excluded() -> None:
    # Context 0 is answered by targets 1 and 3, context 1 by target 3 alone.
    context, target = torch.tensor([0, 0, 1]), torch.tensor([1, 3, 3])
    sets = CandidateSets(context, target, targets=6, negatives=torch.tensor([[5], [3], [5]]))
    candidates, positive, excluded = sets(torch.tensor([0, 2]))
    assert candidates.tolist() == [1, 3, 5]
    assert positive.tolist() == [0, 1]
    assert excluded.tolist() == [[False, True, False], [False, False, False]]
    fixed = CandidateSets(context, target, targets=6, fixed=torch.arange(6), negatives=torch.empty(3, 0).long())
    assert fixed.constant is not None
    candidates, positive, excluded = fixed(torch.tensor([1]))
    assert candidates.tolist() == [0, 1, 2, 3, 4, 5]
    assert positive.tolist() == [3]
    assert excluded.tolist() == [[False, True, False, False, False, False]]


def test_near_positive_are_the_candidates_above_the_positive_by_the_margin() -> None:
    similarity = torch.tensor([[0.5, 0.7, 0.4], [0.9, 0.2, 0.95]])
    positive = torch.tensor([0, 0])
    assert near_positive(similarity, positive, 0.1).tolist() == [[False, True, False], [False, False, False]]
    assert near_positive(similarity, positive, -1.0).tolist() == [[False, True, True], [False, True, True]]


def test_a_contrastive_jepa_adds_its_weighted_contrast_and_regularises_the_candidates_once() -> None:
    torch.manual_seed(0)
    encoder, contrast = nn.Linear(3, 4), InfoNCE(temperature=0.5, learn_temperature=True)
    regularizers = {"isotropy": (0.5, isotropy_penalty)}
    target = SharedTarget(stop_gradient=False)
    jepa = ContrastiveJEPA(
        encoder, target, IdentityPredictor(), mse, regularizers, contrast=contrast, contrast_weight=2.0, weight=3.0
    )
    x, y, positive = torch.randn(4, 3), torch.randn(6, 3), torch.tensor([5, 1, 0, 1])
    output = jepa(Contrast(x, y, Where(target_rows=positive)))
    z, candidates = encoder(x), encoder(y)
    predict, contrastive = mse(z, candidates[positive]), contrast(z, candidates, positive)
    isotropy = (isotropy_penalty(z) + isotropy_penalty(candidates)) / 2
    torch.testing.assert_close(output.total, 3 * predict + 0.5 * isotropy + 2 * contrastive)
    assert output.terms.keys() == {"predict", "isotropy", "contrastive", "temperature"}
    assert sum(parameter is contrast.log_temperature for parameter in jepa.parameters()) == 1
    with pytest.raises(ConfigError, match="contrast_weight"):
        ContrastiveJEPA(encoder, target, IdentityPredictor(), mse, contrast=contrast, contrast_weight=-1.0)
