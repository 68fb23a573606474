"""The static encoder of a run: trained after the adapter, in ``static/`` of the run."""

from __future__ import annotations

from collections.abc import Callable

import torch

from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.serving.searcher import document_fingerprint
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.texts import training_questions, training_texts
from jepakit.retrieval.static.training import TrainedStatic, fit_static, tokenizer_rules
from jepakit.search.documents import Documents
from jepakit.search.static.encoder import STATIC, StaticEncoder
from jepakit.search.static.features import tokenizer_of
from jepakit.search.static.shipped import general_encoder
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
    config: StaticConfig,
    *,
    resume: bool,
    say: Callable[[str], None],
) -> StaticEncoder:
    """The static encoder of a run, trained now unless a resumed run has it."""
    folder = run.path / STATIC
    if not (resume and folder.is_dir()):
        trained = train_static(documents, dataset, encoder, config, adapter=adapter)
        card = {
            "dataset": f"{trained.texts} texts of {dataset.name}: {dataset.origin}",
            "method": f"static encoder of queries, which predicts {encoder.name}. {trained.sentence}",
        }
        save_encoder(trained.network, folder, config=trained.network.arguments, card=card)
        say(trained.sentence)
    return StaticEncoder.load(folder)
