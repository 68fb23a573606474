"""Verbs of ``jepakit graph``."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "pretrain": Verb("pre-train an encoder on graphs without labels, probe it, write a report", "jepakit.cli.graph"),
    "evaluate": Verb("probe an encoder beside its floors", "jepakit.cli.graph"),
    "embed": Verb("write the embeddings of a data set to a file", "jepakit.cli.graph"),
    "finetune": Verb("train an encoder on labels of graphs", "jepakit.cli.graph"),
    "predict": Verb("write the labels that a fine-tuned encoder predicts", "jepakit.cli.graph"),
}
