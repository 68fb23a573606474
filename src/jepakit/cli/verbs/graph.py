"""Verbs of ``jepakit graph``: what help says of them."""

from __future__ import annotations

from jepakit.cli.verbs.verb import Verb

VERBS = {
    "pretrain": Verb(
        "pre-train an encoder on graphs without labels, probe it, write a report",
        "jepakit.cli.graph",
        (
            "jepakit graph pretrain PROTEINS",
            "jepakit graph pretrain molecules.csv --preset molecules --label-columns toxic --run runs/molecules",
        ),
        {
            "data": ("dataset", "smiles_column", "label_columns"),
            "training": ("epochs", "batch_size", "learning_rate", "encoder.hidden", "encoder.layers", "seed"),
            "probing": ("probe", "evaluate.classifier"),
            "the run": ("run", "resume", "overwrite", "dry_run"),
        },
    ),
    "evaluate": Verb(
        "probe an encoder beside its floors",
        "jepakit.cli.graph",
        (
            "jepakit graph evaluate runs/graph-PROTEINS",
            "jepakit graph evaluate molecules more.csv --label-columns toxic",
        ),
        {
            "what is probed": ("run", "dataset", "label_columns", "repeats"),
            "how": ("classifier", "multilabel", "folds", "seeds", "floors", "jobs"),
            "result": ("out",),
        },
    ),
    "embed": Verb(
        "write the embeddings of a data set to a file",
        "jepakit.cli.graph",
        (
            "jepakit graph embed runs/graph-PROTEINS --out proteins.parquet",
            "jepakit graph embed molecules more.csv --out embeddings.csv",
        ),
    ),
    "finetune": Verb(
        "train an encoder on labels of graphs",
        "jepakit.cli.graph",
        ("jepakit graph finetune runs/molecules --label-columns toxic",),
        {
            "data": ("run", "dataset", "smiles_column", "label_columns", "fraction", "test_share"),
            "training": ("training.epochs", "training.batch_size", "training.learning_rate", "training.seed"),
            "result": ("out",),
        },
    ),
    "predict": Verb(
        "write the labels that a fine-tuned encoder predicts",
        "jepakit.cli.graph",
        ("jepakit graph predict runs/molecules more.csv --out predictions.csv",),
    ),
    "store": Verb(
        "make mapped files of one graph larger than memory, from Parquet",
        "jepakit.cli.graph",
        ("jepakit graph store web --out web-store", "jepakit graph pretrain ./web-store --preset nodes"),
    ),
}
