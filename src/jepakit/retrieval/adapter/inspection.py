"""What adapting does to vectors: how near a prediction comes to its answer, and how the vectors are spread."""

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

__all__ = ["PredictionError", "mean_cosine", "prediction_error", "prediction_section", "spread_section"]

#: Rows that are looked at to see how vectors are spread.
_SAMPLED = 2000


@dataclass(frozen=True)
class PredictionError:
    """Mean squared distance ``‖ẑ − d‖²`` of unit vectors, from 0 to 4.

    Args:
        answers: between a prediction and the documents that answer its query.
        shuffled: between a prediction and the documents that answer other queries: what comes of a prediction that
            knows where answers lie but not which; None where every document answers every query.
    """

    answers: float
    shuffled: float | None


def prediction_error(queries: Tensor, documents: Tensor, pairs: Pairs) -> PredictionError:
    """How far predictions end from what they predict.

    Args:
        queries: what is searched with, ``[Q, D]``.
        documents: what is searched in, ``[N, D]``.
        pairs: at least one; their queries are rows of ``queries``. Only grades of 1 and above are read.
    """
    pairs = pairs.relevant
    answers = alignment(queries[pairs.query], documents[pairs.document])
    asked = F.normalize(queries[pairs.queries].double(), dim=1)
    told = F.normalize(documents[pairs.documents].double(), dim=1)
    # The sum over every query with every answer, without forming all of these pairs.
    squares = len(told) * asked.square().sum() + len(asked) * told.square().sum()
    everything = float(squares - 2 * asked.sum(0) @ told.sum(0))
    others = len(asked) * len(told) - len(pairs)
    return PredictionError(answers, (everything - len(pairs) * answers) / others if others > 0 else None)


def mean_cosine(vectors: Tensor) -> float:
    """The mean cosine of two different rows: ``[N, D]``, N at least 2; 1 for a point, 0 where directions cancel out.

    Source: Ethayarajh 2019, as a measure of anisotropy.
    """
    unit = F.normalize(vectors.double(), dim=1)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (len(unit) * (len(unit) - 1)))


def prediction_section(sides: Mapping[str, tuple[Tensor, Tensor]], pairs: Pairs) -> ReportSection:
    """`prediction_error` of several methods, for a report.

    Args:
        sides: method -> what it searches with, ``[Q, D]``, and in, ``[N, D]``.
        pairs: as in `prediction_error`.
    """
    errors = {method: prediction_error(queries, documents, pairs) for method, (queries, documents) in sides.items()}
    return ReportSection(
        title="Is the answer predicted?",
        text=(
            "Mean squared distance ‖ẑ − d‖² of unit vectors on the pairs measured above: from what a query is searched"
            " with to the documents that answer it and, as a floor, to those that answer other queries. The lower the"
            " ratio, the better is the answer told. An adapter whose predictive weight is 0 is trained to put answers"
            " first, not to come near them."
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
        kinds: what the vectors are of -> method -> vectors, ``[N, D]``; the methods are the same for each. Where there
            are more than 2000, a sample of them; of fewer than 3 there is nothing to say.
    """
    measured = {
        kind: {method: _spread(vectors) for method, vectors in methods.items()}
        for kind, methods in kinds.items()
        if all(len(vectors) >= 3 for vectors in methods.values())
    }
    methods = list(dict.fromkeys(method for spreads in measured.values() for method in spreads))
    return ReportSection(
        title="Embeddings before and after",
        text="How the vectors are spread, of the base model and after the adapter.",
        columns=("Diagnostic", "Vectors of", *methods, "How to read it"),
        rows=tuple(
            (title, kind, *(spread[name] for spread in spreads.values()), hint)
            for kind, spreads in measured.items()
            for name in next(iter(spreads.values()))
            for title, hint in [described(name)]
        ),
    )


def _spread(vectors: Tensor) -> dict[str, float]:
    some = vectors[sample_rows(len(vectors), _SAMPLED)]
    return {**diagnose(some).values, "mean_cosine": mean_cosine(some)}
