"""Two real processes train one model, phases and frozen parameters included."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_training import STEPS, make_head, make_jepa, rows_but_seconds

WORKER = Path(__file__).with_name("distributed_fit_worker.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(WORKER), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_both_processes_end_with_the_same_weights(folder: Path) -> None:
    first, second = (load_file(folder / f"{rank}.safetensors") for rank in (0, 1))
    before = make_jepa().state_dict()
    for name in before:
        # Each process has batch statistics of its own rows; those of the first go round before every step.
        if "running" not in name:
            assert torch.equal(first[name], second[name]), name
    assert not torch.equal(first["predictor.layers.0.weight"], before["predictor.layers.0.weight"])
    assert torch.equal(first["head"], second["head"])
    assert not torch.equal(first["head"], make_head(make_jepa().context_encoder).head.weight)


def test_steps_phases_and_frozen_parameters_are_those_of_one_process(folder: Path) -> None:
    facts = [load_file(folder / f"{rank}.safetensors") for rank in (0, 1)]
    assert [int(fact["steps"]) for fact in facts] == [4 * STEPS] * 2
    assert [int(fact["target.step"]) for fact in facts] == [4 * STEPS] * 2
    assert [int(fact["task_calls"]) for fact in facts] == [2 * STEPS] * 2
    assert all(bool(fact["frozen"]) for fact in facts)
    assert [bool(fact["first"]) for fact in facts] == [True, False]
    rows = rows_but_seconds(folder / "run")
    assert [row["step"] for row in rows] == [str((epoch + 1) * STEPS) for epoch in range(4)]
    assert [bool(row["train/task"]) for row in rows] == [False, False, True, True]


def test_each_process_drops_out_its_own_units(folder: Path) -> None:
    first, second = (load_file(folder / f"{rank}.safetensors")["dropped"] for rank in (0, 1))
    assert not torch.equal(first, second)
