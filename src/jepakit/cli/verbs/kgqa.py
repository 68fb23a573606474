"""Verbs of ``jepakit kgqa``."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "train": Verb(
        "pre-train the encoder, train the retriever and the answerer, measure: all in one", "jepakit.cli.kgqa"
    ),
    "build": Verb("write a graph as a folder that opens at once", "jepakit.cli.kgqa"),
    "pretrain": Verb("pre-train an encoder on subgraphs, without questions", "jepakit.cli.kgqa"),
    "fit-retriever": Verb(
        "learn which relation path a question means, from questions with answers", "jepakit.cli.kgqa"
    ),
    "finetune": Verb("train an answerer: a language model that reads the retrieved subgraph", "jepakit.cli.kgqa"),
    "evaluate": Verb("measure a run's retriever or answerer beside floors and ceilings", "jepakit.cli.kgqa"),
    "serve": Verb("answer questions over HTTP", "jepakit.cli.kgqa", quick=True),
    "ask": Verb(
        "answer a question, with the path that leads to the answers, or by text", "jepakit.cli.kgqa", quick=True
    ),
}
