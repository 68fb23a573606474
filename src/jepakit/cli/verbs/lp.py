"""Verbs of ``jepakit lp``."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "generate": Verb("make problems of a family", "jepakit.cli.lp"),
    "label": Verb("find the optima of problems to learn from", "jepakit.cli.lp"),
    "train": Verb("learn to guess the optima of a family", "jepakit.cli.lp"),
    "solve": Verb("find the certified optimum of a problem, or of many", "jepakit.cli.lp_solve"),
    "batch": Verb("find the certified optima of many scenarios of one problem", "jepakit.cli.lp_solve"),
    "evaluate": Verb("compare what is learned with its rivals", "jepakit.cli.lp"),
}
