"""One process of the distributed test: computes a loss on its rows under DDP, writes value and gradient.

Run as ``python distributed_worker.py RANK WORLD STORE OUT``. The single-process reference is the same program with a
world of one, which holds all rows.
"""

import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jepakit.core import (
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
    Where,
    decorrelation,
    isotropy_penalty,
    mse,
    variance_hinge,
)
from jepakit.core.distributed import sum_over_processes

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
            weight=0.0,  # a mean over rows is each process's own
        )

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
            # A mean over rows is each process's own; on sums over the global batch it is a share of it.
            "standardized": lambda: StandardizedBatch(_sum_of_squares)(a, b),
            "decorrelation": lambda: decorrelation(a),
            "isotropy_free": lambda: isotropy_penalty(a, variance=None),
        }
        return losses[self.name]()


def _sum_of_squares(prediction: Tensor, target: Tensor) -> Tensor:
    return sum_over_processes((prediction - target).square().sum())


NAMES = (
    "info_nce",
    "info_nce_hard",
    "info_nce_shared_hard",
    "info_nce_candidates",
    "contrastive_jepa",
    "unit_rows",
    "subsampled",
    "variance",
    "sigreg",
    "vicreg",
    "isotropy",
    "isotropy_free",
    "standardized",
    "decorrelation",
)


def main(rank: int, world: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(1)
    x, y, hard = (torch.randn(sum(ROWS), *shape, generator=g) for shape in ((6,), (6,), (3, 6)))
    rows, table = torch.arange(sum(ROWS)), torch.randn(17, 6, generator=g)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
        start = sum(ROWS[:rank])
        x, y, hard, rows = (t[start : start + ROWS[rank]] for t in (x, y, hard, rows))
    results: dict[str, Tensor] = {}
    for name in NAMES:
        objective: nn.Module = Objective(name)
        wrapped = DistributedDataParallel(objective, find_unused_parameters=True) if world > 1 else objective
        loss = wrapped(x, y, hard, rows, table)
        loss.backward()
        results[f"{name}/value"] = loss.detach()
        for parameter, value in objective.named_parameters():
            if value.grad is not None:
                results[f"{name}/{parameter}"] = value.grad
    save_file(results, out)
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
