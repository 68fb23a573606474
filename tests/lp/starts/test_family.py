"""What is learned of a family, on disk and off it: the start that pays is the one that is given."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import ConfigError, ModelError
from jepakit.lp import LearnedFamily, LPModel, PretrainConfig, label, pretrain
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.families.combinatorial import SetCover
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.solving.basis import Basis
from jepakit.lp.solving.solver import Start
from jepakit.lp.starts.family import Choice, choose, edge_weights_for
from jepakit.lp.starts.neighbours import Neighbours
from jepakit.training import RunFolder

ALIKE = Perturbed((RandomFeasible(rows=30, columns=50).problem(0),), sides=0.005)
PROBLEMS = [ALIKE.problem(seed) for seed in range(12)]
UNTRAINED = LPModel(True, 0, 0, {"dim": 8, "depth": 1, "iterations": 4}).eval()


def test_of_problems_that_are_alike_the_solved_ones_are_chosen_before_a_model_that_knows_nothing() -> None:
    neighbours = Neighbours.of(PROBLEMS, label(PROBLEMS))
    choice = choose(PROBLEMS, UNTRAINED, neighbours)
    assert choice.source == "training"
    unseen = ALIKE.problem(99)
    starts, _ = LearnedFamily(UNTRAINED, neighbours, choice).starts(unseen)
    assert [(start.source, start.edge_weights) for start in starts] == [("neighbour", choice.edge_weights)]
    # One that has nothing in common with them is the model's.
    starts, _ = LearnedFamily(UNTRAINED, neighbours, choice).starts(RandomFeasible(rows=30, columns=50).problem(1))
    assert [start.source for start in starts] == ["model"]


def test_without_a_common_matrix_there_is_the_model() -> None:
    problems = [SetCover(20, 24, 0.15).problem(seed) for seed in range(4)]
    neighbours = Neighbours.of(problems, label(problems))
    assert choose(problems, UNTRAINED, neighbours).source == "model"


def test_equal_data_give_equal_choices_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source and weights in turn seem to take no time, and an hour."""
    neighbours = Neighbours.of(PROBLEMS, label(PROBLEMS))
    choices = set()
    for period in (1, 2, 12, 24):
        ticks = count()
        clock = lambda: 3600.0 * (next(ticks) // period % 2)  # noqa: B023, E731
        monkeypatch.setattr("jepakit.lp.solving.solver.perf_counter", clock)
        choices.add(choose(PROBLEMS, UNTRAINED, neighbours))
    assert len(choices) == 1


@pytest.mark.parametrize(
    ("steepest", "devex", "rows", "expected"),
    [
        # Pivots and rows that are not basic, as measured on problems of the benchmarks; in processor time Devex takes
        # .77, .41, .24, .57, 1.30, .99 and 1.19 of steepest edges.
        (152, 159, 2866, "devex"),  # unit commitment, copper plate
        (209, 265, 5043, "devex"),  # unit commitment, DC
        (4, 3, 1366, "devex"),  # power flow, 1354 buses
        (873, 568, 346, "devex"),  # auctions
        (95, 169, 163, "steepest"),  # set covers
        (123, 149, 413, "steepest"),  # independent sets
        (75, 120, 190, "steepest"),  # facility location
        # However many rows: more than 1.5 times the pivots.
        (100, 151, 10**6, "steepest"),
        (100, 150, 10**6, "devex"),
    ],
)
def test_devex_is_chosen_where_setting_up_steepest_edges_costs_more(
    steepest: int, devex: int, rows: int, expected: str
) -> None:
    nonbasic = Basis(np.zeros(1, np.int8), np.zeros(rows, np.int8))
    assert edge_weights_for(steepest, devex, [Start("neighbour", basis=nonbasic)]) == expected
    # The same over several starts.
    assert edge_weights_for(3 * steepest, 3 * devex, 3 * [Start("neighbour", basis=nonbasic)]) == expected


def test_neighbours_are_tried_without_themselves() -> None:
    """Otherwise each would be a neighbour of its own, with no pivot left."""
    neighbours = Neighbours.of(PROBLEMS, label(PROBLEMS))
    for at, problem in enumerate(PROBLEMS):
        nearest, without = neighbours.nearest(problem), neighbours.best(problem, without=at)
        assert nearest is not None
        assert without is not None
        np.testing.assert_array_equal(nearest.x, neighbours.x[at])
        assert not np.array_equal(without.x, neighbours.x[at])


@pytest.mark.parametrize("source", ["both", "model", "training"])
def test_a_family_comes_back_from_its_folder(tmp_path: Path, source: str) -> None:
    config = PretrainConfig(epochs=1, progress=False, encoder=EncoderConfig(dim=8, depth=1, iterations=4))
    run = RunFolder(tmp_path / "run")
    run.start("seed: 0\n", resume=False)
    family = pretrain(PROBLEMS, config, optima=label(PROBLEMS), run=run).family
    replace(family, choice=Choice(source, "devex")).save(run.path)  # type: ignore[arg-type]
    loaded = LearnedFamily.load(run.path)
    assert loaded.choice == Choice(source, "devex")  # type: ignore[arg-type]
    sources = {"both": ["neighbour", "model"], "model": ["model"], "training": ["neighbour"]}
    assert [start.source for start in loaded.starts(ALIKE.problem(50))[0]] == sources[source]


@pytest.mark.parametrize("damage", ["", "{", '{"source": "oracle"}', '{"what": 1}', "[1]"])
def test_a_damaged_choice_is_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "starts.json"
    file.write_text(damage)
    with pytest.raises(ModelError, match=r"starts\.json:"):
        Choice.load(file)


def test_a_choice_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="edge_weights"):
        Choice("both", "dantzig")  # type: ignore[arg-type]
