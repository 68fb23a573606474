"""`graph_few_labels` on graphs whose nodes have texts, with MiniLM's vectors of them as features: the same methods.

    python -m benchmarks.graph_few_labels_texts            # an hour on one core; goes on where it was interrupted
    python -m benchmarks.graph_few_labels_texts --quick    # minutes: one graph, two seeds, three epochs, five draws

The graphs are `benchmarks.text_graphs`: the standard library of Python, whose nodes have docstrings, and a subset of
PrimeKG, whose nodes have names. The latter has no labels of its own: diseases are told apart by a word of their names
that says the field of medicine, and which is left out of all texts. The recipe is the preset ``nodes``; that two steps
are better than ten for diseases was found with other draws of labels, and validation nodes in place of test nodes.
"""

from __future__ import annotations

import torch

from benchmarks.graph_few_labels import table
from benchmarks.harness import Options, Steps, main
from benchmarks.text_graphs import disease_fields, library_texts
from jepakit.training.result_rows import ResultRow


def rows(options: Options, steps: Steps) -> list[ResultRow]:
    """All rows; `steps` keeps what is already measured."""
    graphs = (library_texts, disease_fields)
    return table((graph() for graph in graphs[: 1 if options.quick else None]), options, steps, variants=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main("graph_few_labels_texts", rows, depends_on="graph/**/*.py")
