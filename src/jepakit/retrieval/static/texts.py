"""The texts that a static encoder is trained on: those of a collection, without questions' answers or any label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.ranking import sentences_of
from jepakit.retrieval.static.config import StaticConfig
from jepakit.search.documents import Documents
from jepakit.text import Kind, TextEncoder

_FEWEST_WORDS, _MOST_WORDS = 2, 12
#: Cosine from which two vectors of one text are the same.
_ALIKE = 0.999


@dataclass(frozen=True)
class TrainingTexts:
    """Texts and what is predicted from them.

    Args:
        texts: N of them, all different.
        targets: the vectors of the base, or what an adapter makes of them, ``[N, D]``, rows of length 1.
    """

    texts: tuple[str, ...]
    targets: Tensor

    def __len__(self) -> int:
        return len(self.texts)


def training_texts(
    documents: Documents,
    encoder: TextEncoder,
    config: StaticConfig,
    *,
    questions: Sequence[str] = (),
    adapter: Adapter | None = None,
) -> TrainingTexts:
    """Sentences, titles and whole documents of a collection, excerpts where sentences are few, and questions.

    Args:
        documents: the collection.
        encoder: the base; what it has in its cache is not encoded again.
        config: how many.
        questions: texts of training questions.
        adapter: its queries are predicted, at full strength, in place of the base's.
    """
    generator = np.random.default_rng(config.seed)
    sentences = _sample(list(dict.fromkeys(sentences_of(documents.texts)[0])), config.sentences, generator)
    titles = [title for title in documents.titles if title.strip()]
    of_documents = [*sentences, *titles, *documents.passages]
    others = [*excerpts(sentences, config.texts - len(sentences), generator), *questions]
    # What is predicted are queries. Where the base encodes documents alike, these are in its cache already.
    kind: Kind = "document" if _encodes_alike(encoder, of_documents) else "query"
    found: dict[str, Tensor] = {}
    groups: tuple[tuple[list[str], Kind], ...] = ((others, "query"), (of_documents, kind))
    for texts, how in groups:
        new = list(dict.fromkeys(text for text in texts if text not in found))
        found.update(zip(new, encoder.encode(new, how), strict=True))
    # The vector of a blank text is zero.
    known = {text: vector for text, vector in found.items() if bool(vector.any())}
    targets = torch.stack(list(known.values())) if known else torch.zeros(0, encoder.dim)
    return TrainingTexts(tuple(known), targets if adapter is None else adapter.queries(targets))


def training_questions(dataset: RetrievalDataset) -> list[str]:
    """The texts of the training questions of a collection, but for copies of test questions."""
    if not dataset.labelled:
        return []
    test = dataset.splits.get("test")
    tested = set() if test is None else set(test.queries.tolist())
    rows = [row for row in dataset.training.queries.tolist() if row not in tested]
    held = {dataset.queries.texts[row] for row in tested}
    return [text for row in rows if (text := dataset.queries.texts[row]) not in held]


def excerpts(sentences: Sequence[str], most: int, generator: np.random.Generator) -> list[str]:
    """Runs of 2 to 12 words of longer sentences, drawn at random."""
    words = [sentence.split() for sentence in sentences]
    words = [some for some in words if len(some) > _FEWEST_WORDS]
    found: list[str] = []
    if not words or most <= 0:
        return found
    for row in generator.integers(len(words), size=most).tolist():
        count = int(generator.integers(_FEWEST_WORDS, min(_MOST_WORDS, len(words[row]) - 1) + 1))
        first = int(generator.integers(len(words[row]) - count + 1))
        found.append(" ".join(words[row][first : first + count]))
    return found


def _encodes_alike(encoder: TextEncoder, texts: Sequence[str]) -> bool:
    """Whether the base encodes queries as documents, tried on one text; half precision varies a little."""
    return bool((encoder.encode(texts[:1], "query") * encoder.encode(texts[:1], "document")).sum() > _ALIKE)


def _sample(texts: list[str], most: int, generator: np.random.Generator) -> list[str]:
    if len(texts) <= most:
        return texts
    return [texts[row] for row in np.sort(generator.permutation(len(texts))[:most])]
