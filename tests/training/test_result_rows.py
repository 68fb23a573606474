"""Result rows: which are ours, which is best, and by how much."""

from dataclasses import asdict

import pytest

from jepakit.errors import DataError
from jepakit.training.result_rows import ResultRow, format_score, group_rows, read_rows


def row(method: str, value: float | None, metric: str, **more: object) -> dict[str, object]:
    return {"dataset": "MUTAG", "method": method, "metric": metric, "value": value, **more}


def test_a_gain_is_positive_when_ours_is_better_whichever_way_the_metric_runs() -> None:
    error, score = group_rows(
        read_rows(
            [
                row("jepakit small", 1.5, "test RMSE"),
                row("mean", 2.0, "test RMSE"),
                row("jepakit", 1.25, "test RMSE"),
                row("forest", 1.0, "test RMSE"),
                row("Graph-JEPA (ours)", 80.0, "sentiment accuracy"),
                row("floor", 80.5, "sentiment accuracy"),
            ]
        )
    )
    assert [r.method for r in error.rows] == ["jepakit", "jepakit small", "forest", "mean"]
    assert [error.gain_over(r) for r in error.others] == [-0.25, 0.75]
    assert error.best == 1.0
    assert not score.lower_is_better
    assert score.gain_over(score.others[0]) == -0.5


def test_an_aim_marks_a_row_as_ours_and_a_missing_value_goes_last() -> None:
    (group,) = group_rows(
        read_rows([row("failed", None, "F1"), row("a", 12.5, "F1", std=0.25), row("ours by aim", 11.0, "F1", aim=12.0)])
    )
    assert [r.method for r in group.rows] == ["ours by aim", "a", "failed"]
    assert [group.gain_over(r) for r in group.others] == [-1.5, None]
    assert [format_score(r, group.decimals) for r in group.rows] == ["11.00", "12.50 ± 0.25", "—"]


def test_rows_written_before_they_said_what_they_are_get_it_from_their_names() -> None:
    """A metric's words decide, not parts of them: ``sentiment`` holds no time."""
    old = [
        row("jepakit small", 1.5, "test RMSE"),
        row("Graph-JEPA (ours)", 80.0, "sentiment accuracy"),
        row("forest", 5.0, "peak memory, MiB", aim=4.0),
        row("forest", 5.0, "F1"),
    ]
    assert [(r.ours, r.lower_is_better) for r in read_rows(old)] == [
        (True, True),
        (True, False),
        (True, True),
        (False, False),
    ]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("lower_is_better", [True, False])
def test_a_row_that_says_what_it_is_is_read_as_it_says(ours: bool, lower_is_better: bool) -> None:
    """Whatever its names are."""
    rows = tuple(
        ResultRow("MUTAG", method, metric, 1.0, aim=2.0, ours=ours, lower_is_better=lower_is_better)
        for method in ("jepakit", "forest")
        for metric in ("time", "accuracy")
    )
    assert read_rows([asdict(r) for r in rows]) == rows
    for group in group_rows(rows):
        assert (len(group.ours), group.lower_is_better) == (2 * ours, lower_is_better)


def test_rows_of_one_table_run_the_same_way() -> None:
    rows = [ResultRow("MUTAG", "a", "score", 1.0, lower_is_better=lower) for lower in (True, False)]
    with pytest.raises(DataError) as raised:
        group_rows(rows)
    assert raised.value.field == "lower_is_better"
