"""Scenarios from files, and their solutions to files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jepakit.errors import DataError
from jepakit.lp import BatchSolver, Solver
from jepakit.lp.batch.files import read_scenarios, solve_scenarios
from lp.problems import by_hand

HOURS = np.linspace(10.0, 20.0, 25)


def parquet(file: Path, **columns: Any) -> Path:
    """A file with these columns; ``__`` in a name stands for a colon."""
    pq.write_table(pa.table({name.replace("__", ":"): values for name, values in columns.items()}), file)
    return file


@pytest.mark.parametrize("chunk", [7, 100])
def test_a_file_is_read_in_parts_whatever_its_format(tmp_path: Path, chunk: int) -> None:
    problem = by_hand()
    names = [f"case {number}" for number in range(len(HOURS))]
    files = [parquet(tmp_path / "a.parquet", id=names, plant2=HOURS, upper__x=HOURS, costs__y=-HOURS)]
    np.savez(tmp_path / "a.npz", **{"id": names, "plant2": HOURS, "upper:x": HOURS, "costs:y": -HOURS})
    files.append(tmp_path / "a.npz")
    for file in files:
        chunks = list(read_scenarios(file, problem, chunk=chunk))
        assert [one.first for one in chunks] == list(range(0, len(HOURS), chunk))
        assert [name for one in chunks for name in one.ids.to_pylist()] == names  # type: ignore[union-attr]
        one = chunks[0].scenarios.problem_of(3)
        expected = replace(
            problem,
            row_upper=np.array([4.0, HOURS[3], 18.0]),
            upper=np.array([HOURS[3], np.inf]),
            costs=np.array([-3.0, -HOURS[3]]),
        )
        for field in ("row_lower", "row_upper", "lower", "upper", "costs"):
            assert np.array_equal(getattr(one, field), getattr(expected, field)), field


def test_costs_are_those_of_the_objective_as_the_user_states_it(tmp_path: Path) -> None:
    problem = replace(by_hand(), maximize=True)
    file = parquet(tmp_path / "a.parquet", x=[3.0, 5.0])
    (chunk,) = read_scenarios(file, problem)
    assert chunk.scenarios.costs.tolist() == [[-3.0, -5.0]]


def test_matrices_of_all_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", b=np.array([[4.0, 12.0, 18.0], [4.0, 13.0, 18.0]]))
    (chunk,) = read_scenarios(tmp_path / "a.npz", by_hand())
    assert chunk.scenarios.problem_of(1).row_upper.tolist() == [4, 13, 18]


def test_solutions_are_written_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", id=list(range(100, 125)), plant2=HOURS)
    solutions = list(solve_scenarios(file, BatchSolver(by_hand()), tmp_path / "out.parquet"))
    assert sum(len(one) for one in solutions) == len(HOURS)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["id"].to_pylist() == list(range(100, 125))
    assert json.loads(table.schema.metadata[b"columns"]) == ["x", "y"]
    assert json.loads(table.schema.metadata[b"rows"]) == ["plant1", "plant2", "plant3"]
    for row, hours in zip(table.to_pylist(), HOURS, strict=True):
        alone = Solver().solve(replace(by_hand(), row_upper=np.array([4.0, hours, 18.0])))
        assert (row["status"], row["certified"]) == ("optimal", True)
        assert row["objective"] == pytest.approx(alone.objective)
        assert row["x"] == pytest.approx(alone.x)
    list(solve_scenarios(file, BatchSolver(by_hand()), tmp_path / "few.parquet", points=False))
    assert not {"x", "y"} & set(pq.read_schema(tmp_path / "few.parquet").names)


def test_nothing_is_left_behind_by_a_file_that_turns_out_bad(tmp_path: Path) -> None:
    values = HOURS.copy()
    values[-1] = np.nan
    file = parquet(tmp_path / "a.parquet", plant2=values)
    with pytest.raises(DataError):
        list(solve_scenarios(file, BatchSolver(by_hand()), tmp_path / "out.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"plant2": [1.0, float("nan")]}, "b[plant2], scenario 1: not a valid number (found nan)"),
        ({"plant2": [1.0, None]}, "plant2, scenario 1: a number is missing"),
        ({"plant2": ["1", "2"]}, "plant2: not numbers (found 'string'); expected a column of numbers"),
        ({"plant4": [1.0]}, "plant4: not in the problem (did you mean 'plant3'?)"),
        ({"upper__plant2": [1.0]}, "upper:plant2: not a column of the problem"),
        ({"b__plant2": [1.0], "plant2": [1.0]}, "plant2: given twice; expected one column for b of 'plant2'"),
        ({"id": [1]}, "scenarios: nothing varies"),
        ({"plant2": pa.array([], pa.float64())}, "no scenarios"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    file = parquet(tmp_path / "a.parquet", **columns)
    with pytest.raises(DataError) as caught:
        list(read_scenarios(file, by_hand()))
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_a_bad_number_is_named_by_its_place_in_the_whole_file(tmp_path: Path) -> None:
    values = HOURS.copy()
    values[20] = np.nan
    file = parquet(tmp_path / "a.parquet", plant2=values)
    with pytest.raises(DataError, match="scenario 20"):
        list(read_scenarios(file, by_hand(), chunk=8))


@pytest.mark.parametrize("name", ["a.parquet", "a.npz", "a.csv"])
def test_what_is_no_such_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not what its name says")
    with pytest.raises(DataError, match=name):
        list(read_scenarios(tmp_path / name, by_hand()))


def test_a_name_of_a_row_and_of_a_column_needs_a_prefix(tmp_path: Path) -> None:
    problem = replace(by_hand(), column_names=("plant1", "y"))
    with pytest.raises(DataError, match=r"expected b:plant1, or costs:plant1"):
        list(read_scenarios(parquet(tmp_path / "a.parquet", plant1=[1.0]), problem))
    (chunk,) = read_scenarios(parquet(tmp_path / "b.parquet", costs__plant1=[1.0]), problem)
    assert chunk.scenarios.costs.tolist() == [[1.0]]
