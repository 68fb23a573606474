"""``jepakit graph finetune | predict``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from jepakit.cli.graph_options import RunDataOptions, data_of
from jepakit.cli.graph_source import source_of
from jepakit.cli.outcome import Outcome
from jepakit.cli.runs import say, show_evaluation, write_results
from jepakit.errors import require_within
from jepakit.graph.data import Graphs
from jepakit.graph.finetune import FinetuneConfig, Predictor, finetune_with_metrics
from jepakit.graph.heldout import finetuned_evaluation, train_and_test_rows
from jepakit.graph.rows import graph_rows, placed, require_known_format, unread_note, write_rows
from jepakit.training import RunFolder, is_first_process, save_encoder
from jepakit.training.run import require_launcher


@dataclass
class FinetuneOptions(RunDataOptions):
    """Training an encoder on labels of whole graphs.

    Args:
        fraction: share of the training graphs whose labels are used.
        test_share: share of the labelled graphs that is kept out to measure the result, where the data have no split of
            their own; 0: train on all.
        out: folder of the fine-tuned encoder; by default ``predictor`` in the run, and of an encoder that is of no run
            ``runs/predictor-DATASET``.
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
    """Predicting labels of graphs, by a run that was fine-tuned or the folder of a fine-tuned encoder.

    Args:
        predictor: folder of a fine-tuned encoder; by default ``predictor`` in the run.
        out: the file to write, ``.csv``, ``.parquet`` or ``.npz``: where each graph comes from, and its predictions.
    """

    predictor: Path | None = None
    out: Path = Path("predictions.csv")


def run_finetune(options: FinetuneOptions, out: Console) -> Outcome:
    """Fine-tunes an encoder, scores it on graphs it was not trained on, and saves it."""
    require_launcher(options.training.num_nodes)
    first = is_first_process(options.training.processes)
    out.quiet = not first
    source = source_of(options.run)
    encoder = source.encoder()
    dataset = data_of(source, options, encoder)
    train, test = train_and_test_rows(
        dataset, test_share=options.test_share, fraction=options.fraction, seed=options.training.seed
    )
    labels = ", ".join(dataset.label_names[:10])
    say(out, f"{dataset.name}: {len(train)} graphs to train, {len(test)} to test; {dataset.task}: {labels}")
    model, trained = finetune_with_metrics(encoder, dataset, train, options.training)
    if not first:
        return Outcome()
    evaluation = finetuned_evaluation(dataset, model, train, test)
    show_evaluation(evaluation, out)
    folder = options.out or source.predictor_folder(dataset.name)
    card: dict[str, Any] = {
        "dataset": f"{dataset.name}: {len(train)} labelled graphs. {dataset.source}",
        "method": f"fine-tuned from {source.place}",
    }
    save_encoder(model, folder, config=model.arguments, card=card)
    RunFolder(folder).write_metrics(trained.rows)
    write_results(RunFolder(folder), evaluation, out)
    found = source.given if source.run is not None and options.out is None else folder
    say(out, f"fine-tuned encoder: {folder}; to use it: jepakit graph predict {found} DATA")
    return Outcome({"predictor": folder, "rows": [asdict(row) for row in evaluation.rows]})


def run_predict(options: PredictOptions, out: Console) -> None:
    """Writes predictions to a file."""
    source = source_of(options.run)
    require_known_format("out", options.out)
    model = source.predictor(Predictor, options.predictor)
    dataset = data_of(source, options, model.encoder, label_columns=())
    columns, graph = graph_rows(dataset)
    columns |= {name: placed(values, graph) for name, values in predicted_columns(model, dataset.graphs).items()}
    write_rows(options.out, columns)
    say(out, f"predictions for {len(graph)} rows in {options.out}{unread_note(graph, 'them')}")


def predicted_columns(model: Predictor, graphs: Graphs) -> dict[str, list[Any]]:
    """``prediction`` and ``probability`` of the class, or a value or probability for each target; ``[G]`` each."""
    if model.task == "graph classification":
        probability, label = model.probabilities(graphs).max(1)
        return {"prediction": [model.label_names[at] for at in label.tolist()], "probability": probability.tolist()}
    kind = "probability" if model.task == "graph multilabel" else "prediction"
    columns = model.predict(graphs).T.tolist()
    return {f"{kind} {name}": column for name, column in zip(model.label_names, columns, strict=True)}
