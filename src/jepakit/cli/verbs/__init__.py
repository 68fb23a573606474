"""The words of the command line, in one table: systems and their verbs, and verbs that belong to no system.

Nothing here imports what a verb needs: help works where it is not installed, and takes no time.
"""

from __future__ import annotations

from jepakit.cli.verbs import graph, guard, kgqa, lp, retrieval
from jepakit.cli.verbs.verb import System, Verb

#: name -> system
SYSTEMS = {
    "graph": System("self-supervised encoders for graphs", graph.VERBS),
    "guard": System("tool calls of agents, judged before they are carried out", guard.VERBS),
    "kgqa": System("questions over a knowledge graph", kgqa.VERBS),
    "lp": System("linear programs solved again and again", lp.VERBS),
    "retrieval": System("search adapted to documents of your own", retrieval.VERBS),
}

#: name -> verb that belongs to no system: ``jepakit NAME ...``
VERBS = {
    "demo": Verb(
        "what each system does on built-in data, beside the strongest of what needs none of it",
        "jepakit.cli.demo.command",
        ("jepakit demo lp guard", "jepakit demo --run runs/shown"),
        extra="graph,kgqa,lp,guard,minilm,report",
    ),
    "compare": Verb(
        "scores, options and curves of several runs side by side",
        "jepakit.cli.compare",
        ("jepakit compare runs/first runs/second --out compare.html",),
        extra="training",
    ),
    "doctor": Verb(
        "what is installed, what is missing and how to add it, and whether native libraries work",
        "jepakit.cli.doctor",
        ("jepakit doctor", "jepakit doctor graph chem"),
        extra="training",
    ),
    "completion": Verb(
        "the script by which a shell completes verbs, options and their values",
        "jepakit.cli.completion",
        ("jepakit completion bash",),
        extra="training",
        quick=True,
    ),
    "verify": Verb(
        "whether the files of a run, encoder or index are as they were written",
        "jepakit.cli.verify",
        ("jepakit verify runs/graph-python",),
        extra="training",
    ),
}
