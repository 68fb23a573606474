"""Training of an adapter: choose settings on held-out pairs, train on all pairs, remember the training data."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, replace

import torch
from torch import Tensor

from jepakit.core import diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import ConfigError
from jepakit.retrieval.adapter.selection import Choice, SelectionConfig, choose
from jepakit.retrieval.adapter.tuning import Strategy, TuningConfig
from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.datasets.held_out import hold_out
from jepakit.retrieval.datasets.made_pairs import made_pairs
from jepakit.retrieval.datasets.splits import ensure_splits, source_numbers
from jepakit.retrieval.encoder import Adapter, AdapterConfig
from jepakit.retrieval.measuring.untrained import Untrained
from jepakit.retrieval.objective import ObjectiveConfig, fit_adapter
from jepakit.retrieval.ranking import SearchSettings
from jepakit.retrieval.views import ViewConfig
from jepakit.search.documents import Documents
from jepakit.text import TextEncoder
from jepakit.training import FitConfig, RunFolder, results, save_trained
from jepakit.training.results import PointFacts

#: Quantiles of held-out nearness at which a query, or a document, counts as unfamiliar (0) and as familiar (1).
_QUERY_QUANTILES = (0.01, 0.05)
_DOCUMENT_QUANTILES = (0.02, 0.2)
#: Documents that are remembered. A remembered document is surely at home.
_MOST_DOCUMENTS = 8192
#: Characters of a query or a title that a report shows.
_SHOWN = 200


@dataclass
class PretrainConfig(FitConfig):
    """The options of training, besides the documents, the pairs and the base model.

    Args:
        adapter: the network.
        objective: the loss.
        views: the candidates that a prediction is contrasted with.
        selection: the settings that are compared on held-out pairs.
        familiarity: fall back to the base model for queries and documents unlike the training data.
        most_made_pairs: the most pairs to make from the corpus, if it has none.
        strategy: ``frozen``: the base is not trained. Otherwise it is tuned before the adapter: ``two-phase`` trains
            the predictor first, then the base at a tiny learning rate; ``full`` trains both from the start, the base at
            a small rate; ``lora`` trains low-rank additions to the base's linear maps (extra ``lora``).
        tuning: how the base is tuned.
    """

    epochs: int = 10
    batch_size: int = 128
    weight_decay: float = 0.01
    warmup_epochs: float = 0.0
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    familiarity: bool = True
    most_made_pairs: int = 5000
    strategy: Strategy = "frozen"
    tuning: TuningConfig = field(default_factory=TuningConfig)


@dataclass(frozen=True, kw_only=True)
class Pretrained(results.Pretrained[Adapter]):
    """A trained adapter and its settings; its strength is 0 if it is not significantly better than the base.

    The diagnosis compares its vectors of the training queries with those of the base.
    """

    choice: Choice


def pretrain(
    dataset: RetrievalDataset,
    encoder: TextEncoder,
    config: PretrainConfig,
    *,
    run: RunFolder | None = None,
    resume: bool = False,
    tuned: bool | None = None,
) -> Pretrained:
    """Trains an adapter on the train and dev pairs of a collection; its test pairs are not used.

    Args:
        dataset: documents, queries, pairs.
        encoder: the frozen base.
        config: the options.
        run: the folder for checkpoint, metrics, ``encoder/`` and diagnosis; None writes nothing.
        resume: continue from the checkpoint in ``run``.
        tuned: whether the base was tuned on the training pairs (`jepakit.retrieval.tune`); if so, only the development
            pairs are held out. None: not tuned; ``config.strategy`` must then be ``frozen``.

    Raises:
        ConfigError: two options exclude each other.
        DataError: there are no pairs.
    """
    if tuned is None and config.strategy != "frozen":
        way_out = "frozen; or call jepakit.retrieval.tune first, and train with its encoder and tuned=True or False"
        raise ConfigError("strategy", config.strategy, way_out)
    dataset = with_training_pairs(dataset, seed=config.seed, most_made_pairs=config.most_made_pairs)
    selection = config.selection
    # Before anything is encoded, which takes long.
    held_out = hold_out(dataset, folds=selection.folds, enough=selection.enough, seed=config.seed, tuned=bool(tuned))
    queries = encoder.encode(dataset.queries.texts, "query")
    documents = encoder.encode(dataset.documents.passages, "document")
    pairs = dataset.training
    compared = config
    if not dataset.labelled:
        # A made query is a part of its document, unlike a real question. Held-out scores on made pairs are too
        # optimistic about the adapter and misleading about the other settings, so these are not chosen by them.
        strengths = [min(config.selection.strengths)]
        selection = replace(config.selection, strengths=strengths, feedback=[], sentences=[], words=[])
        compared = replace(config, selection=selection)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        adapter = Adapter(
            encoder.dim, base=encoder.name, fingerprint=encoder.fingerprint, home=True, **asdict(config.adapter)
        )
        adapter.towers.fit_start(documents)
        untrained = copy.deepcopy(adapter).eval()
        choice = choose(adapter, dataset, encoder, (queries, documents), compared, held_out)
        if not dataset.labelled:
            words = config.selection.words_elsewhere if config.selection.words else 0.0
            sentences = next(iter(config.selection.sentences), 0.0)
            settings = SearchSettings(words=words, sentences=sentences, words_elsewhere=words)
            floors = Untrained(together=settings)
            choice = replace(choice, settings=settings, untrained=floors, steps=None, untrained_steps=None)
        chosen = replace(config, objective=choice.objective)
        result = fit_adapter(adapter, queries, documents, pairs, chosen, run=run, resume=resume)
    adapter.strength.fill_(choice.strength)
    if config.familiarity:
        _remember(adapter, queries, documents, pairs, dataset, config.seed)
    before = queries[pairs.queries]
    diagnosis = diagnose(adapter(before), reference_rank=effective_rank(before))
    if run is not None:
        count = sum(len(pairs) for name, pairs in dataset.splits.items() if name != "test")
        save_trained(
            run,
            adapter,
            untrained,
            devices=config.processes,
            diagnosis=diagnosis,
            embeddings=adapter(before),
            facts=_facts(dataset, pairs),
            card={
                "dataset": f"{dataset.name}: {len(dataset.documents)} documents, {count} pairs. {dataset.origin}",
                "method": f"adapter of {adapter.base}, strength {choice.strength:g}",
            },
        )
    return Pretrained(encoder=adapter, random_encoder=untrained, fit=result, diagnosis=diagnosis, choice=choice)


def _facts(dataset: RetrievalDataset, pairs: Pairs) -> PointFacts:
    """The queries ``pairs.queries``, each with a document that answers it."""
    answer = dict(zip(pairs.query.tolist(), pairs.document.tolist(), strict=True))
    documents = dataset.documents
    titles: list[str] = []
    for row in pairs.queries.tolist():
        title = documents.titles[answer[row]] or documents.ids[answer[row]]
        titles.append(f"{dataset.queries.texts[row][:_SHOWN]}\n→ {title[:_SHOWN]}")
    return PointFacts(titles=tuple(titles))


def with_training_pairs(
    dataset: RetrievalDataset, *, seed: int = 0, most_made_pairs: int = PretrainConfig.most_made_pairs
) -> RetrievalDataset:
    """The collection with its own pairs or, without any, with pairs made from its documents.

    A made pair predicts one part of a document from another; these parts are the documents of the result. Pairs without
    splits are divided into train, dev and test by document.
    """
    if any(len(pairs) for pairs in dataset.splits.values()):
        return ensure_splits(dataset, seed=seed)
    made = made_pairs(dataset.documents, seed=seed, limit=most_made_pairs)
    rows = made.pairs.document.tolist()
    source = dataset.documents.source or dataset.documents.ids
    parts = Documents(
        ids=tuple(f"{dataset.documents.ids[row]}#{number}" for number, row in enumerate(rows)),
        texts=made.targets,
        titles=("",) * len(rows),
        metadata=tuple(dataset.documents.metadata[row] for row in rows),
        source=tuple(source[row] for row in rows),
    )
    pairs = replace(made.pairs, document=torch.arange(len(rows)))
    origin = f"{dataset.origin}; pairs made from the documents: a query and its answer are parts of one document"
    made_set = RetrievalDataset(dataset.name, parts, made.queries, {"all": pairs}, origin.strip("; "), labelled=False)
    return ensure_splits(made_set, seed=seed)


def _remember(
    adapter: Adapter, queries: Tensor, documents: Tensor, pairs: Pairs, dataset: RetrievalDataset, seed: int
) -> None:
    """Stores the training queries and documents in the adapter's memory, for familiarity."""
    generator = torch.Generator().manual_seed(seed)
    if dataset.labelled:
        # Queries with the same document form a group: their similarity says nothing about a new query.
        relevant = pairs.relevant
        rows = relevant.queries
        first = torch.full((int(rows.max()) + 1,), len(documents))
        first.scatter_reduce_(0, relevant.query, relevant.document, "amin")
        adapter.familiar_queries.fit(queries[rows], first[rows], quantiles=_QUERY_QUANTILES, generator=generator)
    group = source_numbers(dataset.documents)
    adapter.familiar_documents.fit(
        documents, group, quantiles=_DOCUMENT_QUANTILES, limit=_MOST_DOCUMENTS, generator=generator
    )
