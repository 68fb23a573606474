"""From documents and pairs to a search: tune the base, train the adapter, measure it, index the documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from jepakit.errors import require_choice
from jepakit.mapping import Map
from jepakit.progress import phase, shown
from jepakit.retrieval.adapter.stage import base_of, tune_base, untuned
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.evaluate import EvaluateConfig, evaluate
from jepakit.retrieval.measuring import untrained
from jepakit.retrieval.measuring.comparison import Comparison
from jepakit.retrieval.pretrain import PretrainConfig, Pretrained, pretrain, with_training_pairs
from jepakit.retrieval.ranking import SearchSettings, encode_documents
from jepakit.retrieval.serving.searcher import document_fingerprint
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.stage import finish_static
from jepakit.search.collection import Collection, create_collection, open_collection
from jepakit.search.index import Index
from jepakit.search.vectors import IndexConfig
from jepakit.text import TextConfig, TextEncoder, load_cached_encoder
from jepakit.training import RunFolder, is_first_process, load_encoder_as


@dataclass
class PipelineConfig(PretrainConfig):
    """Options of training, evaluation and indexing.

    Args:
        text: the base model.
        index: make the index of the corpus too, in ``index/`` of the run.
        vectors: the kind of index.
        evaluate: what is measured on the test pairs, if there are any.
        query_encoder: ``static`` trains a table of token vectors too, which answers familiar queries in place of the
            base model, without torch.
        static: how.
    """

    text: TextConfig = field(default_factory=TextConfig)
    index: bool = True
    vectors: IndexConfig = field(default_factory=IndexConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    query_encoder: Literal["transformer", "static"] = "transformer"
    static: StaticConfig = field(default_factory=StaticConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("query_encoder", self.query_encoder, ("transformer", "static"))


@dataclass(frozen=True)
class Adapted:
    """The results of a run.

    Args:
        pretrained: the adapter and how it was chosen.
        evaluation: on the test pairs; None without test pairs, and in all processes but the first.
        index: of the corpus; None without ``config.index``, and in all processes but the first.
    """

    pretrained: Pretrained
    evaluation: Comparison | None = None
    index: Index | None = None


def adapt(
    corpus: RetrievalDataset,
    config: PipelineConfig,
    run: RunFolder,
    *,
    resume: bool = False,
    mapped: Map = map,
    say: Callable[[str], None] = lambda _: None,
) -> Adapted:
    """Adapts a text encoder to documents and pairs, measures it, and indexes the documents.

    Args:
        corpus: the documents and their pairs; without pairs, pairs are made from the documents.
        config: the options.
        run: the folder for the adapter, the tuned base, the search settings and the index.
        resume: continue the run in the folder.
        mapped: where the base model encodes texts, see `jepakit.mapping.mapping`.
        say: called with a sentence about each step.

    Raises:
        ConfigError: options that do not go together.
        DataError: there is nothing to learn from.
    """
    dataset = with_training_pairs(corpus, seed=config.seed, most_made_pairs=config.most_made_pairs)
    counts = ", ".join(f"{len(pairs)} {name}" for name, pairs in dataset.splits.items())
    say(f"{dataset.name}: {len(dataset.documents)} documents, {counts} pairs; run in {run.path}")
    if config.strategy != "frozen":
        say(tune_base(run, dataset, config.text, config, resume=resume))
    base = base_of(run, config.text)
    with shown(config.progress):
        encoder = load_cached_encoder(base, mapped=mapped)
        pretrained = pretrain(dataset, encoder, config, run=run, resume=resume, tuned=base != config.text)
        if not is_first_process(config.processes):
            return Adapted(pretrained)
        say(pretrained.choice.sentence)
        pretrained.choice.settings.write(run.path / "search.json")
        pretrained.choice.untrained.write(run.path / untrained.FILE)
        static = None
        if config.query_encoder == "static":
            adapter, documents = pretrained.encoder, corpus.documents
            static = finish_static(
                run,
                documents,
                dataset,
                encoder,
                adapter,
                pretrained.choice.settings,
                config.static,
                say=say,
                resume=resume,
            )
        evaluation = evaluate(
            dataset,
            encoder,
            pretrained.encoder,
            pretrained.choice.settings,
            config.evaluate,
            weights=pretrained.choice.untrained,
            floor=untuned(run, config.text),
            random_encoder=pretrained.random_encoder,
            static=static,
        )
        index = build_index(run, corpus, encoder, config.vectors) if config.index else None
    return Adapted(pretrained, evaluation, index)


def build_index(run: RunFolder, dataset: RetrievalDataset, encoder: TextEncoder, config: IndexConfig) -> Index:
    """Builds the index of a run from the documents of ``dataset``, in place of an earlier index.

    Raises:
        ModelError: the run has no adapter.
    """
    adapter = load_encoder_as(Adapter, run.encoder)
    with_sentences = SearchSettings.read(run.path / "search.json").sentences > 0
    vectors, sentences = encode_documents(dataset.documents, encoder, adapter, sentences=with_sentences)
    with phase(f"indexing {len(dataset.documents)} documents"):
        return Index.build(
            run.path / "index",
            dataset.documents,
            vectors,
            base=encoder.name,
            fingerprint=document_fingerprint(encoder, adapter),
            sentences=sentences,
            config=config,
        )


def add_to_index(
    run: RunFolder, dataset: RetrievalDataset, encoder: TextEncoder, *, to: str | None = None, create: bool = False
) -> Collection:
    """Adds the documents of ``dataset`` to the index of a finished run, or to a collection in a database.

    Args:
        run: the run.
        dataset: the documents.
        encoder: the run's base model.
        to: address of the collection, see `jepakit.search.collection.open_collection`; None: the run's own index.
        create: make the collection first.

    Raises:
        ConfigError: the collection to make is there already.
        ModelError: there is no index, or it was made with another base model.
    """
    adapter = load_encoder_as(Adapter, run.encoder)
    fingerprint = document_fingerprint(encoder, adapter)
    if create and to is not None:
        index = create_collection(to, dim=adapter.out_dim, base=encoder.name, fingerprint=fingerprint)
    else:
        index = open_collection(to or run.path / "index", fingerprint=fingerprint)
    stored = index.sentences is not None
    index.add(dataset.documents, *encode_documents(dataset.documents, encoder, adapter, sentences=stored))
    return index
