"""``jepakit graph finetune | predict``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from jepakit.cli.graph_options import RunDataOptions, data_of
from jepakit.cli.runs import say, show_rows, trained_run
from jepakit.errors import ModelError, require_within
from jepakit.graph.data import Graphs
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.finetune import FinetuneConfig, Predictor, finetune
from jepakit.graph.heldout import score_rows, train_and_test_rows
from jepakit.graph.rows import graph_rows, placed, require_known_format, unread_note, write_rows
from jepakit.training import RunFolder, load_encoder_as, save_encoder

_PREDICTOR = "predictor"


@dataclass
class FinetuneOptions(RunDataOptions):
    """Training a run's encoder on labels of whole graphs.

    Args:
        fraction: share of the training graphs whose labels are used.
        test_share: share of the labelled graphs that is kept out to measure the result, where the data have no split of
            their own; 0: train on all.
        out: folder of the fine-tuned encoder; by default ``predictor`` in the run.
        training: of encoder and head.
    """

    fraction: float = 1.0
    test_share: float = 0.2
    out: Path | None = None
    training: FinetuneConfig = field(default_factory=FinetuneConfig)

    def __post_init__(self) -> None:
        require_within(self, "(0, 1]", "fraction")
        require_within(self, "[0, 1)", "test_share")


@dataclass
class PredictOptions(RunDataOptions):
    """Predicting labels of graphs.

    Args:
        predictor: folder of a fine-tuned encoder; by default ``predictor`` in the run.
        out: the file to write, ``.csv``, ``.parquet`` or ``.npz``: where each graph comes from, and its predictions.
    """

    predictor: Path | None = None
    out: Path = Path("predictions.csv")


def run_finetune(options: FinetuneOptions, out: Console) -> None:
    """Fine-tunes an encoder, scores it on graphs it was not trained on, and saves it."""
    run = trained_run(options.run)
    encoder = load_encoder_as(GraphEncoder, run.encoder)
    dataset = data_of(run, options, encoder)
    train, test = train_and_test_rows(
        dataset, test_share=options.test_share, fraction=options.fraction, seed=options.training.seed
    )
    labels = ", ".join(dataset.label_names[:10])
    say(out, f"{dataset.name}: {len(train)} graphs to train, {len(test)} to test; {dataset.task}: {labels}")
    model = finetune(encoder, dataset, train, options.training)
    rows = score_rows(dataset, model, train, test) if len(test) else []
    show_rows(out, tuple(rows))
    folder = options.out or run.path / _PREDICTOR
    card: dict[str, Any] = {
        "dataset": f"{dataset.name}: {len(train)} labelled graphs. {dataset.source}",
        "method": f"fine-tuned from {run.encoder}",
    }
    save_encoder(model, folder, config=model.arguments, card=card)
    say(out, f"fine-tuned encoder: {folder}; to use it: jepakit graph predict {run.path} --dataset DATA")


def run_predict(options: PredictOptions, out: Console) -> None:
    """Writes predictions to a file."""
    run = trained_run(options.run)
    require_known_format("out", options.out)
    model = load_encoder_as(Predictor, _predictor_of(run, options.predictor))
    dataset = data_of(run, options, model.encoder, label_columns=())
    columns, graph = graph_rows(dataset)
    columns |= {name: placed(values, graph) for name, values in predicted_columns(model, dataset.graphs).items()}
    write_rows(options.out, columns)
    say(out, f"predictions for {len(graph)} rows in {options.out}{unread_note(graph, 'them')}")


def _predictor_of(run: RunFolder, given: Path | None) -> Path:
    folder = given or run.path / _PREDICTOR
    if not folder.is_dir():
        way_out = f"jepakit graph finetune {run.path} makes one"
        raise ModelError(f"{folder}: there is no fine-tuned encoder here; {way_out}")
    return folder


def predicted_columns(model: Predictor, graphs: Graphs) -> dict[str, list[Any]]:
    """``prediction`` and ``probability`` of the class, or a value or probability for each target; ``[G]`` each."""
    if model.task == "graph classification":
        probability, label = model.probabilities(graphs).max(1)
        return {"prediction": [model.label_names[at] for at in label.tolist()], "probability": probability.tolist()}
    kind = "probability" if model.task == "graph multilabel" else "prediction"
    columns = model.predict(graphs).T.tolist()
    return {f"{kind} {name}": column for name, column in zip(model.label_names, columns, strict=True)}
