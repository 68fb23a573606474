"""The static encoder of a run: trained after the adapter, in ``static/`` of the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from jepakit.retrieval.data import Pairs, RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.evaluate import searched, searched_by_static
from jepakit.retrieval.measuring.advice import Difference
from jepakit.retrieval.measuring.comparison import measure
from jepakit.retrieval.measuring.metrics import mean_of_copies
from jepakit.retrieval.ranking import DEPTH, Encoded, encode_sentences, familiar
from jepakit.retrieval.serving.searcher import document_fingerprint
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.texts import training_questions, training_texts
from jepakit.retrieval.static.training import TrainedStatic, fit_static, tokenizer_rules
from jepakit.search.documents import Documents
from jepakit.search.settings import SearchSettings
from jepakit.search.static.encoder import STATIC, StaticEncoder
from jepakit.search.static.features import tokenizer_of
from jepakit.search.static.shipped import general_encoder
from jepakit.search.words import LexicalIndex
from jepakit.text import TextEncoder
from jepakit.training import RunFolder, save_encoder

#: Texts whose vectors tell one base from others with the same vocabulary, whose cosines are near 0.
_PROBES = (
    "how the heart pumps blood through the body",
    "opening a file for reading in another encoding",
    "taxes on imported goods",
    "the temperature at which water boils",
)
_ALIKE = 0.5
#: Questions that tell whether static queries do harm.
_JUDGED = 200


def train_static(
    documents: Documents,
    dataset: RetrievalDataset,
    encoder: TextEncoder,
    config: StaticConfig,
    *,
    adapter: Adapter | None = None,
) -> TrainedStatic:
    """Trains a static encoder of queries on the texts of a collection.

    Args:
        documents: the collection.
        dataset: its training questions, whose texts are used if people asked them; never those of the test.
        encoder: the base model, whose vectors the documents have.
        config: the options.
        adapter: its queries are predicted, unless it leaves them as they are.

    Raises:
        ConfigError: the tokeniser of the base is not one of the library ``tokenizers``, or an option does not fit.
        DataError: there are too few texts.
    """
    rules = tokenizer_rules(encoder)
    changes = adapter is not None and (adapter.changes_documents or float(adapter.strength) > 0)
    questions = training_questions(dataset) if config.questions else []
    texts = training_texts(documents, encoder, config, questions=questions, adapter=adapter if changes else None)
    fingerprint = document_fingerprint(encoder, adapter)
    start = start_for(encoder, rules) if config.start == "general" else None
    return fit_static(texts, encoder, config, rules=rules, documents=fingerprint, start=start)


def start_for(encoder: TextEncoder, rules: str) -> StaticEncoder | None:
    """The static encoder that comes with the package, if it predicts the vectors of this base model.

    Args:
        encoder: the base.
        rules: its tokeniser.
    """
    general = general_encoder()
    if general.dim != encoder.dim or len(general.features.tokens) != tokenizer_of(rules).get_vocab_size():
        return None
    predicted = torch.from_numpy(general.encode(_PROBES))
    return general if float((predicted * encoder.encode(_PROBES, "query")).sum(1).mean()) > _ALIKE else None


def finish_static(
    run: RunFolder,
    documents: Documents,
    dataset: RetrievalDataset,
    encoder: TextEncoder,
    adapter: Adapter,
    settings: SearchSettings,
    config: StaticConfig,
    *,
    resume: bool,
    say: Callable[[str], None],
) -> StaticEncoder:
    """The static encoder of a run, trained now unless a resumed run has it.

    With ``no_harm`` it answers no queries where it is significantly worse than the base on 200 questions of train and
    dev, or all of fewer, whose texts it was not trained on.
    """
    folder = run.path / STATIC
    if not (resume and folder.is_dir()):
        held = _held_out(dataset, config.seed) if config.no_harm else Pairs.of([], [])
        train = dataset.training
        splits = {name: pairs for name, pairs in dataset.splits.items() if name == "test"}
        splits["train"] = train[~torch.isin(train.query, held.query)]
        trained = train_static(documents, replace(dataset, splits=splits), encoder, config, adapter=adapter)
        sentences = [trained.sentence]
        if len(held.relevant):
            loss = loss_on(held, dataset, encoder, adapter, settings, trained.network.numpy())
            if loss.high < 0:
                trained.network.set_gate(trained.network.numpy().gate.close())
                sentences.append(f"against the base {loss} NDCG@10 on held-out questions: the base answers all")
        card = {
            "dataset": f"{trained.texts} texts of {dataset.name}: {dataset.origin}",
            "method": f"static encoder of queries, which predicts {encoder.name}. {'; '.join(sentences)}",
        }
        save_encoder(trained.network, folder, config=trained.network.arguments, card=card)
        say("; ".join(sentences))
    return StaticEncoder.load(folder)


def _held_out(dataset: RetrievalDataset, seed: int) -> Pairs:
    """Pairs of the questions that tell whether static queries do harm: those of dev first."""
    pairs = dataset.training.relevant
    order = torch.randperm(len(pairs.queries), generator=torch.Generator().manual_seed(seed))
    drawn = pairs.queries[order]
    first = torch.isin(drawn, dataset.splits["dev"].query) if "dev" in dataset.splits else drawn < 0
    chosen = torch.cat([drawn[first], drawn[~first]])[:_JUDGED]
    return pairs[torch.isin(pairs.query, chosen)]


def loss_on(
    asked: Pairs,
    dataset: RetrievalDataset,
    encoder: TextEncoder,
    adapter: Adapter,
    settings: SearchSettings,
    static: StaticEncoder,
) -> Difference:
    """NDCG@10 of a search with static queries less that of the base model, both with the same steps.

    The adapter's own search is no yardstick here: it was trained on these questions.

    Args:
        asked: pairs of the questions.
        dataset: the collection they are of.
        encoder: the base.
        adapter: trained on that base.
        settings: weights of the steps.
        static: predicts the base's vectors, or the adapter's.
    """
    queries, passages = asked.relevant.queries, dataset.documents.passages
    texts = [dataset.queries.texts[row] for row in queries.tolist()]
    sentences = encode_sentences(dataset.documents, encoder) if settings.sentences else None
    documents = Encoded(encoder.encode(passages, "document"), sentences)
    words = LexicalIndex.build(passages).search(texts, DEPTH) if settings.use_words else None
    vectors = encoder.encode(texts, "query")
    of_base = searched(vectors, None, documents, settings, familiar(vectors, None, documents), words)
    of_both, _ = searched_by_static(static, texts, documents.adapted(adapter), settings, words, of_base)
    reached, of_floor = (measure(hits, queries, asked).values["NDCG@10"] for hits in (of_both, of_base))
    return Difference.of(mean_of_copies(reached - of_floor, dataset.queries.copies(queries.tolist())))
