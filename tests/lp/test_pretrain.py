"""Training: every combination runs, JEPA changes only what it should, a run goes on to the bit, pivots are saved."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jepakit import load_encoder
from jepakit.core import EMATarget, SharedTarget
from jepakit.errors import ConfigError, DataError
from jepakit.lp import Solver
from jepakit.lp.data import fingerprint
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.families.combinatorial import SetCover
from jepakit.lp.model import LPModel
from jepakit.lp.networks.batch import LPBatch
from jepakit.lp.objective import ObjectiveConfig, build_jepa
from jepakit.lp.pretrain import PretrainConfig, pretrain
from jepakit.lp.solving.highs import HighsSolver
from jepakit.lp.starts.labels import label
from jepakit.lp.views import MaskConfig, ProblemViews
from jepakit.training import RunFolder
from lp.problems import by_hand, random_problem
from objective_choices import every_choice

FAMILY = SetCover(20, 24, 0.15)
PROBLEMS = [FAMILY.problem(seed) for seed in range(12)]
QUICK = PretrainConfig(
    epochs=3,
    batch_size=4,
    progress=False,
    encoder=EncoderConfig(dim=16, depth=2),
    jepa_pretrain_epochs=1,
    use_jepa=True,
)
PLAIN = replace(QUICK, use_jepa=False, jepa_pretrain_epochs=0)


def metrics(run: RunFolder) -> list[dict[str, float]]:
    """Of each epoch what was measured in it."""
    return [{name: float(value) for name, value in row.items() if value != ""} for row in run.read_metrics()]


@pytest.mark.parametrize("use_jepa", [False, True])
@pytest.mark.parametrize("graphs", [False, True])
def test_all_four_combinations_run(graphs: bool, use_jepa: bool, tmp_path: Path) -> None:
    config = replace(QUICK if use_jepa else PLAIN, use_bipartite_graphs=graphs)
    run = RunFolder(tmp_path / "run")
    result = pretrain(PROBLEMS, config, run=run)
    assert np.isfinite([row["train/total"] for row in metrics(run)]).all()
    starts = result.encoder.starts(PROBLEMS)
    loaded = load_encoder(run.encoder)
    assert isinstance(loaded, LPModel)
    for start, again in zip(starts, loaded.starts(PROBLEMS), strict=True):
        assert start.x is not None
        assert start.basis is not None
        np.testing.assert_array_equal(start.x, again.x)
        np.testing.assert_array_equal(start.basis.rows, again.basis.rows)


def views(model: LPModel, config: PretrainConfig) -> object:
    make = ProblemViews(LPBatch.of(PROBLEMS), config.masks, per_node=config.use_bipartite_graphs)
    return make(torch.arange(4), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("graphs", [False, True])
def test_a_simsiam_step_makes_no_target_model_and_ema_moves_one_every_step(graphs: bool) -> None:
    config = replace(QUICK, use_bipartite_graphs=graphs)
    model = LPModel(graphs, 24, 20, {"dim": 16, "depth": 2})
    simsiam = build_jepa(model.encoder, ObjectiveConfig(target="simsiam", momentum=0.9))
    assert isinstance(simsiam.target, SharedTarget)
    assert not list(simsiam.target.parameters())
    assert not simsiam.target.trains
    assert build_jepa(model.encoder, ObjectiveConfig(target="lejepa", momentum=0.9)).target.trains
    jepa = build_jepa(model.encoder, ObjectiveConfig(target="ema", momentum=0.9))
    assert isinstance(jepa.target, EMATarget)
    optimizer = torch.optim.SGD(jepa.parameters(), lr=1.0)
    for _ in range(3):
        before = [parameter.clone() for parameter in jepa.target.encoder.parameters()]
        jepa(views(model, config)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
        jepa.after_step()
        online, slow = jepa.context_encoder.parameters(), jepa.target.encoder.parameters()
        for old, fast, new in zip(before, online, slow, strict=True):
            torch.testing.assert_close(new, 0.9 * old + 0.1 * fast)
        assert any(not torch.equal(old, new) for old, new in zip(before, jepa.target.encoder.parameters(), strict=True))


@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("choice", every_choice(), ids=str)
def test_whatever_core_has_registered_can_be_trained_with(choice: dict[str, Any], graphs: bool) -> None:
    config = replace(QUICK, epochs=2, objective=ObjectiveConfig(**choice), use_bipartite_graphs=graphs)
    metrics = pretrain(PROBLEMS, config).fit.metrics
    (regularizer,) = choice.keys() - {"loss", "target"}
    # SIGReg is for a trained target alone, as it was before there were other regularisers.
    applies = regularizer != "sigreg" or choice["target"] == "lejepa"
    losses = [value for name, value in metrics.items() if name.startswith("train/predict")]
    total = sum(losses) / len(losses) + (0.1 * metrics[f"train/{regularizer}"] if applies else 0.0)
    if choice["target"] == "lejepa" and regularizer != "sigreg":
        total += 0.05 * metrics["train/sigreg"]
    assert metrics["train/loss_jepa"] == pytest.approx(total, rel=1e-3)


def test_an_objective_that_a_problem_has_no_use_for_is_refused() -> None:
    for options, field in (
        ({"target": "byol"}, "target"),
        ({"momentum": 1.5}, "momentum"),
        ({"predictor": "cross_attention"}, "predictor"),
        ({"target": "lejepa", "sigreg": 0.0}, "sigreg"),
    ):
        with pytest.raises(ConfigError) as caught:
            ObjectiveConfig(**options)
        assert caught.value.field == field


def test_jepa_alone_comes_first_and_is_logged(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    pretrain(PROBLEMS, replace(QUICK, jepa_pretrain_epochs=2), run=run)
    rows = metrics(run)
    assert all("train/loss_jepa" in row for row in rows)
    assert ["train/task/primal" in row for row in rows] == [False, False, True]
    last = rows[-1]
    task = sum(value for name, value in last.items() if name.startswith("train/task/"))
    assert last["train/total"] == pytest.approx(task + 0.2 * last["train/loss_jepa"], rel=1e-4)


def test_the_checkpoint_holds_the_target_and_a_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = pretrain(PROBLEMS, replace(QUICK, epochs=4), run=RunFolder(tmp_path / "whole"))
    broken = RunFolder(tmp_path / "broken")

    seen = 0

    def stopping(self: object, *arguments: object) -> object:
        nonlocal seen
        seen += 1
        if seen == 7:
            raise InterruptedError
        return original(self, *arguments)

    original = EMATarget.update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EMATarget, "update", stopping)
        with pytest.raises(InterruptedError):
            pretrain(PROBLEMS, replace(QUICK, epochs=4), run=broken)
    assert broken.checkpoint.exists()
    resumed = pretrain(PROBLEMS, replace(QUICK, epochs=4), run=broken, resume=True)
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(value, resumed.encoder.state_dict()[name]), name


def test_without_jepa_the_losses_are_those_of_a_build_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Options of JEPA that are not used change nothing, and neither does there being no JEPA to build at all.
    pretrain(PROBLEMS, PLAIN, run=RunFolder(tmp_path / "plain"))
    monkeypatch.setattr(import_module("jepakit.lp.pretrain"), "build_jepa", None)
    other = replace(PLAIN, jepa_weight=0.7, objective=ObjectiveConfig(target="simsiam"), jepa_mask_ratio_nodes=0.6)
    pretrain(PROBLEMS, other, run=RunFolder(tmp_path / "other"))
    first, second = (
        [
            {name: value for name, value in row.items() if name.startswith("train/")}
            for row in metrics(RunFolder(folder))
        ]
        for folder in (tmp_path / "plain", tmp_path / "other")
    )
    assert first == second
    assert "train/total" in first[0]


def test_labels_teach_bases_that_save_pivots() -> None:
    config = replace(PLAIN, epochs=40, batch_size=8, encoder=EncoderConfig(dim=32, depth=3))
    family = SetCover(60, 60, 0.08)
    problems, unseen = ([family.problem(seed) for seed in some] for some in (range(40), range(100, 110)))
    model = pretrain(problems, config, optima=label(problems)).encoder
    solver = Solver()
    cold = [solver.solve(problem) for problem in unseen]
    warm = [solver.solve(problem, [start]) for problem, start in zip(unseen, model.starts(unseen), strict=True)]
    assert sum(one.pivots for one in warm) < 0.9 * sum(one.pivots for one in cold)
    for one, other in zip(warm, cold, strict=True):
        assert one.status == "optimal"
        assert one.objective == pytest.approx(other.objective)
        assert not one.fell_back


def test_labels_are_kept_and_damaged_ones_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = label(PROBLEMS[:3], cache=tmp_path)
    (tmp_path / f"{fingerprint(PROBLEMS[1])}.npz").write_bytes(b"half a fi")
    solved: list[str] = []
    original = HighsSolver.solve

    def counted(self: HighsSolver, problem: object, *more: object) -> object:
        solved.append(problem.name)  # type: ignore[attr-defined]
        return original(self, problem, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(HighsSolver, "solve", counted)
    again = label(PROBLEMS[:4], cache=tmp_path)
    assert solved == [PROBLEMS[1].name, PROBLEMS[3].name]
    for one, other in zip(first, again, strict=False):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.basis.rows, other.basis.rows)
    side_by_side = label(PROBLEMS[:4], workers=2)
    np.testing.assert_array_equal(side_by_side[3].x, again[3].x)


def test_what_cannot_be_learned_from_is_refused() -> None:
    nothing = replace(by_hand(), row_upper=np.full(3, -1.0), name="nothing")
    with pytest.raises(DataError, match=r"problems\[1\]: no optimum: no point meets all rows .*\(found 'nothing'\)"):
        label([by_hand(), nothing])
    with pytest.raises(DataError, match=r"problems\[0\]: too small"):
        pretrain([random_problem(0, 1, 5)], PLAIN)
    with pytest.raises(DataError, match="another size than the perceptron's"):
        pretrain([*PROBLEMS[:2], by_hand()], replace(PLAIN, use_bipartite_graphs=False))
    for problems, optima, field in (([], None, "problems"), ([by_hand()], [], "optima")):
        with pytest.raises(DataError) as caught:
            pretrain(problems, PLAIN, optima=optima)
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"primal_weight": -1.0}, "primal_weight"),
        ({"basis_weight": -1.0}, "basis_weight"),
        ({"jepa_mask_ratio_nodes": 1.0}, "ratio_nodes"),
        ({"use_jepa": False, "jepa_pretrain_epochs": 1}, "jepa_pretrain_epochs = 1: expected 0 without use_jepa"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PretrainConfig(**options)  # type: ignore[arg-type]
    assert MaskConfig().hidden == "nodes"
