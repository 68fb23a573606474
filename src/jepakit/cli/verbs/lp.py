"""Verbs of ``jepakit lp``: what help says of them."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

_CERTIFIED = ("gap", "row_tolerance", "exact", "seconds")

VERBS = {
    "generate": Verb(
        "make problems of a family",
        "jepakit.cli.lp",
        (
            "jepakit lp generate set-cover --count 30 --out problems",
            "jepakit lp generate perturbed --like days --count 400 --out more",
        ),
    ),
    "label": Verb(
        "find the optima of problems to learn from", "jepakit.cli.lp", ("jepakit lp label problems --jobs 2",)
    ),
    "train": Verb(
        "learn to guess the optima of a family",
        "jepakit.cli.lp",
        (
            "jepakit lp train days --run runs/days",
            "jepakit lp train problems --preset mlp-joint --epochs 50 --run runs/perceptron",
        ),
        {
            "data": ("problems", "use_labels", "jobs", "relax", "held_out"),
            "training": ("epochs", "batch_size", "learning_rate", "encoder.dim", "encoder.depth", "use_jepa", "seed"),
            "the run": ("run", "resume", "overwrite", "dry_run"),
        },
    ),
    "solve": Verb(
        "find the certified optimum of a problem, or of many",
        "jepakit.cli.lp_solve",
        ("jepakit lp solve tomorrow.mps --run runs/days", "jepakit lp solve days --start day1.bas --out solved"),
        {
            "problems, and where they start": ("problems", "run", "start", "rolling", "relax"),
            "what is certified": _CERTIFIED,
            "result": ("out",),
        },
    ),
    "batch": Verb(
        "find the certified optima of many scenarios of one problem",
        "jepakit.cli.lp_solve",
        ("jepakit lp batch scenarios.parquet grid.mps --out solutions.parquet",),
        {
            "scenarios": ("scenarios", "problem", "run", "relax"),
            "what is certified": _CERTIFIED,
            "result": ("out", "points"),
        },
    ),
    "evaluate": Verb(
        "compare what is learned with its rivals", "jepakit.cli.lp", ("jepakit lp evaluate runs/days unseen",)
    ),
}
