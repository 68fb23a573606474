"""``jepakit retrieval train | index | search | serve | evaluate | export``."""

from __future__ import annotations

import csv
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console

from jepakit.cli.command import parse
from jepakit.cli.outcome import Outcome
from jepakit.cli.plan import planned
from jepakit.cli.ray_options import RayOptions
from jepakit.cli.reading import Command
from jepakit.cli.retrieval_search import COMMANDS as SEARCH_COMMANDS
from jepakit.cli.retrieval_search import RUN, QueryEncoder, open_searcher, shown_place
from jepakit.cli.runs import (
    RunControl,
    found,
    say,
    say_recommendation,
    show_evaluation,
    trained_run,
    training_run,
    write_results,
)
from jepakit.cli.serving import ServiceOptions
from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.files import whole_file
from jepakit.files.copies import fetched, named
from jepakit.mapping import mapping
from jepakit.retrieval.adapter.stage import base_of, untuned
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.evaluate import EvaluateConfig, evaluate
from jepakit.retrieval.measuring import untrained
from jepakit.retrieval.measuring.comparison import Comparison
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.retrieval.pipeline import PipelineConfig, adapt, add_to_index, build_index
from jepakit.retrieval.presets import PRESETS
from jepakit.retrieval.pretrain import with_training_pairs
from jepakit.retrieval.ranking import SearchSettings
from jepakit.retrieval.serving.export import export_sentence_transformer, left_out
from jepakit.retrieval.serving.searcher import require_base
from jepakit.retrieval.static.export import LEFT_OUT, export_static
from jepakit.search.collection import open_collection
from jepakit.search.index import Index
from jepakit.search.static.encoder import STATIC, StaticEncoder
from jepakit.search.vectors import IndexConfig
from jepakit.text import load_cached_encoder, load_text_encoder
from jepakit.training import RunFolder, load_encoder_as


@dataclass
class CorpusOptions:
    """What to read.

    Args:
        corpus: ``python`` (built in), a name or path of a BEIR folder, a folder of Markdown, text and HTML files, or a
            JSONL or CSV file of documents.
        pairs: which document answers which query: JSONL, CSV, or TREC judgements; none: pairs are made from the corpus.
        queries: the queries that ``pairs`` names, where those are ids.
        data_dir: folder in which names are looked up first; by default the one JEPAKIT_DATA names.
    """

    corpus: str = "python"
    pairs: Path | None = None
    queries: Path | None = None
    data_dir: Path | None = None

    def load(self) -> RetrievalDataset:
        """The documents, queries and pairs that the options name."""
        pairs, queries = (path and fetched(path) for path in (self.pairs, self.queries))
        return load_dataset(fetched(self.corpus), pairs=pairs, queries=queries, data_dir=self.data_dir)


@dataclass
class TrainOptions(PipelineConfig, CorpusOptions, RunControl, RayOptions):
    """Training and what surrounds it.

    Args:
        run: folder of the run.
    """

    run: Path = RUN


@dataclass
class IndexOptions(RayOptions):
    """Indexing documents for a run.

    Args:
        run: folder of a finished run.
        corpus: other documents; by default the run's own.
        add: add to the index that is there, instead of replacing it.
        delete: ids of documents to take out of the index that is there; nothing is added then.
        index: a new table or collection in a database, instead of the run's own index; or, with ``--add`` and
            ``--delete``, one that is there. Such as ``postgresql://user@host/db?table=docs``.
        vectors: the kind of index.
    """

    run: Path = RUN
    corpus: str | None = None
    add: bool = False
    delete: list[str] = field(default_factory=list)
    index: str | None = None
    vectors: IndexConfig = field(default_factory=IndexConfig)


@dataclass
class ServeOptions(ServiceOptions):
    """Serving a run's index over HTTP.

    Args:
        run: folder of a finished run.
        index: another folder or a database, as for ``search``.
        query_encoder: as for ``search``.
    """

    run: Path = RUN
    index: str | None = None
    query_encoder: QueryEncoder = "static"


