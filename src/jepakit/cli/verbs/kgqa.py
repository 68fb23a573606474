"""Verbs of ``jepakit kgqa``: what help says of them."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

_GRAPH = ("graph", "texts", "questions")

VERBS = {
    "train": Verb(
        "pre-train the encoder, train the retriever and the answerer, measure: all in one",
        "jepakit.cli.kgqa",
        (
            "jepakit kgqa train films.tsv --questions films.jsonl --run runs/films",
            "jepakit kgqa train python --limit 200 --skip-finetune --run runs/python",
        ),
        {
            "data": (*_GRAPH, "limit", "held_out"),
            "steps": ("skip_pretrain", "skip_finetune"),
            "training": ("pretrain.epochs", "retriever.epochs", "retriever.hops", "finetune.epochs", "seed"),
            "the run": ("run", "resume", "overwrite", "dry_run"),
        },
    ),
    "build": Verb(
        "write a graph as a folder that opens at once",
        "jepakit.cli.kgqa",
        ("jepakit kgqa build films.tsv --out films",),
    ),
    "pretrain": Verb(
        "pre-train an encoder on subgraphs, without questions",
        "jepakit.cli.kgqa",
        ("jepakit kgqa pretrain films.tsv --run runs/encoder",),
        {
            "data": ("graph", "texts"),
            "training": ("epochs", "subgraphs", "batch_size", "learning_rate", "seed"),
            "the encoder": ("encoder.conv", "encoder.hidden", "encoder.layers"),
            "the run": ("run", "resume", "overwrite", "dry_run"),
        },
    ),
    "fit-retriever": Verb(
        "learn which relation path a question means, from questions with answers",
        "jepakit.cli.kgqa",
        (
            "jepakit kgqa fit-retriever films.tsv --questions films.jsonl --run runs/films",
            "jepakit kgqa fit-retriever python --hops 2 --evaluate.retrievers bm25 --run runs/python",
        ),
        {
            "data": (*_GRAPH, "limit", "held_out"),
            "training": ("epochs", "batch_size", "learning_rate", "hops", "seed"),
            "measuring": ("evaluate.retrievers", "curve"),
            "the run": ("run", "resume", "overwrite", "dry_run"),
        },
    ),
    "finetune": Verb(
        "train an answerer: a language model that reads the retrieved subgraph",
        "jepakit.cli.kgqa",
        ("jepakit kgqa finetune films.tsv --questions films.jsonl --retriever runs/films --run runs/answerer",),
        {
            "data": (*_GRAPH, "limit"),
            "parts": ("retriever", "encoder_path", "llm_model", "tuning"),
            "training": ("epochs", "batch_size", "learning_rate", "seed"),
            "the run": ("run", "resume", "overwrite", "dry_run"),
        },
    ),
    "evaluate": Verb(
        "measure a run's retriever or answerer beside floors and ceilings",
        "jepakit.cli.kgqa",
        ("jepakit kgqa evaluate runs/films", "jepakit kgqa evaluate runs/films others.jsonl --retrievers bm25"),
    ),
    "serve": Verb(
        "answer questions over HTTP", "jepakit.cli.kgqa", ("jepakit kgqa serve runs/films --port 8765",), quick=True
    ),
    "ask": Verb(
        "answer a question, with the path that leads to the answers, or by text",
        "jepakit.cli.kgqa",
        (
            "jepakit kgqa ask runs/python 'What can json.loads raise?'",
            "jepakit kgqa ask runs/films 'who made it' --entity Ran --page answer.html",
        ),
    ),
}
