"""What a user waits for: process, reading, guess and solve, of one file and of a stream of a hundred.

    python -m benchmarks.lp_end_to_end            # half an hour on two cores
    python -m benchmarks.lp_end_to_end --quick    # two minutes: the smallest problems, five of them

Set covers of 2000 x 2000, whose model has learned on smaller ones, and power flow on 1354 buses, of one matrix.
`jepakit lp solve` in a process of its own, in every way to start: cold by the simplex method, cold by interior point
and crossover, from the problem before, from what was learned, and as the run has chosen. Beside it HiGHS alone, which
reads and solves the same files in one process, and checks nothing. "Process" is what is neither reading nor guess nor
solve: starting Python, loading libraries and runs. Milliseconds a file; of one file those of the process with the
median time of three.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.harness import SOURCE, Options, Steps, data_dir, main
from benchmarks.lp_ways import labels_folder, taught_by_bases
from jepakit.lp import LearnedFamily, LinearProgram, PretrainConfig, pretrain, read_problem, with_optimum, write_problem
from jepakit.lp.data import matrix_fingerprint
from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.families.combinatorial import SetCover
from jepakit.lp.families.named import LPFamily
from jepakit.lp.families.power_flow import PowerFlow
from jepakit.lp.starts.choice import Choice, Source, Way
from jepakit.lp.starts.kind import Kind
from jepakit.lp.starts.timing import measured_family
from jepakit.training import RunFolder
from jepakit.training.result_rows import ResultRow

HIGHS, COLD, INTERIOR = "HiGHS alone", "cold", "cold, interior point and crossover"
ROLLING, CHOSEN = "jepakit: from the problem before, without a family", "jepakit: as the run has chosen"
_FORCED: dict[Source, str] = {
    "nearest": "jepakit: from the nearest training basis",
    "model": "jepakit: from the model",
}
PARTS = ("end to end", "process", "reading", "guess", "solve")
_STREAM, _TIMES, _UNSEEN, _HELD_OUT = 100, 3, 10**6, 8
_HIGHS_SCRIPT = """
import sys, time, highspy
for file in sys.argv[1:]:
    begin = time.perf_counter()
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.readModel(file)
    between = time.perf_counter()
    highs.run()
    end = time.perf_counter()
    print(f"read {1000 * (between - begin)} ms, starts 0 ms, solve {1000 * (end - between)} ms")
