"""A phased run on two devices; Lightning starts this program a second time for the other one.

Run as ``python distributed_fit_worker.py FOLDER``. Each process leaves ``FOLDER/RANK.safetensors``.
"""

import sys
from pathlib import Path

import torch
from pytorch_lightning.utilities import rank_zero_only
from safetensors.torch import save_file
from toy_training import config, make_head, make_jepa, make_loader

from jepakit.training import RunFolder, fit, is_first_process

FROZEN = ["context_encoder.first"]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    jepa = make_jepa()
    head = make_head(jepa.context_encoder)
    before = jepa.context_encoder.first.weight.detach().clone()
    draws: list[torch.Tensor] = []
    jepa.context_encoder.dropout.register_forward_hook(lambda _m, _i, out: draws.append((out == 0).float().mean()))
    settings = config(epochs=4, devices=2, jepa_pretrain_epochs=2, jepa_weight=0.5, freeze=FROZEN)
    result = fit(jepa, make_loader(), settings, task=head, run=RunFolder(folder / "run"))
    state = {name: value.contiguous() for name, value in jepa.state_dict().items()}
    facts = {
        "steps": torch.tensor(result.steps),
        "first": torch.tensor(is_first_process(2)),
        "frozen": torch.tensor(torch.equal(before, jepa.context_encoder.first.weight)),
        "task_calls": torch.tensor(len(head.losses)),
        "dropped": torch.stack(draws),
        "head": head.head.weight.detach(),
    }
    save_file({**state, **facts}, folder / f"{rank_zero_only.rank}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
