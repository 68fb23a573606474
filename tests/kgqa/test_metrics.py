"""Metrics of ranked answers, computed by hand."""

import numpy as np
import pytest

from jepakit.errors import DataError
from jepakit.kgqa.metrics import METRICS, answer_metrics


def metrics(ranked: list[int], answers: list[int], **options: list[object]) -> dict[str, float]:
    table = answer_metrics([np.array(ranked, np.int64)], [answers], **options)  # pyright: ignore[reportArgumentType]
    return dict(zip(METRICS, table[0].tolist(), strict=True))


def test_the_second_of_three_is_right() -> None:
    assert metrics([7, 3, 9], [3, 9]) == pytest.approx(
        {"hit@1": 0, "hit@5": 1, "recall@20": 1, "mrr": 1 / 2, "precision": 0, "recall": 0, "f1": 0}
    )


def test_the_first_is_right_and_one_answer_is_not_in_the_graph() -> None:
    found = metrics([3, 7], [3, 5], missing=[1])
    assert found["hit@1"] == found["mrr"] == found["precision"] == 1
    assert found["recall@20"] == found["recall"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx(2 * (1 / 3) / (4 / 3))


def test_a_predicted_set() -> None:
    found = metrics([3, 7, 5], [3, 5], predicted=[np.array([3, 7, 5])])
    assert (found["precision"], found["recall"]) == (pytest.approx(2 / 3), 1)
    assert found["f1"] == pytest.approx(0.8)


def test_ranks_beyond_five_and_twenty() -> None:
    assert metrics([*range(5), 50], [50])["hit@5"] == 0
    assert metrics([*range(5), 50], [50])["mrr"] == pytest.approx(1 / 6)
    assert metrics([*range(20), 50], [50])["recall@20"] == 0


@pytest.mark.parametrize(("ranked", "right"), [([], 1.0), ([4], 0.0)])
def test_a_question_without_answer_is_right_where_none_is_given(ranked: list[int], right: float) -> None:
    assert set(metrics(ranked, []).values()) == {right}


def test_no_answer_at_all() -> None:
    assert set(metrics([], [3]).values()) == {0.0}


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(DataError) as error:
        answer_metrics([np.array([1])], [[1], [2]])
    assert error.value.field == "answers"
