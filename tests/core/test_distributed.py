"""Losses over the global batch: two real processes give the value and the gradient of one."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jepakit.core import (
    JEPA,
    Contrast,
    ContrastiveJEPA,
    IdentityPredictor,
    InfoNCE,
    SharedTarget,
    SIGReg,
    StandardizedBatch,
    Subsampled,
    UnitRows,
    VICReg,
    Views,
    Where,
    decorrelation,
    isotropy_penalty,
    mse,
    variance_hinge,
)
from jepakit.core.distributed import own_part
from processes import run_group

ROWS = [5, 8]  # uneven on purpose


class Objective(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.name, self.encoder, self.predictor = name, nn.Linear(6, 4), nn.Linear(4, 4)
        self.sigreg = SIGReg(directions=16)
        self.nce = InfoNCE(temperature=0.3, learn_temperature=True)
        self.symmetric = InfoNCE(temperature=0.3, symmetric=True)
        self.jepa = ContrastiveJEPA(
            self.encoder,
            SharedTarget(stop_gradient=False),
            IdentityPredictor(),
            mse,
            {"sigreg": (0.1, UnitRows(SIGReg(directions=16)))},
            contrast=self.nce,
        )
        self.predictive = JEPA(self.encoder, SharedTarget(stop_gradient=False), IdentityPredictor(), mse)

    def forward(self, x: Tensor, y: Tensor, hard: Tensor, rows: Tensor, table: Tensor) -> Tensor:
        """``rows``: which of all rows these are; ``table``: candidates that are the same on every process."""
        a, b = self.predictor(self.encoder(x)), self.encoder(y)
        # Each row excludes the candidate after its own.
        excluded = torch.arange(len(table)) == rows[:, None] + 1
        losses = {
            "info_nce": lambda: self.symmetric(a, b),
            "info_nce_hard": lambda: self.nce(a, b, negatives=self.encoder(hard)),
            "info_nce_shared_hard": lambda: self.nce(a, b, negatives=self.encoder(hard[:, 0])),
            "info_nce_candidates": lambda: self.nce(a, self.encoder(table), rows, excluded=excluded),
            "contrastive_jepa": lambda: self.jepa(Contrast(x, table, Where(target_rows=rows), excluded)).total,
            "unit_rows": lambda: UnitRows(self.sigreg)(a),
            "subsampled": lambda: Subsampled(self.sigreg, rows=4)(a),
            "variance": lambda: variance_hinge(a),
            "sigreg": lambda: self.sigreg(a),
            "vicreg": lambda: VICReg()(a),
            "isotropy": lambda: isotropy_penalty(a),
            "predictive_jepa": lambda: self.predictive(Views(x, y)).total,
            "rows_of_one_process": lambda: own_part(a[rows == 0].square().mean(), int((rows == 0).sum())),
            "standardized": lambda: own_part(StandardizedBatch(mse)(a, b), len(a)),
            "decorrelation": lambda: decorrelation(a),
            "isotropy_free": lambda: isotropy_penalty(a, variance=None),
        }
        return losses[self.name]()


#: The value of a process is its part of the value of one process: their mean.
PARTS = ("contrastive_jepa", "predictive_jepa", "rows_of_one_process", "standardized")
NAMES = (
    *PARTS,
    "info_nce",
    "info_nce_hard",
    "info_nce_shared_hard",
    "info_nce_candidates",
    "unit_rows",
    "subsampled",
    "variance",
    "sigreg",
    "vicreg",
    "isotropy",
    "isotropy_free",
    "decorrelation",
)


def measure(rank: int, world: int) -> dict[str, Tensor]:
    """Value and gradient of each loss on the rows of this process, under DDP; in a world of one, on all rows."""
    g = torch.Generator().manual_seed(1)
    x, y, hard = (torch.randn(sum(ROWS), *shape, generator=g) for shape in ((6,), (6,), (3, 6)))
    rows, table = torch.arange(sum(ROWS)), torch.randn(17, 6, generator=g)
    if world > 1:
        x, y, hard, rows = (t.split(ROWS)[rank] for t in (x, y, hard, rows))
    results: dict[str, Tensor] = {}
    for name in NAMES:
        objective: nn.Module = Objective(name)
        wrapped = DistributedDataParallel(objective, find_unused_parameters=True) if world > 1 else objective
        loss = wrapped(x, y, hard, rows, table)
        loss.backward()
        results[f"{name}/value"] = loss.detach()
        gradients = {f"{name}/{parameter}": value.grad for parameter, value in objective.named_parameters()}
        results |= {key: gradient for key, gradient in gradients.items() if gradient is not None}
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    return measure(0, 1), run_group(measure, tmp_path_factory.mktemp("distributed"))


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_equal_those_of_one_process(name: str, results: tuple) -> None:
    single, ranks = results
    keys = [key for key in single if key.startswith(f"{name}/")]
    assert len(keys) >= 3
    for key in keys:
        found = [rank[key] for rank in ranks]
        for value in [torch.stack(found).mean(0)] if name in PARTS and key.endswith("/value") else found:
            torch.testing.assert_close(value, single[key], rtol=1e-4, atol=1e-5, msg=lambda m, k=key: f"{k}: {m}")
    assert any(single[key].abs().max() > 1e-4 for key in keys if not key.endswith("value"))
