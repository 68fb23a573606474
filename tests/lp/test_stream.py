"""Problems of a stream: each starts in the fastest way it allows; a family of another kind is never used silently."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from jepakit.lp import LearnedFamily, LinearProgram, LPModel, Solver, Stream, label
from jepakit.lp.families.combinatorial import CombinatorialAuction, FacilityLocation, IndependentSet, SetCover
from jepakit.lp.families.named import LPFamily
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.starts.choice import Choice, Source, Way
from jepakit.lp.starts.kind import Kind
from jepakit.lp.starts.neighbours import Neighbours

ALIKE = Perturbed((RandomFeasible(rows=20, columns=30).problem(0),), sides=0.005)
MODEL = LPModel(True, 0, 0, {"dim": 8, "depth": 1, "iterations": 20}).eval()
STRANGE: dict[str, LPFamily] = {
    "larger": SetCover(120, 140, 0.1),
    "denser": SetCover(30, 35, 0.4),
    "independent set": IndependentSet(30),
    "auction": CombinatorialAuction(25, 30),
    "facility location": FacilityLocation(4, 8, 5),
    "random": RandomFeasible(rows=30, columns=35),
}


def family_of(generator: LPFamily, times: dict[Source, float]) -> LearnedFamily:
    """A family of ten problems whose ways took so many milliseconds."""
    problems = [generator.problem(seed) for seed in range(10)]
    ways = tuple(Way(source, milliseconds=(time,)) for source, time in times.items())
    neighbours = Neighbours.of(problems, label(problems))
    return LearnedFamily.of(Choice(Kind.of(problems), ways), MODEL, neighbours)


@pytest.mark.parametrize(
    ("fastest", "first", "later"),
    [
        ("cold", "solver", "solver"),
        ("interior point", "solver", "solver"),
        ("nearest", "neighbour", "neighbour"),
        # The first problem has none before: it takes the next fastest.
        ("problem before", "neighbour", "problem before"),
        ("model", "model", "model"),
    ],
)
def test_the_fastest_way_is_used_on_every_problem_that_allows_it(fastest: Source, first: str, later: str) -> None:
    times: dict[Source, float] = {"cold": 40, "interior point": 60, "problem before": 50, "nearest": 30, "model": 70}
    stream = Stream(family=family_of(ALIKE, {**times, fastest: 1.0}))
    steps = [stream.solve(ALIKE.problem(seed)) for seed in range(100, 104)]
    assert [step.solution.source for step in steps] == [first, later, later, later]
    assert not any(step.note for step in steps)
    for step, seed in zip(steps, range(100, 104), strict=True):
        assert step.solution.certified
        assert step.solution.objective == pytest.approx(Solver().solve(ALIKE.problem(seed)).objective)


def test_without_rolling_the_problem_before_is_not_used() -> None:
    family = family_of(ALIKE, {"cold": 40, "problem before": 1, "nearest": 30})
    stream = Stream(family=family, rolling=False)
    assert [stream.solve(ALIKE.problem(seed)).solution.source for seed in (100, 101)] == ["neighbour"] * 2


def test_what_was_not_measured_is_decided_by_the_bounds_and_the_model_is_not_used() -> None:
    family = family_of(ALIKE, {})
    assert not family.choice.measured
    stream = Stream(family=family)
    assert stream.solve(ALIKE.problem(3)).solution.source == "neighbour"
    # The same problem again: the answer before proves as much, and comes first.
    assert stream.solve(ALIKE.problem(3)).solution.source == "problem before"
    covers = family_of(SetCover(30, 35, 0.1), {})
    assert Stream(family=covers).solve(SetCover(30, 35, 0.1).problem(50)).solution.source == "solver"


def test_without_a_family_each_starts_from_the_answer_before_if_the_matrix_is_the_same() -> None:
    stream = Stream()
    problems = [ALIKE.problem(1), ALIKE.problem(2), SetCover(20, 24, 0.2).problem(0), ALIKE.problem(3)]
    steps = [stream.solve(problem) for problem in problems]
    assert [step.solution.source for step in steps] == ["solver", "problem before", "solver", "solver"]


@pytest.mark.parametrize("left", [1, 5, 30])
@pytest.mark.parametrize("fastest", ["model", "nearest", "cold"])
@pytest.mark.parametrize("name", STRANGE)
def test_a_family_of_another_kind_is_never_used_silently(name: str, fastest: Source, left: int) -> None:
    """Neither one of many matrices nor one of a single matrix, whatever was fastest and however many are to come."""
    for generator in (SetCover(30, 35, 0.1), ALIKE):
        times: dict[Source, float] = {"cold": 10.0, "nearest": 20.0, "model": 8.0, fastest: 1.0}
        stream = Stream(family=family_of(generator, times), count=left)
        said: list[str] = []
        for seed in range(min(left, 5)):
            step = stream.solve(STRANGE[name].problem(seed))
            said.append(step.note)
            assert "of another kind than the family's (" in said[0]
            assert step.solution.certified
            if step.solution.source in ("model", "neighbour"):
                assert any(note.endswith("from here on with the model") for note in said)


def test_a_network_is_not_loaded_for_problems_that_take_less_time_than_that() -> None:
    known = family_of(SetCover(30, 35, 0.1), {"cold": 10.0, "model": 1.0})
    family = LearnedFamily(known.choice, lambda: MODEL, lambda: None)
    step = Stream(family=family, count=40).solve(SetCover(60, 70, 0.1).problem(0))
    assert step.note.endswith(": solved without the family")
    assert not family.loaded
    # It is loaded already, or there is no end of problems.
    assert "solved both ways" in Stream(family=known, count=40).solve(SetCover(60, 70, 0.1).problem(0)).note
    assert "solved both ways" in Stream(family=family).solve(SetCover(60, 70, 0.1).problem(0)).note


@pytest.mark.parametrize(("model_is_faster", "expected"), [(True, "model"), (False, "solver")])
def test_the_first_of_many_are_solved_both_ways_and_what_lost_is_dropped(
    monkeypatch: pytest.MonkeyPatch, model_is_faster: bool, expected: str
) -> None:
    """The clock is the test's: what takes the time it is told to is the model, or the solver."""
    ticks, asked = count(), LearnedFamily.starts
    slow = [0.0]

    def starts(self: LearnedFamily, *more: object) -> object:
        slow[0] += 0.0 if model_is_faster else 50.0
        return asked(self, *more)  # type: ignore[arg-type]

    solved = Solver.solve

    def solve(self: Solver, problem: LinearProgram, starts: object = (), **more: object) -> object:
        slow[0] += 0.0 if starts else 20.0
        return solved(self, problem, starts, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(LearnedFamily, "starts", starts)
    monkeypatch.setattr(Solver, "solve", solve)
    monkeypatch.setattr("jepakit.lp.stream.perf_counter", lambda: 1e-6 * next(ticks) + slow[0])
    stream = Stream(family=family_of(SetCover(30, 35, 0.1), {"cold": 10.0, "model": 1.0}), count=40)
    steps = [stream.solve(SetCover(60, 70, 0.1).problem(seed)) for seed in range(6)]
    assert [step.solution.source for step in steps] == ["solver"] * 3 + [expected] * 3
    assert [bool(step.note) for step in steps] == [True] * 3 + [False] * 3
    outcome = "with the model" if model_is_faster else "without the family"
    assert steps[2].note.endswith(f"from here on {outcome}")
    assert "rows 60, in training 30): solved both ways, " in steps[0].note
    # A third kind has a trial of its own, and problems of the family's kind are none of it.
    assert "solved both ways" in stream.solve(SetCover(200, 250, 0.1).problem(0)).note
    assert not stream.solve(SetCover(30, 35, 0.1).problem(77)).note


def test_a_model_of_another_size_gives_no_start_and_says_why() -> None:
    perceptron = LPModel(False, 30, 20, {"dim": 4, "depth": 1, "iterations": 0}).eval()
    known = family_of(ALIKE, {"cold": 10.0, "model": 1.0})
    family = LearnedFamily.of(known.choice, perceptron)
    assert Stream(family=family).solve(ALIKE.problem(50)).solution.source == "model"
    step = Stream(family=family).solve(SetCover(60, 70, 0.1).problem(0))
    assert "no guess of the model: a problem of another size than the perceptron's (found (70, 60))" in step.note
    # A size that is near enough to be of the kind is not the perceptron's either.
    fewer = LearnedFamily.of(known.choice, LPModel(False, 31, 20, {"dim": 4, "depth": 1, "iterations": 0}).eval())
    step = Stream(family=fewer).solve(ALIKE.problem(50))
    assert (step.solution.source, step.note.partition(":")[0]) == ("solver", "no guess of the model")


def test_the_problem_before_counts_only_if_it_had_an_optimum() -> None:
    problem = ALIKE.problem(0)
    nothing = replace(problem, lower=np.full(30, 1.0), upper=np.full(30, 0.0))
    stream = Stream()
    sources = [stream.solve(one).solution.source for one in (problem, nothing, ALIKE.problem(1))]
    assert sources == ["solver", "solver", "problem before"]
