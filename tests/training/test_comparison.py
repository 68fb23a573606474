"""Runs side by side: what they have in common is compared, what cannot be is refused, in the terminal and on a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jepakit.cli.main import main
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.training.comparison import compare_runs

OURS, FLOOR = "jepakit", "random"


def run_of(
    folder: Path,
    *,
    config: str = "epochs: 2\n",
    scores: dict[str, float] | None = None,
    losses: tuple[float, ...] = (2.0, 1.0),
    kind: str = "jepakit.graph.encoder:GraphEncoder",
    **about: Any,
) -> Path:
    """A folder with what a comparison reads of a run."""
    (folder / "encoder").mkdir(parents=True)
    (folder / "encoder" / "config.json").write_text(json.dumps({"architecture": kind}))
    (folder / "config.yaml").write_text(config)
    lines = [f"{epoch},1.5,{loss},{loss}" for epoch, loss in enumerate(losses)]
    (folder / "metrics.csv").write_text("\n".join(["epoch,seconds,train/total,train/only", *lines]) + "\n")
    given = {OURS: 0.9, FLOOR: 0.8} if scores is None else scores
    row = {"dataset": "toys", "metric": "accuracy", **about}
    rows = [{**row, "method": name, "value": value, "ours": name == OURS} for name, value in given.items()]
    (folder / "results.json").write_text(json.dumps({"rows": rows, "recommendation": f"Use {folder.name}"}))
    return folder


def test_scores_options_and_curves_stand_side_by_side(tmp_path: Path) -> None:
    first = run_of(tmp_path / "first", config="epochs: 2\nencoder: {hidden: 8, conv: gin}\n", std=0.01)
    second = run_of(tmp_path / "second", config="epochs: 3\nencoder: {hidden: 8}\n", scores={OURS: 0.93}, std=0.04)
    third = run_of(tmp_path / "third", config="epochs: 2\nencoder: {hidden: 8}\n", losses=(3.0, 2.0, 1.0), std=0.01)
    compared = compare_runs([first, second, third])
    (scores,) = compared.scores
    assert [(name, [row and row.value for row in rows]) for name, rows in scores.methods] == [
        (OURS, [0.9, 0.93, 0.9]),
        (FLOOR, [0.8, None, 0.8]),
    ]
    assert dict(compared.options) == {"epochs": (2, 3, 2), "encoder.conv": ("gin", None, None)}
    assert {name: [place for place, _ in runs] for name, runs in compared.curves} == {
        "train/total": [0, 1, 2],
        "train/only": [0, 1, 2],
    }
    assert compared.curves[0][1][2][1].tolist() == [[0, 3], [1, 2], [2, 1]]
    assert compared.verdicts == (
        "toys, accuracy: second is best, 0.930, 0.030 ahead of the next; that is within the spread over seeds.",
    )


@pytest.mark.parametrize(
    ("about", "better", "ending"),
    [
        ({}, 0.93, "without a spread over seeds nobody knows whether that is chance."),
        ({"std": 0.01}, 0.93, "that is more than the spread over seeds."),
        ({"lower_is_better": True}, 0.87, "without a spread over seeds nobody knows whether that is chance."),
    ],
)
def test_the_verdict_knows_direction_and_spread(
    tmp_path: Path, about: dict[str, Any], better: float, ending: str
) -> None:
    runs = [run_of(tmp_path / "a", **about), run_of(tmp_path / "b", scores={OURS: better, FLOOR: 0.1}, **about)]
    assert compare_runs(runs).verdicts == (
        f"toys, accuracy: b is best, {better:.3f}, 0.030 ahead of the next; {ending}",
    )


def test_losses_of_different_objectives_are_not_compared(tmp_path: Path) -> None:
    runs = [run_of(tmp_path / name, config=f"objective: {{target: {name}}}\n") for name in ("ema", "shared")]
    assert compare_runs(runs).loss_changed == ("objective.target",)


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    first = run_of(tmp_path / "first")
    other = run_of(tmp_path / "other", kind="jepakit.lp.model:LPModel")
    elsewhere = run_of(tmp_path / "elsewhere", dataset="others")
    errors = run_of(tmp_path / "errors", lower_is_better=True)
    with pytest.raises(ConfigError, match="runs"):
        compare_runs([first])
    with pytest.raises(ConfigError, match="different run folders"):
        compare_runs([first, tmp_path / "other" / ".." / "first"])
    with pytest.raises(DataError, match=r"other: a run of another kind .*LPModel.*expected .*GraphEncoder"):
        compare_runs([first, other])
    with pytest.raises(DataError, match=r"elsewhere: not measured on the same data .*others.*expected toys, accuracy"):
        compare_runs([first, elsewhere])
    with pytest.raises(DataError, match="lower_is_better"):
        compare_runs([first, errors])
    with pytest.raises(ModelError, match="no run folder here"):
        compare_runs([first, tmp_path / "nowhere"])


def test_the_command_prints_tables_and_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    first = run_of(tmp_path / "a" / "run", config=f"name: '{evil}'\n", scores={OURS: 0.9, evil: 0.5})
    second = run_of(tmp_path / "b" / "run", losses=(5.0, 4.0))
    page = tmp_path / "page.html"
    assert main(["compare", str(first), str(second), "--out", str(page)]) == 0
    said = capsys.readouterr().out
    assert said.count("0.900") == 3, "two cells and the verdict"
    assert "the best runs are equal" in said
    assert f"page: {page}" in said
    html = page.read_text()
    assert html.count("<script>") == html.count("</script>") == 1
    assert "<img" not in html
    # The total loss and its only term are one curve, with a line for each run.
    assert html.count('class="line c0"') == html.count('class="line c1"') == 1
    assert main(["compare", str(first)]) == 2
