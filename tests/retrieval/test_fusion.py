"""Fusion of two rankings: values by hand, properties, and the weight chosen on held-out queries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.retrieval.fusion import choose_weight, reciprocal_rank, weighted
from jepakit.retrieval.hits import Hits

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
    dense = torch.tensor([[0.2, 0.6, 1.0], [0.5, 0.5, 0.5]])
    words = torch.tensor([[8.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert torch.allclose(weighted(dense, words, 0.25), torch.tensor([[0.25, 0.375, 0.8125], [0.0, 0.0, 0.0]]))
    assert weighted(dense, words, 0)[0].tolist() == pytest.approx([0, 0.5, 1])
    assert weighted(dense, words, 1)[0].tolist() == pytest.approx([1, 0, 0.25])


def test_a_weight_for_each_query(generator: torch.Generator) -> None:
    dense, words = torch.rand(3, 9, generator=generator), torch.rand(3, 9, generator=generator)
    weights = torch.tensor([0.0, 0.3, 1.0])
    fused = weighted(dense, words, weights)
    hits_fused = weighted(Hits.best(dense, 5), Hits.best(words, 5), weights)
    for query, weight in enumerate(weights.tolist()):
        one = slice(query, query + 1)
        assert torch.allclose(fused[one], weighted(dense[one], words[one], weight))
        alone = weighted(Hits.best(dense[one], 5), Hits.best(words[one], 5), weight)
        assert torch.equal(hits_fused.rows[one], alone.rows)
    with pytest.raises(ConfigError, match=r"expected a number from 0 to 1"):
        weighted(dense, words, torch.tensor([0.5, 1.5, 0.5]))


def test_documents_that_are_not_to_be_found_stay_out_at_any_weight() -> None:
    dense, words = (
        torch.tensor([[0.9, 0.1, 0.5], [NONE, NONE, NONE]]),
        torch.tensor([[NONE, 1.0, 0.0], [1.0, 2.0, 3.0]]),
    )
    for weight in (0, 0.5, 1):
        fused = weighted(dense, words, weight)
        assert fused.isneginf().tolist() == [[True, False, False], [True, True, True]]
        assert not fused.isnan().any()


def test_a_single_hit_counts_in_full_and_none_not_at_all() -> None:
    fused = weighted(hits([[4], [4], [-1]], [[0.2], [0.2], [0.0]]), hits([[-1], [9], [-1]], [[0.0], [3.0], [0.0]]), 0.4)
    assert fused.rows.tolist() == [[4, -1], [4, 9], [-1, -1]]
    assert torch.allclose(fused.scores, torch.tensor([[0.6, NONE], [0.6, 0.4], [NONE, NONE]]))


def test_the_weight_with_the_highest_metric() -> None:
    dense = torch.tensor([[1.0, 0.8, 0.0], [0.0, 1.0, 0.9]])
    words = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.6, 0.0]])

    def right(wanted: list[int], grid: tuple[float, ...] = (0, 0.3, 0.9)) -> float:
        def metric(scores: Tensor) -> float:
            return float((Hits.best(scores, 1).rows[:, 0] == torch.tensor(wanted)).float().mean())

        return choose_weight(dense, words, metric, grid)

    # Query 0 turns from document 0 to 1 at a weight of 1/6, query 1 from 1 to 0 at 5/7.
    assert right([0, 1]) == 0
    assert right([1, 1]) == 0.3
    assert right([1, 0]) == 0.9
    assert right([2, 2]) == 0
    assert choose_weight(Hits.best(dense, 3), Hits.best(words, 3), lambda found: float(found.rows[0, 0] == 1)) == 0.2
    with pytest.raises(ConfigError, match=r"grid = \[\]: expected at least one weight"):
        right([0, 1], ())


def test_faults() -> None:
    one, two = hits([[1, 2]]), hits([[1, 2], [3, 4]])
    with pytest.raises(DataError, match=r"rankings of different queries \(found \[1, 2\]\)"):
        reciprocal_rank([one, two], 3)
    with pytest.raises(DataError, match=r"rankings of different queries \(found \[\]\)"):
        reciprocal_rank([], 3)
    with pytest.raises(DataError, match=r"rankings of different queries"):
        weighted(one, two, 0.5)
    with pytest.raises(DataError, match=r"words: scores of another shape \(found \(1, 3\)\); expected \(1, 2\)"):
        weighted(torch.zeros(1, 2), torch.zeros(1, 3), 0.5)
    with pytest.raises(ConfigError, match=r"weight = 1\.5: expected a number from 0 to 1"):
        weighted(one, one, 1.5)
    with pytest.raises(ConfigError, match="k = 0: expected at least 1"):
        reciprocal_rank([one], 0)
    with pytest.raises(ConfigError, match="constant = -1: expected at least 0"):
        reciprocal_rank([one], 3, constant=-1)
