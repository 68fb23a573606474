"""When there is no answer: a threshold on the confidence of the best answer, chosen on held-out questions.

Held-out questions all have an answer in the graph, so they say nothing about questions that have none. Those are made
from them: the same wording, asked about a topic from which no path leads that answers the original question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.kgqa.data import Ids, Questions
from jepakit.kgqa.paths.candidates import find_candidates
from jepakit.kgqa.retriever import PathRetriever, Ranked

ALWAYS = 2.0
"""The threshold above every confidence: no question is answered."""

#: Held-out questions that are used; more make the threshold hardly better.
_USED = 250
#: Share of the training questions that is held out where there is no split for it, and the fewest questions of which
#: some are: fewer are needed for training.
_SHARE, _FEWEST = 0.1, 100


def choose_threshold(confidence: np.ndarray, correct: np.ndarray, *, max_false: float | None = None) -> float:
    """The least confidence with which to answer, chosen on held-out questions.

    Args:
        confidence: of the answer to each question, from 0 to 1, ``[Q]``.
        correct: whether it is right, ``[Q]`` bool; false where the candidates have no right answer.
        max_false: None: the threshold of the greatest F1, where precision is the share of given answers that are right,
            and recall the share of questions with a right best candidate that are answered. A number: the lowest
            threshold with which at most this share of the given answers is wrong, on these questions.

    Returns:
        0 where answering every question is best; `ALWAYS` where the best candidate is never right, or no threshold
        keeps ``max_false``.

    Raises:
        DataError: there are no questions, or not a number for each.
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if not len(confidence) or len(confidence) != len(correct):
        expected = f"{max(len(correct), 1)}, one for each held-out question"
        raise DataError("no threshold can be chosen", field="confidence", value=len(confidence), expected=expected)
    order = np.argsort(-confidence, kind="stable")
    values, right = confidence[order], np.cumsum(correct[order])
    answered = np.arange(1, len(values) + 1)
    # Questions of equal confidence are answered together.
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    values, right, answered = values[ends], right[ends], answered[ends]
    if max_false is None:
        if not right[-1]:
            return ALWAYS
        # 2PR / (P + R) with P = right / answered and R = right / right[-1]; of equal ones the most answers.
        f1 = 2 * right / (answered + right[-1])
        best = len(f1) - 1 - int(np.argmax(f1[::-1]))
    else:
        allowed = np.flatnonzero(answered - right <= max_false * answered)
        if not len(allowed):
            return ALWAYS
        best = int(allowed[-1])
    return 0.0 if best == len(values) - 1 else float(values[best])


def with_threshold(
    retriever: PathRetriever, held_out: Questions, *, max_false: float | None = None, seed: int = 0
) -> PathRetriever:
    """The retriever with a threshold chosen on held-out questions and on as many without an answer, or fewer.

    Args:
        retriever: trained on other questions.
        held_out: questions with topics and answers; without any, the threshold is 0. Those without a topic are answered
            by text with a confidence of 0: right answers among them speak for a threshold of 0.
        max_false: see `choose_threshold`.
        seed: of the choice of questions, and of the topics of those without an answer.
    """
    questions = held_out.sample(_USED, seed=seed)
    if not len(questions):
        return retriever.with_threshold(0.0)
    vectors = retriever.embed(questions)
    rows, unanswerable = without_answer(retriever, questions, seed=seed)
    ranked = [*retriever.rank(questions, 1), *retriever.rank(unanswerable, 1, vectors=vectors[rows.tolist()])]
    answers = [*questions.answers, *unanswerable.answers]
    confidence = np.array([one.confidence for one in ranked])
    correct = np.array([_is_right(one, gold) for one, gold in zip(ranked, answers, strict=True)])
    return retriever.with_threshold(choose_threshold(confidence, correct, max_false=max_false))


def without_answer(retriever: PathRetriever, questions: Questions, *, seed: int) -> tuple[Ids, Questions]:
    """Questions whose answer the graph does not have.

    Each is one of ``questions``, asked about the topics of another, from which none of the paths leads that reach an
    answer of the original.

    Returns:
        The row of the original of each, and the questions: texts of the originals, topics of others, no answers.
    """
    order = np.random.default_rng(seed).permutation(len(questions))
    moved = replace(questions, topics=tuple(questions.topics[row] for row in order), answers=((),) * len(questions))
    hops = retriever.matcher.hops
    own, other = (find_candidates(retriever.walker, retriever.table, one, hops) for one in (questions, moved))
    paths = max(len(retriever.table), 1)
    right = (own.question * paths + own.path)[own.hits > 0]
    asked = other.question * paths + other.path
    answerable = other.question[np.isin(asked, right)]
    kept = np.ones(len(questions), bool)
    kept[answerable] = False
    # Of a question that no path answers it is not known which paths would; one without paths has nothing to confuse.
    kept &= (own.best_share > 0) & (np.diff(other.ptr) > 0)
    rows = np.flatnonzero(kept)
    return rows, moved[rows]


def training_and_held_out(
    splits: Mapping[str, Questions], questions: Questions, *, train: str, held_out: str | None, seed: int
) -> tuple[Questions, Questions]:
    """The questions to train on, and those that the threshold is chosen on.

    Args:
        splits: all questions by split.
        questions: those of the split ``train``.
        train: its name.
        held_out: the name of another split; None: ``dev`` or ``val`` or, where there is neither, a tenth of
            ``questions`` if these are 100 or more, else none.
        seed: of the choice of a tenth.

    Raises:
        ConfigError: there is no such split, or it is the one to train on.
    """
    if held_out is not None and require_choice("held_out", held_out, splits) == train:
        raise ConfigError("held_out", held_out, "a split that is not trained on")
    name = held_out or next((one for one in ("dev", "val") if one in splits and one != train), None)
    if name is not None:
        return questions, splits[name]
    count = int(_SHARE * len(questions)) if len(questions) >= _FEWEST else 0
    order = np.random.default_rng((seed, 1)).permutation(len(questions))
    return questions[np.sort(order[count:])], questions[order[:count]]


def _is_right(ranked: Ranked, answers: tuple[int, ...]) -> bool:
    return bool(len(ranked.entities)) and int(ranked.entities[0]) in answers
