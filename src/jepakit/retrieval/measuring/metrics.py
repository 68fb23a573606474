"""The measure that choices are made by, fast enough to be asked thousands of times."""

from __future__ import annotations

import torch
from torch import Tensor

from jepakit.core.packed import positions
from jepakit.retrieval.data import Pairs

__all__ = ["ndcg", "top_documents"]


def top_documents(queries: Tensor, documents: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The nearest documents by inner product: ``[Q, D], [N, D] -> scores [Q, K], rows [Q, K]``, best first.

    K is ``count``, or the number of documents where that is smaller.
    """
    count = min(count, len(documents))
    # A block of scores at a time: all of them at once need not fit into memory.
    blocks = [
        (some @ documents.T).topk(count, dim=1) for some in queries.split(max(1, 2**26 // max(1, len(documents))))
    ]
    if not blocks:
        return queries.new_zeros(0, count), torch.zeros(0, count, dtype=torch.long)
    return torch.cat([block.values for block in blocks]), torch.cat([block.indices for block in blocks])


def ndcg(found: Tensor, queries: Tensor, pairs: Pairs, *, at: int = 10) -> Tensor:
    """Normalised discounted cumulative gain of each query: ``[Q]``, from 0 to 1.

    Args:
        found: rows of documents, best first, ``[Q, K]``.
        queries: the row of each query, ``[Q]``, none twice.
        pairs: the judgements; a query without a relevant document scores 0.
        at: how many documents count.

    Source: Järvelin & Kekäläinen 2002, with the gain linear in the grade, as trec_eval has it.
    """
    found = found[:, :at]
    place = torch.full((int(max(queries.max(), pairs.query.max())) + 1,), -1)
    place[queries] = torch.arange(len(queries))
    pairs = pairs.relevant
    pairs = pairs[place[pairs.query] >= 0]
    row = place[pairs.query]
    discount = 1 / torch.log2(torch.arange(2, at + 2).float())
    # Best grades of each query first; the place of a pair within its query is its rank in the ideal order.
    order = torch.argsort(row * (int(pairs.grade.max()) + 1 if len(pairs) else 1) - pairs.grade, stable=True)
    row, document, grade = row[order], pairs.document[order], pairs.grade[order].float()
    within = positions(torch.bincount(row, minlength=len(queries)))
    ideal = torch.zeros(len(queries)).index_add_(
        0, row[within < at], grade[within < at] * discount[within[within < at]]
    )
    width = int(max(found.max() if found.numel() else 0, document.max() if len(document) else 0)) + 1
    keys, sorting = (row * width + document).sort()
    wanted = torch.arange(len(queries))[:, None] * width + found
    if not len(keys):
        return torch.zeros(len(queries))
    at_key = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    gain = torch.where(keys[at_key] == wanted, grade[sorting][at_key], 0.0)
    return (gain * discount[: found.shape[1]]).sum(1) / ideal.clamp(min=1e-12)
