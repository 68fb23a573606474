"""``--ray``: the same files as without, from two workers of a local Ray, one of which is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_runs import Toy

from jepakit.cli.main import main
from jepakit.errors import ConfigError, DataError
from jepakit.mapping import Map, mapping

pytest.importorskip("ray", reason="the extra ray is not installed")
# Ray Data copies its settings, old ones included.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


@pytest.fixture(scope="module")
def mapped() -> Iterator[Map]:
    """One session of Ray for all tests, which the commands find; starting one takes seconds."""
    with pytest.MonkeyPatch.context() as environment:
        # Workers stand back behind all else that runs here, unless told otherwise.
        environment.setenv("RAY_worker_niceness", "0")
        environment.delenv("RAY_ADDRESS", raising=False)
        with mapping(ray=True) as on_ray:
            yield on_ray


def test_results_come_in_order_although_a_worker_is_killed(mapped: Map, tmp_path: Path) -> None:
    def work(number: int) -> tuple[int, int]:
        if number == 11 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2, os.getpid()

    done = list(mapped(work, iter(range(40))))
    assert (tmp_path / "killed").exists()
    assert [square for square, _ in done] == [number**2 for number in range(40)]
    assert os.getpid() not in {process for _, process in done}


def test_the_error_is_that_of_the_first_item_that_has_one(mapped: Map) -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ConfigError("number", number, "an odd one", file="numbers")
        if number == 3:
            raise DataError("three", line=number)
        return number

    with pytest.raises(ConfigError) as raised:
        list(mapped(work, range(5)))
    assert str(raised.value) == "numbers: number = 2: expected an odd one"
    assert (raised.value.field, raised.value.value) == ("number", 2)


@pytest.mark.parametrize("level", ["graph", "node"])
def test_embeddings_are_the_same_file(level: str, mapped: Map, toy: Toy, tmp_path: Path) -> None:
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    words = ["graph", "embed", str(toy.run), "--level", level]
    assert main([*words, "--out", str(here)]) == 0
    assert main([*words, "--out", str(there), "--ray"]) == 0
    assert here.read_bytes() == there.read_bytes()
