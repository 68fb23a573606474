"""What is learned of a family, on disk and off it: the way that took the least time is the one that is used."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest

from jepakit.errors import ConfigError, ModelError
from jepakit.lp import LearnedFamily, LPModel, PretrainConfig, label, pretrain
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.families.combinatorial import SetCover
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.starts.advice import NETWORK_MS
from jepakit.lp.starts.choice import Choice, Source, Way
from jepakit.lp.starts.kind import Kind
from jepakit.lp.starts.neighbours import Neighbours
from jepakit.lp.starts.timing import measured_family
from jepakit.training import RunFolder

ALIKE = Perturbed((RandomFeasible(rows=30, columns=50).problem(0),), sides=0.005)
PROBLEMS = [ALIKE.problem(seed) for seed in range(12)]
KIND = Kind.of(PROBLEMS)
UNTRAINED = LPModel(True, 0, 0, {"dim": 8, "depth": 1, "iterations": 4}).eval()
SOURCES: tuple[Source, ...] = ("cold", "interior point", "problem before", "nearest", "model")


def drawn(seed: int) -> Choice:
    """Any ways with any times."""
    draw = np.random.default_rng(seed)
    sources = [source for source in SOURCES if source == "cold" or draw.random() < 0.7]
    return Choice(KIND, tuple(Way(source, "choose", tuple(draw.lognormal(3, 2, 3))) for source in sources))


def test_every_way_that_the_problems_allow_is_timed_on_those_held_out() -> None:
    family = measured_family(PROBLEMS, UNTRAINED, label(PROBLEMS), 9)
    warm = [(source, pricing) for source in SOURCES[2:] for pricing in ("choose", "devex")]
    expected = {("cold", "choose"), ("interior point", "choose"), *warm}
    assert {(way.source, way.edge_weights) for way in family.choice.ways} == expected
    assert {len(way.milliseconds) for way in family.choice.ways} == {3}
    # Solved problems are kept all, those held out too.
    assert family.neighbours is not None
    assert len(family.neighbours) == 12
    covers = [SetCover(20, 24, 0.15).problem(seed) for seed in range(4)]
    family = measured_family(covers, UNTRAINED, label(covers), 3)
    assert {way.source for way in family.choice.ways} == {"cold", "interior point", "model"}
    assert {way.source for way in measured_family(PROBLEMS, UNTRAINED, None, 9).choice.ways} == {*SOURCES} - {"nearest"}


def test_a_problem_that_is_held_out_is_no_neighbour_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be solved without a pivot, and the time would be that of nothing."""
    counts: set[int] = set()
    best = Neighbours.best
    monkeypatch.setattr(Neighbours, "best", lambda self, problem: counts.add(len(self)) or best(self, problem))
    measured_family(PROBLEMS, UNTRAINED, label(PROBLEMS), 9)
    assert counts == {9}


@pytest.mark.parametrize("seed", range(40))
def test_the_chosen_way_is_the_fastest_of_all(seed: int) -> None:
    choice = drawn(seed)
    fastest = min(choice.ways, key=lambda way: float(np.mean(way.milliseconds)))
    assert choice.ranked(inf)[0] == fastest
    assert choice.ranked(1, loaded=True)[0] == fastest
    for problems in (1, 10, 1000):
        # Loading a network is part of the time, unless it is loaded already.
        def cost(way: Way, problems: int = problems) -> float:
            return float(np.mean(way.milliseconds)) + (NETWORK_MS / problems if way.source == "model" else 0)

        first, *others = choice.ranked(problems)
        assert cost(first) == min(map(cost, choice.ways))
        assert [way.source for way in others].count("model") == 0
        assert [cost(way) for way in others] == sorted(cost(way) for way in others)


def test_without_a_measurement_the_model_is_not_used() -> None:
    assert [way.source for way in Choice(KIND).ranked()] == ["nearest", "cold"]
    assert Choice(KIND).network is None
    assert "not measured" in Choice(KIND).in_words(10)


@pytest.mark.parametrize("seed", range(5))
def test_a_family_comes_back_from_its_folder(tmp_path: Path, seed: int) -> None:
    config = PretrainConfig(epochs=1, progress=False, encoder=EncoderConfig(dim=8, depth=1, iterations=4))
    run = RunFolder(tmp_path / "run")
    run.start("seed: 0\n", resume=False)
    family = pretrain(PROBLEMS, config, optima=label(PROBLEMS), run=run).family
    assert LearnedFamily.open(run.path).choice == family.choice
    LearnedFamily.of(drawn(seed), family.model, family.neighbours).save(run.path)
    loaded = LearnedFamily.open(run.path)
    assert loaded.choice == drawn(seed)
    assert not loaded.loaded
    problem = ALIKE.problem(50)
    for way in loaded.choice.ways:
        starts, expected = (one.starts(way, problem) for one in (loaded, family))
        assert (starts is None) == (expected is None) == (way.source == "problem before")
        for start, other in zip(starts or [], expected or [], strict=True):
            np.testing.assert_array_equal(start.x, other.x)


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[1]",
        '{"what": 1}',
        '{"source": "oracle", "edge_weights": "devex"}',
        '{"source": "training"}',
        '{"kind": {"matrix": "", "ranges": {"rows": [1, 2]}}, "ways": []}',
        '{"kind": {"matrix": "", "ranges": RANGES}, "ways": [{"source": "oracle", "milliseconds": [1]}]}',
        '{"kind": {"matrix": "", "ranges": RANGES}, "ways": [{"source": "cold", "milliseconds": [-1]}]}',
        '{"kind": {"matrix": "", "ranges": RANGES}, "ways": [{"source": "cold", "milliseconds": []}, '
        '{"source": "model", "milliseconds": [1]}]}',
        '{"kind": {"matrix": "", "ranges": RANGES}, "ways": [{"source": "cold", "milliseconds": [1, "x"]}]}',
    ],
)
def test_a_damaged_choice_is_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "starts.json"
    ranges = "{" + ", ".join(f'"{name}": [0, 1]' for name in KIND.ranges) + "}"
    file.write_text(damage.replace("RANGES", ranges))
    with pytest.raises(ModelError, match=r"starts\.json:"):
        Choice.load(file)


def test_the_choice_of_an_earlier_version_is_kept_and_said_to_be_no_measurement(tmp_path: Path) -> None:
    file = tmp_path / "starts.json"
    for source, ways in (("training", ["nearest"]), ("model", ["model"]), ("both", ["nearest", "model"])):
        file.write_text(f'{{"source": "{source}", "edge_weights": "devex"}}')
        choice = Choice.load(file)
        assert choice.ranked(1) == [Way(way, "devex") for way in ways]
        assert "chosen by an earlier version, and not by time" in choice.in_words(1)
        assert (choice.network, choice.difference(PROBLEMS[0])) == (None, "")
    assert Choice.load(tmp_path / "none.json").ranked(1) == [Way("model")]


def test_a_way_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="edge_weights"):
        Way("cold", "dantzig")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ways"):
        Choice(KIND, (Way("cold", milliseconds=(1.0,)), Way("nearest", milliseconds=(1.0, 2.0))))
    with pytest.raises(ConfigError, match="milliseconds"):
        replace(Way("cold"), milliseconds=(inf,))