@dataclass
class ExportOptions:
    """Writing a run as a model of sentence-transformers.

    Args:
        run: folder of a finished run.
        out: a new folder.
        query_encoder: ``static`` writes the run's static encoder, trained without pairs and perceptron, beside the base
            model, in place of the adapter.
    """

    run: Path = RUN
    out: Path = Path("model")
    query_encoder: Literal["transformer", "static"] = "transformer"

    def __post_init__(self) -> None:
        require_choice("query_encoder", self.query_encoder, ("transformer", "static"))


@dataclass
class EvaluateOptions(EvaluateConfig):
    """Measuring a run again, or elsewhere.

    Args:
        run: folder of a finished run.
        corpus: another collection, with pairs; by default the run's own.
        pairs: which document answers which query, as for ``train``.
        queries: the queries that ``pairs`` names, as for ``train``.
        per_query: a CSV file that receives NDCG@10 of each query.
        out: folder for ``results.json`` and ``report.html``; by default the run, where its own collection is measured.
            Of another one, none are written unless a folder is named.
    """

    run: Path = RUN
    corpus: str | None = None
    pairs: Path | None = None
    queries: Path | None = None
    per_query: Path | None = None
    out: Path | None = None


def run_train(options: TrainOptions, out: Console) -> Outcome:
    """Trains, measures, indexes, reports."""
    run = RunFolder(options.run)
    corpus = options.load()
    if options.dry_run:
        pairs = {name: len(split) for name, split in corpus.splits.items()}
        asked = ", ".join(f"{count} pairs in {name}" for name, count in pairs.items()) or "pairs made of them"
        return planned(run, options, f"{options.corpus}: {len(corpus.documents)} documents; {asked}", out)
    if options.ray and options.processes > 1:
        raise ConfigError("ray", True, "false where several processes train: each would start its own")
    with training_run(run, options, out) as training, mapping(ray=options.ray) as mapped:
        adapted = adapt(corpus, options, run, resume=options.resume, mapped=mapped, say=partial(say, out))
        training.diagnosis = adapted.pretrained.diagnosis
        if training.is_first:
            _show_index(adapted.index, out)
            _show(adapted.evaluation, out)
            training.evaluation = adapted.evaluation
    return found(run, training.evaluation)


def run_index(options: IndexOptions, out: Console) -> None:
    """Makes, extends or thins out an index."""
    run = trained_run(options.run)
    place = options.index or run.path / "index"
    if options.delete:
        if options.add or options.corpus:
            raise ConfigError("delete", options.delete, "neither --add nor --corpus beside it")
        with closing(open_collection(place)) as index:
            index.delete(options.delete)
            say(out, f"{len(options.delete)} documents deleted, {len(index)} left in {shown_place(place)}")
        return
    saved = saved_options(run)
    dataset = load_dataset(options.corpus) if options.corpus else saved.load()
    with mapping(ray=options.ray) as mapped:
        encoder = load_cached_encoder(base_of(run, saved.text), mapped=mapped)
        if not options.add and options.index is None:
            _show_index(build_index(run, dataset, encoder, options.vectors), out)
            return
        index = add_to_index(run, dataset, encoder, to=options.index, create=not options.add)
    with closing(index):
        say(out, f"{len(dataset.documents)} documents added, {len(index)} in {shown_place(place)}")


def run_serve(options: ServeOptions, out: Console) -> None:
    """Serves until it is stopped."""
    # FastAPI is for this verb alone.
    from jepakit.retrieval.serving.app import make_app

    run = trained_run(options.run)
    encoder = load_cached_encoder(base_of(run, saved_options(run).text))
    static = options.query_encoder == "static"
    app = make_app(open_searcher(run, encoder, options.index, out, static=static), token=options.token())
    options.serve(app, shown_place(options.index or run.path / "index"), out)


