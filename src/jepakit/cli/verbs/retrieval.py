"""Verbs of ``jepakit retrieval``."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "train": Verb(
        "adapt a text encoder to documents and pairs, measure it, index the documents", "jepakit.cli.retrieval"
    ),
    "index": Verb("index documents for a run, or add to its index or delete from it", "jepakit.cli.retrieval"),
    "search": Verb("search a run's index", "jepakit.cli.retrieval_search", quick=True),
    "serve": Verb("serve a run's index over HTTP", "jepakit.cli.retrieval", quick=True),
    "export": Verb("write a run as a model folder of sentence-transformers", "jepakit.cli.retrieval"),
    "evaluate": Verb("measure a run beside its floors, at home or elsewhere", "jepakit.cli.retrieval"),
}
