"""Verbs of ``jepakit retrieval``: what help says of them."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "train": Verb(
        "adapt a text encoder to documents and pairs, measure it, index the documents",
        "jepakit.cli.retrieval",
        (
            "jepakit retrieval train docs --pairs pairs.jsonl",
            "jepakit retrieval train docs --query-encoder static --run runs/static",
        ),
        {
            "data": ("corpus", "pairs", "queries", "most_made_pairs"),
            "the base model": ("text.base", "text.backend", "strategy", "query_encoder"),
            "training": ("epochs", "batch_size", "learning_rate", "seed"),
            "the run": ("run", "resume", "overwrite", "dry_run", "index"),
        },
    ),
    "index": Verb(
        "index documents for a run, or add to its index or delete from it",
        "jepakit.cli.retrieval",
        (
            "jepakit retrieval index runs/retrieval more --add",
            "jepakit retrieval index runs/retrieval --delete old.md",
        ),
    ),
    "search": Verb(
        "search a run's index",
        "jepakit.cli.retrieval_search",
        (
            "jepakit retrieval search runs/retrieval 'how do I reset the meter'",
            "jepakit retrieval search 'puncture' --mode words --where 'path=tyre.md|tent.md'",
        ),
        quick=True,
    ),
    "serve": Verb(
        "serve a run's index over HTTP",
        "jepakit.cli.retrieval",
        ("jepakit retrieval serve runs/retrieval --port 8765",),
        quick=True,
    ),
    "export": Verb(
        "write a run as a model folder of sentence-transformers",
        "jepakit.cli.retrieval",
        ("jepakit retrieval export runs/retrieval --out adapted",),
    ),
    "evaluate": Verb(
        "measure a run beside its floors, at home or elsewhere",
        "jepakit.cli.retrieval",
        (
            "jepakit retrieval evaluate runs/retrieval",
            "jepakit retrieval evaluate runs/retrieval other-docs --pairs other-pairs.jsonl",
        ),
    ),
}
