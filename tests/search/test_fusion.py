"""Fusion of two rankings: values by hand, and properties."""

from __future__ import annotations

import pytest
import torch

from jepakit.errors import ConfigError, DataError
from jepakit.search.fusion import reciprocal_rank, weighted
from jepakit.search.hits import Hits

NONE = -torch.inf


def hits(rows: list[list[int]], scores: list[list[float]] | None = None) -> Hits:
    made = [[float(-place) for place in range(len(row))] for row in rows] if scores is None else scores
    found = torch.tensor(rows)
    return Hits(found, torch.tensor(made).masked_fill(found < 0, NONE))


def test_best_of_a_matrix() -> None:
    found = Hits.best(torch.tensor([[0.1, 0.9, NONE, 0.9], [NONE, NONE, NONE, -5]]), 3)
    assert found.rows.tolist() == [[1, 3, 0], [3, -1, -1]]
    assert found.scores.tolist() == [[pytest.approx(0.9), pytest.approx(0.9), pytest.approx(0.1)], [-5, NONE, NONE]]
    assert Hits.best(torch.zeros(1, 2), 4).rows.tolist() == [[0, 1, -1, -1]]
    assert found.first(1).rows.tolist() == [[1], [3]]
    assert found.found.tolist() == [[True, True, True], [True, False, False]]


def test_reciprocal_rank_by_hand() -> None:
    fused = reciprocal_rank([hits([[7, 3, 5], [1, -1, -1]]), hits([[5, 9], [2, 1]])], 4)
    # 5 is third and first, 7 first, 9 second, 3 second; ties by row.
    assert fused.rows.tolist() == [[5, 7, 3, 9], [1, 2, -1, -1]]
    wanted = [[1 / 63 + 1 / 61, 1 / 61, 1 / 62, 1 / 62], [1 / 61 + 1 / 62, 1 / 61, NONE, NONE]]
    assert torch.allclose(fused.scores, torch.tensor(wanted))
    assert reciprocal_rank([hits([[7, 3]]), hits([[3, 8]])], 1, constant=0).rows.tolist() == [[3]]


def random_hits(queries: int, k: int, documents: int, generator: torch.Generator) -> Hits:
    scores = torch.rand(queries, documents, generator=generator)
    scores[torch.rand(queries, documents, generator=generator) < 0.5] = NONE
    return Hits.best(scores, k)


def dictionaries(found: Hits) -> list[dict[int, float]]:
    pairs = zip(found.rows.tolist(), found.scores.tolist(), strict=True)
    return [{row: score for row, score in zip(*one, strict=True) if row >= 0} for one in pairs]


def test_fusion_of_hits_is_that_of_dictionaries(generator: torch.Generator) -> None:
    first, second = random_hits(50, 12, 30, generator), random_hits(50, 8, 30, generator)

    def scaled(scores: dict[int, float]) -> dict[int, float]:
        low, high = min(scores.values()), max(scores.values())
        return {row: (score - low) / (high - low) for row, score in scores.items()}

    ranks = dictionaries(reciprocal_rank([first, second], 20))
    sums = dictionaries(weighted(first, second, 0.3))
    for query, (one, two) in enumerate(zip(dictionaries(first), dictionaries(second), strict=True)):
        places = [{row: 1 / (61 + place) for place, row in enumerate(each)} for each in (one, two)]
        rows = {*one, *two}
        assert ranks[query] == pytest.approx({row: sum(each.get(row, 0) for each in places) for row in rows})
        low, high = scaled(one), scaled(two)
        assert sums[query] == pytest.approx({row: 0.7 * low.get(row, 0) + 0.3 * high.get(row, 0) for row in rows})
        assert list(sums[query].values()) == sorted(sums[query].values(), reverse=True)


def test_weighted_by_hand() -> None:
    dense = Hits.best(torch.tensor([[0.2, 0.6, 1.0], [0.4, 0.5, 0.6]]), 3)
    words = Hits.best(torch.tensor([[8.0, 0.0, 2.0], [0.0, NONE, 4.0]]), 3)
    assert dictionaries(weighted(dense, words, 0.25)) == [
        pytest.approx({0: 0.25, 1: 0.375, 2: 0.8125}),
        pytest.approx({0: 0.0, 1: 0.375, 2: 1.0}),
    ]
    assert dictionaries(weighted(dense, words, 0))[0] == pytest.approx({0: 0, 1: 0.5, 2: 1})
    assert dictionaries(weighted(dense, words, 1))[0] == pytest.approx({0: 1, 1: 0, 2: 0.25})


def test_a_weight_for_each_query(generator: torch.Generator) -> None:
    dense, words = random_hits(3, 5, 9, generator), random_hits(3, 5, 9, generator)
    weights = torch.tensor([0.0, 0.3, 1.0])
    fused = weighted(dense, words, weights)
    for query, weight in enumerate(weights.tolist()):
        one = slice(query, query + 1)
        alone = weighted(
            Hits(dense.rows[one], dense.scores[one]), Hits(words.rows[one], words.scores[one]), float(weight)
        )
        assert torch.equal(fused.rows[one], alone.rows)
        assert torch.allclose(fused.scores[one], alone.scores)
    with pytest.raises(ConfigError, match=r"expected a number from 0 to 1"):
        weighted(dense, words, torch.tensor([0.5, 1.5, 0.5]))


def test_a_single_hit_counts_in_full_and_none_not_at_all() -> None:
    fused = weighted(hits([[4], [4], [-1]], [[0.2], [0.2], [0.0]]), hits([[-1], [9], [-1]], [[0.0], [3.0], [0.0]]), 0.4)
    assert fused.rows.tolist() == [[4, -1], [4, 9], [-1, -1]]
    assert torch.allclose(fused.scores, torch.tensor([[0.6, NONE], [0.6, 0.4], [NONE, NONE]]))


def test_faults() -> None:
    one, two = hits([[1, 2]]), hits([[1, 2], [3, 4]])
    with pytest.raises(DataError, match=r"rankings of different queries \(found \[1, 2\]\)"):
        reciprocal_rank([one, two], 3)
    with pytest.raises(DataError, match=r"rankings of different queries \(found \[\]\)"):
        reciprocal_rank([], 3)
    with pytest.raises(DataError, match=r"rankings of different queries"):
        weighted(one, two, 0.5)
    with pytest.raises(ConfigError, match=r"weight = 1\.5: expected a number from 0 to 1"):
        weighted(one, one, 1.5)
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        reciprocal_rank([one], 0)
    with pytest.raises(ConfigError, match="constant = -1: expected at least 0"):
        reciprocal_rank([one], 3, constant=-1)
