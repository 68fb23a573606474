"""Checkpoints are safetensors files: read back to the bit, never a pickle, never half."""

import json
import pickle
import random
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn
from toy_training import write_for_ever

from jepakit.errors import ModelError
from jepakit.training import RunFolder
from jepakit.training.storage.checkpoint import read_checkpoint, write_checkpoint
from processes import CONTEXT


def trained_state() -> dict[str, object]:
    """What Lightning keeps: a model with tied weights, an optimiser keyed by integers, counters."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    tied = {"again": model.state_dict()["0.weight"], "part": model.state_dict()["0.weight"].T[1:]}
    return {
        "state_dict": model.state_dict() | tied,
        "optimizer_states": [optimizer.state_dict()],
        "epoch": 3,
        "betas": (0.9, 0.999),
        "name": "λ",
        "nothing": None,
        "yes": True,
        "rate": 1e-300,
    }


def assert_same(a: object, b: object) -> None:
    assert type(a) is type(b) or (isinstance(a, dict) and isinstance(b, dict))
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    state = trained_state()
    write_checkpoint(state, tmp_path / "new" / "c.safetensors")
    assert_same(dict(state), read_checkpoint(tmp_path / "new" / "c.safetensors"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["c.safetensors"]


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=40)
@given(state=st.dictionaries(st.text(), nested, max_size=3))
def test_any_structure_comes_back(state: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.safetensors"
    write_checkpoint(state, file)
    assert_same(state, read_checkpoint(file))


def test_the_file_is_safetensors_and_holds_no_pickle(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    write_checkpoint(trained_state(), file)
    with safe_open(file, framework="pt") as opened:
        assert json.loads(opened.metadata()["skeleton"])
        assert "checkpoint.state_dict.0.weight" in opened.keys()  # noqa: SIM118 -- not a mapping
    with pytest.raises((pickle.UnpicklingError, ValueError, KeyError, EOFError, IndexError)):
        pickle.loads(file.read_bytes())


def test_what_only_a_pickle_could_keep_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    write_checkpoint({"epoch": 1}, file)
    with pytest.raises(ModelError, match=r"checkpoint.callbacks.0 holds a set, which a checkpoint cannot keep"):
        write_checkpoint({"callbacks": [{1, 2}]}, file)
    assert read_checkpoint(file) == {"epoch": 1}


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_damaged(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "c.safetensors"
    write_checkpoint(trained_state(), file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"c\.safetensors: .*delete it, and --resume"):
        read_checkpoint(file)


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        read_checkpoint(file)
    save_file({"a": torch.zeros(2)}, file, metadata={"skeleton": '{"unknown": 3}'})
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        read_checkpoint(file)
    with pytest.raises(ModelError, match=r"missing\.safetensors"):
        read_checkpoint(tmp_path / "missing.safetensors")


def test_a_writer_killed_at_any_moment_leaves_whole_files(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    draw = random.Random(time.time_ns())

    def rounds() -> int:
        return run.metrics.stat().st_ino if run.metrics.exists() else 0

    for _ in range(8):
        before = rounds()
        writer = CONTEXT.Process(target=write_for_ever, args=(str(run.path),))
        writer.start()
        until = time.monotonic() + 600
        while rounds() == before:
            assert writer.is_alive()
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.1))
        writer.kill()
        writer.join()
        checkpoint = read_checkpoint(run.checkpoint)
        assert bool((checkpoint["values"] == checkpoint["n"]).all())
        rows = run.read_metrics()
        assert len(rows) == 3000
        assert len({row["n"] for row in rows}) == 1
