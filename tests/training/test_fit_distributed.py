"""Two real processes train one model, phases and frozen parameters included."""

from pathlib import Path

import pytest
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from toy_runs import rows_but_seconds
from toy_training import STEPS, config, make_head, make_jepa, make_loader

from jepakit.training import RunFolder, fit, is_first_process
from processes import run_group

FROZEN = ["context_encoder.first"]
Facts = list[dict[str, Tensor]]


def train(rank: int, world: int, folder: Path) -> dict[str, Tensor]:
    """A phased run; the state of the model and facts of this process."""
    jepa = make_jepa()
    head = make_head(jepa.context_encoder)
    before = jepa.context_encoder.first.weight.detach().clone()
    draws: list[Tensor] = []
    jepa.context_encoder.dropout.register_forward_hook(lambda _m, _i, out: draws.append((out == 0).float().mean()))
    settings = config(epochs=4, devices=world, jepa_pretrain_epochs=2, jepa_weight=0.5, freeze=FROZEN)
    result = fit(jepa, make_loader(), settings, task=head, run=RunFolder(folder / "run"))
    assert rank_zero_only.rank == rank
    state = {name: value.clone(memory_format=torch.contiguous_format) for name, value in jepa.state_dict().items()}
    return {
        **state,
        "steps": torch.tensor(result.steps),
        "first": torch.tensor(is_first_process(world)),
        "frozen": torch.tensor(torch.equal(before, jepa.context_encoder.first.weight)),
        "task_calls": torch.tensor(len(head.losses)),
        "dropped": torch.stack(draws),
        "head": head.head.weight.detach(),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def facts(folder: Path) -> Facts:
    return run_group(train, folder, folder)


def test_both_processes_end_with_the_same_weights(facts: Facts) -> None:
    first, second = facts
    before = make_jepa().state_dict()
    for name in before:
        # Each process has batch statistics of its own rows; those of the first go round before every step.
        if "running" not in name:
            assert torch.equal(first[name], second[name]), name
    assert not torch.equal(first["predictor.layers.0.weight"], before["predictor.layers.0.weight"])
    assert torch.equal(first["head"], second["head"])
    assert not torch.equal(first["head"], make_head(make_jepa().context_encoder).head.weight)


def test_steps_phases_and_frozen_parameters_are_those_of_one_process(facts: Facts, folder: Path) -> None:
    assert [int(fact["steps"]) for fact in facts] == [4 * STEPS] * 2
    assert [int(fact["target.step"]) for fact in facts] == [4 * STEPS] * 2
    assert [int(fact["task_calls"]) for fact in facts] == [2 * STEPS] * 2
    assert all(bool(fact["frozen"]) for fact in facts)
    assert [bool(fact["first"]) for fact in facts] == [True, False]
    rows = rows_but_seconds(folder / "run")
    assert [row["step"] for row in rows] == [str((epoch + 1) * STEPS) for epoch in range(4)]
    assert [bool(row["train/task"]) for row in rows] == [False, False, True, True]


def test_each_process_drops_out_its_own_units(facts: Facts) -> None:
    first, second = (fact["dropped"] for fact in facts)
    assert not torch.equal(first, second)
