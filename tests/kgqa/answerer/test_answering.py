import numpy as np
import pytest
import torch

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.abstention import ALWAYS
from jepakit.kgqa.answerer.answering import (
    AnswerSettings,
    QuestionAnswerer,
    answer_of,
    choose_weight,
)
from jepakit.kgqa.answerer.data import BatchMaker, Example
from jepakit.kgqa.answerer.fusion import FUSIONS, FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.model import Answerer
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.data import KnowledgeGraph, Subgraph

EMPTY = Subgraph(np.zeros(0, np.int64), np.zeros((0, 3), np.int64))


def example(scores: list[float] | None, answers: tuple[str, ...] = ("b",), names: str = "abc") -> Example:
    return Example("?", EMPTY, tuple(names), None if scores is None else np.array(scores), answers)


def test_scores_of_both_are_weighted_and_normalised() -> None:
    one = example([float(np.log(0.7)), float(np.log(0.2)), float(np.log(0.1))])
    likelihood = torch.tensor([-3.0, -1.0, -2.0])
    answer = answer_of(one, likelihood, AnswerSettings(weight=0.5))
    raw = np.array([0.7 * np.exp(-3), 0.2 * np.exp(-1), 0.1 * np.exp(-2)]) ** 0.5
    assert answer.order == (1, 0, 2)
    assert (answer.text, answer.nearest) == ("b", "b")
    assert answer.probability == pytest.approx(tuple((raw / raw.sum())[[1, 0, 2]]))
    assert answer.confidence == answer.probability[0]
    assert answer_of(one, None, AnswerSettings(weight=0)).probability == pytest.approx((0.7, 0.2, 0.1))
    assert answer_of(one, likelihood, AnswerSettings(weight=1)).order == (1, 2, 0)


def test_below_the_threshold_there_is_no_answer_but_what_is_nearest() -> None:
    one = example([float(np.log(0.7)), float(np.log(0.2)), float(np.log(0.1))])
    sure, unsure = (answer_of(one, None, AnswerSettings(0, threshold)) for threshold in (0.69, 0.71))
    assert (sure.text, sure.nearest) == ("a", "a")
    assert (unsure.text, unsure.nearest) == (None, "a")
    assert answer_of(one, None, AnswerSettings(0, ALWAYS)).text is None


def test_without_candidates_there_is_no_answer() -> None:
    answer = answer_of(example([], names=""), None, AnswerSettings(0))
    assert (answer.text, answer.nearest, answer.confidence) == (None, None, 0.0)


def test_candidates_beyond_those_that_are_read_stay_behind() -> None:
    one = example([0.0, 0.0, 5.0])
    answer = answer_of(one, torch.tensor([-2.0, -1.0]), AnswerSettings(0.5, rerank=2))
    assert answer.order == (1, 0, 2)
    assert answer.probability[2] == 0


def test_scores_are_needed_unless_the_language_model_decides_alone() -> None:
    with pytest.raises(DataError, match="scores"):
        answer_of(example(None), torch.zeros(3), AnswerSettings(0.5))
    assert answer_of(example(None), torch.tensor([0.0, 1.0, 0.0]), AnswerSettings(1)).text == "b"
    with pytest.raises(ConfigError, match="weight"):
        AnswerSettings(1.1)


def test_the_weight_has_the_most_right_answers() -> None:
    good, bad = [-9.0, 0.0, -9.0], [0.0, -9.0, -9.0]
    # The retriever is right and the language model wrong, and the other way round.
    assert choose_weight([example(good)] * 3, [torch.tensor(bad)] * 3) == 0.0
    assert choose_weight([example(bad)] * 3, [torch.tensor(good)] * 3) == 0.75
    assert choose_weight([example(None)], [torch.tensor(bad)]) == 1.0


@pytest.fixture
def answerer(tiny: LanguageModel, graph: KnowledgeGraph) -> QuestionAnswerer:
    torch.manual_seed(0)
    model = Answerer(tiny, None, FUSIONS["prompt"](0, tiny.width, FusionConfig("prompt"), 0.02))
    make = BatchMaker(graph, tiny, PromptConfig(), soft_tokens=1)
    return QuestionAnswerer(model, make, AnswerSettings(weight=0.5), batch_size=3)


def test_an_answer_is_one_of_the_candidates(answerer: QuestionAnswerer, examples: tuple[Example, ...]) -> None:
    for one, answer in zip(examples, answerer.answer(examples, free=True), strict=True):
        assert answer.text == one.candidates[answer.order[0]]
        assert sum(answer.probability) == pytest.approx(1)
        assert answer.written is not None


def test_calibration_answers_no_fewer_held_out_questions_rightly(
    answerer: QuestionAnswerer, examples: tuple[Example, ...]
) -> None:
    def right(some: QuestionAnswerer) -> int:
        answers = some.answer(examples)
        return sum(answer.nearest in one.answers for answer, one in zip(answers, examples, strict=True))

    tuned = answerer.calibrated(examples)
    assert right(tuned) >= right(answerer)
    never = answerer.calibrated(examples, max_false=0.0)
    assert all(
        answer.text is None or answer.text in one.answers
        for answer, one in zip(never.answer(examples), examples, strict=True)
    )