def run_export(options: ExportOptions, out: Console) -> None:
    """Writes a model folder."""
    run = trained_run(options.run)
    saved = saved_options(run)
    if options.query_encoder == "static":
        static, base = StaticEncoder.load(run.path / STATIC), load_text_encoder(base_of(run, saved.text))
        folder = export_static(static, base, options.out)
        say(out, f"left out: {LEFT_OUT}")
        say(out, f'SentenceTransformer("{folder}"): encode_query for queries, encode_document for documents')
        return
    adapter, encoder = load_encoder_as(Adapter, run.encoder), load_text_encoder(base_of(run, saved.text))
    require_base(adapter, encoder)
    settings = SearchSettings.read(run.path / "search.json")
    folder = export_sentence_transformer(adapter, encoder, options.out, dataset=named(saved.corpus), settings=settings)
    for part in left_out(adapter, settings):
        say(out, f"left out: {part}")
    say(out, f'SentenceTransformer("{folder}"): encode_query for queries, encode_document for documents')


def run_evaluate(options: EvaluateOptions, out: Console) -> Outcome:
    """Measures a run on its own test pairs or on another collection."""
    run = trained_run(options.run)
    saved = saved_options(run)
    if options.corpus or options.pairs:
        corpus = fetched(options.corpus or saved.corpus)
        dataset = load_dataset(corpus, pairs=options.pairs, queries=options.queries, data_dir=saved.data_dir)
    else:
        dataset = with_training_pairs(saved.load(), seed=saved.seed, most_made_pairs=saved.most_made_pairs)
    settings, adapter = SearchSettings.read(run.path / "search.json"), load_encoder_as(Adapter, run.encoder)
    random_encoder = load_encoder_as(Adapter, run.random_encoder) if run.random_encoder.exists() else None
    encoder = load_cached_encoder(base_of(run, saved.text))
    evaluation = evaluate(
        dataset,
        encoder,
        adapter,
        settings,
        options,
        weights=Untrained.read(run.path / untrained.FILE),
        floor=untuned(run, saved.text),
        random_encoder=random_encoder,
        static=StaticEncoder.load(run.path / STATIC) if (run.path / STATIC).is_dir() else None,
    )
    if evaluation is None:
        raise DataError("there is nothing to measure on", field="split", value=options.split, expected="pairs in it")
    _show(evaluation, out)
    if options.per_query is not None:
        with whole_file(options.per_query) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(evaluation.per_query[0]))
            table.writeheader()
            table.writerows(evaluation.per_query)
        say(out, f"each query's NDCG@10: {options.per_query}")
    if options.out is not None:
        write_results(RunFolder(options.out), evaluation, out)
    elif options.corpus is None and options.pairs is None:
        write_results(run, evaluation, out)
    else:
        say_recommendation(out, evaluation)
    return found(run, evaluation)


def saved_options(run: RunFolder) -> TrainOptions:
    """The options a run was trained with."""
    return parse(COMMANDS["train"], "jepakit retrieval train", ["--config", str(run.config)])


def _show_index(index: Index | None, out: Console) -> None:
    if index is not None:
        say(out, f"index of {len(index)} documents: {index.folder}")


def _show(evaluation: Comparison | None, out: Console) -> None:
    if evaluation is None:
        say(out, "no test pairs: nothing was measured")
        return
    show_evaluation(evaluation, out)


COMMANDS: dict[str, Command] = {
    "train": Command(TrainOptions, run_train, optional=("corpus",), presets=PRESETS, json=True),
    "index": Command(IndexOptions, run_index, ("run",), ("corpus",), aliases={"to": "index"}),
    **SEARCH_COMMANDS,
    "serve": Command(ServeOptions, run_serve, ("run",)),
    "export": Command(ExportOptions, run_export, ("run",)),
    "evaluate": Command(EvaluateOptions, run_evaluate, ("run",), ("corpus",), json=True),
}
