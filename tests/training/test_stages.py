"""A stage of a run: done once, and without a checkpoint when it is finished."""

from __future__ import annotations

from pathlib import Path

from jepakit.training.run import RunFolder
from jepakit.training.stages import finish_stage


def test_a_finished_stage_has_no_checkpoint_wherever_the_run_was_killed(tmp_path: Path) -> None:
    stage, done = RunFolder(tmp_path / "stage"), list[int]()
    product = stage.path / "product"

    def work() -> dict[str, int]:
        done.append(1)
        stage.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        stage.checkpoint.touch()
        product.touch()
        return {"value": 3}

    def finish() -> dict[str, int]:
        return finish_stage(stage, "done.json", work, products=lambda _: [product], devices=1, resume=True)

    assert finish() == {"value": 3}
    assert not stage.checkpoint.exists()
    # Killed after its outcome was written, and before the checkpoint was removed.
    stage.checkpoint.parent.mkdir()
    stage.checkpoint.touch()
    assert finish() == {"value": 3}
    assert len(done) == 1
    assert not stage.checkpoint.parent.exists()
    # A stage that lacks a product goes on from its checkpoint.
    product.unlink()
    stage.checkpoint.parent.mkdir()
    stage.checkpoint.touch()
    assert finish() == {"value": 3}
    assert len(done) == 2
