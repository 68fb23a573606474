"""Two real processes train one model, phases and frozen parameters included."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor
from toy_runs import rows_but_seconds
from toy_training import STEPS, config, make_head, make_jepa, make_loader

from jepakit.errors import ConfigError, ModelError
from jepakit.training import RunFolder, fit, is_first_process
from processes import codes_of_group, run_group

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


PEER_ENDED = 7


def train_and_be_killed(rank: int, world: int, run: Path, killed: bool) -> dict[str, Tensor]:
    """A run of four epochs; if it is to be killed, the second process is, in the third of them."""
    jepa, calls = make_jepa(), 0

    def kill(*_: object) -> None:
        nonlocal calls
        calls += 1
        if killed and rank == 1 and calls == 2 * STEPS + 2:
            os.kill(os.getpid(), signal.SIGKILL)

    jepa.predictor.register_forward_hook(kill)
    try:
        result = fit(jepa, make_loader(), config(epochs=4, devices=world), run=RunFolder(run), resume=not killed)
    except ModelError as error:
        (run / "error").write_text(str(error))
        sys.exit(PEER_ENDED)
    return {"steps": torch.tensor(result.steps), "calls": torch.tensor(calls)}


def test_a_process_whose_peer_is_killed_ends_and_the_run_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in ("run", "killed", "resumed"):
        (tmp_path / name).mkdir()
    codes = codes_of_group(train_and_be_killed, tmp_path / "killed", run, True)
    assert codes == [PEER_ENDED, -signal.SIGKILL]
    assert "another process of this training has ended" in (run / "error").read_text()
    assert len(RunFolder(run).read_metrics()) == 2
    for fact in run_group(train_and_be_killed, tmp_path / "resumed", run, False):
        assert int(fact["steps"]) == 4 * STEPS
        assert int(fact["calls"]) == 2 * STEPS
    assert [int(row["epoch"]) for row in RunFolder(run).read_metrics()] == [0, 1, 2, 3]


def test_several_machines_need_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="num_nodes = 2: expected 1; or start the command with torchrun or srun"):
        fit(make_jepa(), make_loader(), config(num_nodes=2))


TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "LOCAL_RANK": "0"}
SLURM = {"SLURM_JOB_NAME": "train", "SLURM_PROCID": "0"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({**TORCHRUN, "WORLD_SIZE": "3"}, r"what torchrun has started \(.*world size \(3\)"),
        ({**SLURM, "SLURM_NTASKS": "1"}, "1 with num_nodes = 1 together, as SLURM has started"),
        ({**SLURM, "SLURM_NTASKS": "2"}, r"what SLURM has started \(.*--ntasks-per-node=2"),
        ({**SLURM, "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}, r"what SLURM has started \(.*per-node=1` does"),
    ],
)
def test_other_processes_than_those_that_were_started_are_refused(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"devices = 2: expected {expected}"):
        fit(make_jepa(), make_loader(), config(devices=2))