"""
_SOLVE_SCRIPT = "import sys; from jepakit.cli.main import main; sys.exit(main())"
_TIMES_OF_A_LINE = re.compile(r"read (\S+) ms, starts (\S+) ms, solve (\S+) ms")


@dataclass(frozen=True)
class Setting:
    """A family, and how its model learns.

    Args:
        training: makes the problems to learn from, of which the network sees the first.
        unseen: makes the problems to solve.
        problems: number of problems whose optima are kept.
        config: of the network.
        seen: number of problems that the network sees.
    """

    training: Sequence[LPFamily]
    unseen: LPFamily
    problems: int
    config: PretrainConfig
    seen: int


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    table: list[ResultRow] = []
    names = ("power flow, 118 buses",) if options.quick else ("set cover", "power flow, 1354 buses")
    count = 5 if options.quick else _STREAM
    for name in names:
        found = steps.value((name, count), partial(_measured, name, count))
        for how, ways in found.items():
            for way, parts in ways.items():
                table += [
                    ResultRow(
                        f"{name}, {how}",
                        way,
                        f"{part}, ms a file",
                        parts[part],
                        ours=way.startswith("jepakit"),
                        lower_is_better=True,
                    )
                    for part in PARTS
                ]
    metrics = [f"{part}, ms a file" for part in PARTS]
    return sorted(table, key=lambda row: metrics.index(row.metric))


def _setting(name: str) -> Setting:
    def config(dim: int, iterations: int, epochs: int, batch_size: int) -> PretrainConfig:
        encoder = EncoderConfig(dim=dim, depth=3, iterations=iterations)
        return taught_by_bases(seed=0, epochs=epochs, batch_size=batch_size, encoder=encoder, held_out=0)

    if name == "set cover":
        covers = tuple(SetCover(500, 1000, density) for density in (0.02, 0.05, 0.1))
        return Setting(covers, SetCover(2000, 2000, 0.01), 100, config(32, 128, 30, 4), 92)
    case = "case118_ieee" if "118" in name else "case1354_pegase"
    flow = PowerFlow.read(data_dir() / "lp" / "pglib_opf" / f"pglib_opf_{case}.m")
    return Setting((flow,), flow, 100, config(32, 128, 10, 4), 92)


def _measured(name: str, count: int) -> dict[str, dict[str, dict[str, float]]]:
    setting = _setting(name)
    makers = setting.training
    made = [makers[number % len(makers)].problem(number) for number in range(setting.problems)]
    with tempfile.TemporaryDirectory() as folder:
        problems = [read_problem(file) for file in _written(made, Path(folder) / "training")]
        problems, optima, _ = with_optimum(problems, cache=labels_folder(), workers=2)
        run = RunFolder(Path(folder) / "run")
        run.start("seed: 0\n", resume=False)
        model = pretrain(problems[: setting.seen], setting.config, optima=optima[: setting.seen], run=run).encoder
        family = measured_family(problems, model, optima, len(problems) - _HELD_OUT)
        family.save(run.path)
        made = [setting.unseen.problem(_UNSEEN + number) for number in range(count)]
        files = _written(made, Path(folder) / "unseen")
        commands = _commands(family, run.path, [read_problem(file) for file in files])
        many, one = f"{count} files", "one file"
        ways = {way: {many: _timed(command, files)} for way, command in commands.items()}
        for way, command in commands.items():
            found = sorted((_timed(command, files[:1]) for _ in range(_TIMES)), key=lambda parts: parts["end to end"])
            ways[way][one] = found[_TIMES // 2]
    return {how: {way: parts[how] for way, parts in ways.items()} for how in (one, many)}


def _written(problems: Sequence[LinearProgram], folder: Path) -> list[Path]:
    """The files of problems: a file has fewer digits than a problem in memory."""
    files = [folder / f"{number:03}.mps" for number in range(len(problems))]
    for problem, file in zip(problems, files, strict=True):
        write_problem(problem, file)
    return files


def _commands(family: LearnedFamily, run: Path, unseen: Sequence[LinearProgram]) -> dict[str, list[str]]:
    """The words before the files, of each way."""
    solve = [sys.executable, "-c", _SOLVE_SCRIPT, "lp", "solve"]
    alone = ["--rolling", "false"]
    commands = {
        HIGHS: [sys.executable, "-c", _HIGHS_SCRIPT],
        COLD: [*solve, *alone],
        INTERIOR: [*solve, *alone, "--method", "ipm"],
        CHOSEN: [*solve, "--family", str(run)],
    }
    if len({matrix_fingerprint(problem) for problem in unseen}) == 1:
        commands[ROLLING] = solve
    for source, way in _FORCED.items():
        measured = [one for one in family.choice.ways if one.source == source]
        if not measured:
            continue
        # The same run, in which nothing else was measured, and for problems of this kind.
        forced = run.with_name(source)
        shutil.copytree(run, forced)
        best: Way = min(measured, key=lambda one: one.timed.mean)
        Choice(Kind.of(unseen), (best,)).save(forced / "starts.json")
        commands[way] = [*solve, *alone, "--family", str(forced)]
    return commands


def _timed(command: Sequence[str], files: Sequence[Path]) -> dict[str, float]:
    """Milliseconds a file, in all and of each part."""
    is_highs = _HIGHS_SCRIPT in command
    words = list(map(str, files)) if is_highs or len(files) == 1 else [str(files[0].parent)]
    words = words if is_highs else ["--problems", *words]
    begin = perf_counter()
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True, cwd=SOURCE)
    total = 1e3 * (perf_counter() - begin) / len(files)
    lines = [tuple(map(float, found)) for found in _TIMES_OF_A_LINE.findall(done.stdout)]
    assert len(lines) == len(files)
    reading, guess, solve = np.mean(lines, axis=0).tolist()
    values: Mapping[str, float] = {
        "end to end": total,
        "process": total - reading - guess - solve,
        "reading": reading,
        "guess": guess,
        "solve": solve,
    }
    return dict(values)


if __name__ == "__main__":
    main("lp_end_to_end", rows)
