"""Times the ways to start on problems that were held out from training, and makes a family of the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from jepakit.lp.data import LinearProgram, matrix_fingerprint
from jepakit.lp.model import LPModel
from jepakit.lp.solving.basis import Optimum
from jepakit.lp.solving.highs import EdgeWeights
from jepakit.lp.solving.solver import Solution, Solver
from jepakit.lp.starts.choice import Choice, Source, Way
from jepakit.lp.starts.family import LearnedFamily
from jepakit.lp.starts.kind import Kind
from jepakit.lp.starts.neighbours import Neighbours
from jepakit.lp.stream import start_of
from jepakit.progress import tracked

#: Each problem is solved so often in each way, and the least time counts, for other load on the machine only adds to
#: it; no problem is begun after so many seconds.
_TIMES, _SECONDS = 5, 60.0
_PRICINGS: tuple[EdgeWeights, ...] = ("choose", "devex")


def measured_family(
    problems: Sequence[LinearProgram], model: LPModel, optima: Sequence[Optimum] | None, training: int
) -> LearnedFamily:
    """The family of problems; the ways to start are timed on those that were not trained on.

    Args:
        problems: all.
        model: trained on some of the first ``training``.
        optima: of all; None without labels.
        training: number of problems that are not held out.
    """
    unmeasured = Choice(Kind.of(problems))

    def family(count: int, choice: Choice) -> LearnedFamily:
        neighbours = None if optima is None else Neighbours.of(problems[:count], optima[:count])
        return LearnedFamily.of(choice, model, neighbours)

    held_out = problems[training:]
    ways = timed(held_out, problems[training - 1], family(training, unmeasured)) if held_out else ()
    return family(len(problems), replace(unmeasured, ways=ways))


def timed(held_out: Sequence[LinearProgram], before: LinearProgram, family: LearnedFamily) -> tuple[Way, ...]:
    """The ways that all held-out problems allow, with the milliseconds of each problem, guess and solve.

    The problems are solved in turn in every way, so that other load on the machine slows all ways alike.

    Args:
        held_out: in their order, at least one; neither trained on nor among the family's neighbours.
        before: the problem before the first.
        family: its choice is not used.
    """
    ways = _ways(held_out, before, family)
    solvers = {way: Solver() for way in ways}

    def solved(way: Way, problem: LinearProgram, answer: Solution | None) -> Solution:
        starts = family.starts(way, problem, None if answer is None else start_of(answer)) or []
        return solvers[way].solve(problem, starts, method=way.method)

    found: dict[tuple[int, Way], list[float]] = {}
    begin = perf_counter()
    for number in tracked(range(_TIMES), "timing the ways to start", unit="rounds"):
        # Whatever happens only once, such as loading a library, happens here.
        answers = {way: solved(way, before, None) for way in ways if number == 0 or way.source == "problem before"}
        for place, problem in enumerate(held_out):
            if found and perf_counter() - begin > _SECONDS:
                break
            for way in ways[number:] + ways[:number]:
                start = perf_counter()
                answers[way] = solved(way, problem, answers.get(way))
                found.setdefault((place, way), []).append(1e3 * (perf_counter() - start))
    places = sorted({place for place, _ in found})
    return tuple(replace(way, milliseconds=tuple(min(found[place, way]) for place in places)) for way in ways)


def _ways(held_out: Sequence[LinearProgram], before: LinearProgram, family: LearnedFamily) -> list[Way]:
    sources: list[Source] = []
    if len({matrix_fingerprint(problem) for problem in [before, *held_out]}) == 1:
        sources.append("problem before")
        if family.neighbours is not None and family.neighbours.nearest(before) is not None:
            sources.append("nearest")
    sources.append("model")
    warm = [Way(source, pricing) for source in sources for pricing in _PRICINGS]
    return [Way("cold"), Way("interior point"), *warm]
