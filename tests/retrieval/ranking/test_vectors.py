"""What a search follows, and how far: by the query, and by the documents that the base finds for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.ranking.settings import SearchSettings
from jepakit.retrieval.ranking.vectors import Encoded, Familiar, familiar, ranked
from jepakit.search.sentences import Sentences

DIM = 8


def unit(rows: int, seed: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed)), dim=-1)


def adapter() -> Adapter:
    """One that turns every query round, and was trained among queries in one direction and documents in all."""
    model = Adapter(DIM, base="base", fingerprint="f", familiar_queries=40, familiar_documents=200)
    with torch.no_grad():
        for weight in model.predictor.parameters():
            weight.zero_()
        linear = next(weight for weight in model.predictor.parameters() if weight.ndim == 2)
        linear.copy_(-2 * torch.eye(DIM))
    known = torch.nn.functional.normalize(torch.eye(DIM)[0] + 0.1 * unit(40, 1), dim=-1)
    model.familiar_queries.fit(known, torch.arange(40), quantiles=(0.01, 0.05))
    model.familiar_documents.fit(unit(200, 2), torch.arange(200), quantiles=(0.01, 0.05))
    return model


def test_a_strange_query_among_known_documents() -> None:
    model, source = adapter(), Encoded(unit(200, 2))
    at_home, strange = torch.eye(DIM)[:1], torch.eye(DIM)[1:2]
    known = familiar(torch.cat([at_home, strange]), model, source)
    assert known.query.tolist() == [1, 0]
    assert known.collection.tolist() == pytest.approx([1, 1])
    found = ranked(torch.cat([at_home, strange]), model, source, 200, SearchSettings(), known)
    # The one is turned round, and finds last what it is nearest to; the other is searched as the base would.
    assert int(found.rows[0, -1]) == int((source.documents @ at_home[0]).argmax())
    assert int(found.rows[1, 0]) == int((source.documents @ strange[0]).argmax())


def test_a_strange_collection_makes_its_queries_strange() -> None:
    strangers = torch.nn.functional.normalize(torch.eye(DIM)[3] + 0.001 * unit(50, 4), dim=-1)
    model = adapter()
    model.familiar_documents.fit(
        torch.nn.functional.normalize(torch.eye(DIM)[5] + 0.1 * unit(200, 5), dim=-1),
        torch.arange(200),
        quantiles=(0.01, 0.05),
    )
    known = familiar(torch.eye(DIM)[:1], model, Encoded(strangers))
    assert (float(known.query), float(known.collection)) == (0, 0)
    assert float(familiar(torch.eye(DIM)[:1], None, Encoded(strangers)).query) == 1


def test_sentences_follow_the_collection_and_feedback_the_query() -> None:
    documents = torch.eye(DIM)
    # Document 7 has a sentence that says just what is asked, and another that does not.
    parts = Sentences(torch.stack([documents[1], documents[7]]).half().numpy(), np.array([0] * 8 + [2]))
    source = Encoded(documents, parts)
    query, settings = documents[1:2] * 0.8 + documents[2:3] * 0.6, SearchSettings(feedback=1.0, sentences=1.0)

    def first(known: Familiar) -> list[int]:
        return ranked(query, None, source, 2, settings, known).rows[0].tolist()

    nothing, everything = torch.zeros(1), torch.ones(1)
    # By hand: cosines .8 (document 1), .6 (2); the best sentence of 7 has .8, so it comes before 2.
    assert first(Familiar(nothing, everything)) == [1, 7]
    assert first(Familiar(nothing, nothing)) == [1, 2]
    # Feedback of full weight puts the query among its first three documents, nearest to the very first.
    moved = ranked(query, None, source, 1, SearchSettings(feedback=1.0), Familiar(everything, everything))
    assert float(moved.scores) > 0.9
    assert int(moved.rows) == 1
