"""What adapting does to vectors: how near a prediction is to the relevant document, and how the vectors are spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from jepakit.core.diagnostics import alignment, diagnose
from jepakit.retrieval.data import Pairs
from jepakit.training.report.embedding_map import sample_rows
from jepakit.training.report.page import described
from jepakit.training.report.sections import ReportSection

#: Vectors that the spread is measured on.
_SPREAD_SAMPLE = 2000


@dataclass(frozen=True)
class PredictionError:
    """Mean squared distance ``‖ẑ − d‖²`` of unit vectors, from 0 to 4.

    Args:
        answers: between a prediction and the documents that answer its query.
        shuffled: between a prediction and the documents that answer other queries, as a floor; None where every
            document answers every query.
    """

    answers: float
    shuffled: float | None


def prediction_error(queries: Tensor, documents: Tensor, pairs: Pairs) -> PredictionError:
    """The distance between predictions and the documents they predict.

    Args:
        queries: search vectors, ``[Q, D]``.
        documents: index vectors, ``[N, D]``.
        pairs: at least one pair; only grades of 1 and above are used.
    """
    pairs = pairs.relevant
    answers = alignment(queries[pairs.query], documents[pairs.document])
    predictions = F.normalize(queries[pairs.queries].double(), dim=1)
    targets = F.normalize(documents[pairs.documents].double(), dim=1)
    # The sum over every prediction with every target, without forming all of these pairs.
    squares = len(targets) * predictions.square().sum() + len(predictions) * targets.square().sum()
    total = float(squares - 2 * predictions.sum(0) @ targets.sum(0))
    others = len(predictions) * len(targets) - len(pairs)
    return PredictionError(answers, (total - len(pairs) * answers) / others if others > 0 else None)


def mean_cosine(vectors: Tensor) -> float:
    """The mean cosine of two different rows of ``[N, D]``, N at least 2: 1 where all are equal.

    Source: Ethayarajh 2019, as a measure of anisotropy.
    """
    unit = F.normalize(vectors.double(), dim=1)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (len(unit) * (len(unit) - 1)))


def prediction_section(sides: Mapping[str, tuple[Tensor, Tensor]], pairs: Pairs) -> ReportSection:
    """`prediction_error` of several methods, for a report.

    Args:
        sides: method -> its search vectors ``[Q, D]`` and its index vectors ``[N, D]``.
        pairs: as in `prediction_error`.
    """
    errors = {method: prediction_error(queries, documents, pairs) for method, (queries, documents) in sides.items()}
    return ReportSection(
        title="Is the answer predicted?",
        text=(
            "Mean squared distance ‖ẑ − d‖² of unit vectors on the pairs measured above: from the search vector of a"
            " query to the documents that answer it and, as a floor, to documents that answer other queries. The lower"
            " the ratio, the better the prediction. An adapter with a predictive weight of 0 is trained to rank answers"
            " first, not to predict their vectors."
        ),
        columns=("Method", "To its answers", "To shuffled answers", "Ratio"),
        rows=tuple(
            (method, error.answers, error.shuffled, error.answers / error.shuffled if error.shuffled else None)
            for method, error in errors.items()
        ),
    )


def spread_section(kinds: Mapping[str, Mapping[str, Tensor]]) -> ReportSection:
    """How the vectors of several methods are spread, for a report.

    Args:
        kinds: ``queries`` or ``documents`` -> method -> vectors, ``[N, D]``, with the same methods for each kind. Of
            more than 2000 vectors a sample is measured; a kind with fewer than 3 is left out.
    """
    measured = {
        kind: {method: _spread(vectors) for method, vectors in methods.items()}
        for kind, methods in kinds.items()
        if all(len(vectors) >= 3 for vectors in methods.values())
    }
    methods = list(dict.fromkeys(method for spreads in measured.values() for method in spreads))
    return ReportSection(
        title="Embeddings before and after",
        text="How the vectors of the base model and of the adapter are spread.",
        columns=("Diagnostic", "Vectors of", *methods, "How to read it"),
        rows=tuple(
            (title, kind, *(spread[name] for spread in spreads.values()), hint)
            for kind, spreads in measured.items()
            for name in next(iter(spreads.values()))
            for title, hint in [described(name)]
        ),
    )


def _spread(vectors: Tensor) -> dict[str, float]:
    sample = vectors[sample_rows(len(vectors), _SPREAD_SAMPLE)]
    return {**diagnose(sample).values, "mean_cosine": mean_cosine(sample)}
