"""What is learned without labels: the teacher's reading by hand, and that paths are learned from their wordings."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.film_samples import BOTH, CONFIG, GRAPH, Words
from torch import Tensor

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import Questions
from jepakit.kgqa.paths.batches import QUESTION_WORDINGS, QUESTIONS_OF_A_WORDING, PathBatches
from jepakit.kgqa.paths.candidates import find_candidates
from jepakit.kgqa.paths.fitting import fit_retriever
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.paths.objective import (
    AnswerLikelihood,
    ObjectiveConfig,
    PathJEPA,
    QuestionBatch,
    RetrieverViews,
    read_wordings,
)
from jepakit.kgqa.paths.reach import PathTable, Walker
from jepakit.kgqa.paths.vectors import PathVectors
from jepakit.kgqa.retriever import mask_topics

ENCODER = Words()


def matcher_of() -> PathMatcher:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PathMatcher(ENCODER.dim, GRAPH.num_steps, 2, hidden=16, step_dim=8)


def batches_of(labelled: list[int], *, read: bool = True) -> PathBatches:
    table = PathTable(GRAPH.num_steps)
    candidates = find_candidates(Walker(GRAPH), table, BOTH, 2)
    texts = mask_topics(GRAPH, BOTH)
    vectors = ENCODER.encode(texts, "query")
    paths = PathVectors(GRAPH, ENCODER, table, 2, 3)
    return PathBatches(texts, vectors, candidates, paths, torch.tensor(labelled, dtype=torch.long), read=read)


def train(loss: Callable[[RetrieverViews], Tensor], matcher: PathMatcher, batches: PathBatches, steps: int) -> None:
    optimizer = torch.optim.Adam(matcher.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        loss(batches(torch.arange(8), torch.Generator().manual_seed(step))).backward()
        optimizer.step()


def test_the_teacher_reads_what_the_questions_of_a_wording_agree_on() -> None:
    # Two wordings: the first has questions 0 and 1, the second has question 2. Question 1 lacks path 2.
    batch = QuestionBatch(
        texts=torch.zeros(2, 4),
        wording=torch.tensor([0, 0, 1]),
        ptr=torch.tensor([0, 3, 5, 7]),
        path=torch.tensor([0, 1, 2, 0, 1, 1, 2]),
        share=torch.zeros(7),
    )
    logits = torch.tensor([[0.0, 0.0, 5.0], [9.0, 1.0, 1.0]])
    confidence, path = read_wordings(logits, batch, support=0.8)
    # Path 2 is likely for question 0, but half of the topics lack it. Path 0 and 1 are equal: the first of them.
    first = (1 / (2 + np.exp(5)) + 1 / 2) / 2
    assert confidence.tolist() == pytest.approx([first, 0.5])
    assert path.tolist() == [0, 1]
    loose, path = read_wordings(logits, batch, support=0.5)
    assert path.tolist() == [2, 1]
    assert loose[0].item() == pytest.approx(np.exp(5) / (2 + np.exp(5)) / 2)


def test_a_batch_has_the_candidates_of_its_questions() -> None:
    batches = batches_of([0, 3, 15])
    views = batches(torch.tensor([0, 1, 2, 3]), torch.Generator().manual_seed(0))
    assert views.labelled is not None
    assert views.unlabelled is not None
    drawn = torch.randperm(3, generator=torch.Generator().manual_seed(0)).tolist()
    rows = [(0, 3, 15)[place] for place in drawn]
    assert torch.equal(views.labelled.texts, batches.vectors[rows])
    for place, row in enumerate(rows):
        own = slice(*batches.ptr[row : row + 2].tolist())
        inside = views.labelled.owner == place
        assert torch.equal(views.labelled.path[inside], batches.path[own])
        assert torch.equal(views.labelled.share[inside], batches.share[own])
    # All films have two wordings: "who made X" and "when was X shown".
    assert len(views.unlabelled.texts) == 2 <= QUESTION_WORDINGS
    assert views.unlabelled.wording.bincount().tolist() == [QUESTIONS_OF_A_WORDING] * 2
    assert {tuple(row.tolist()) for row in views.unlabelled.texts} == {tuple(row.tolist()) for row in batches.vectors}


def test_a_large_table_is_contrasted_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jepakit.kgqa.paths.batches.CONTRASTED_PATHS", 3)
    paths = [
        batches_of(labelled, read=False)(torch.arange(1), torch.Generator().manual_seed(0)).paths
        for labelled in ([], [0])
    ]
    # Film 0 has all four paths of the graph, and they are all kept.
    assert [0 if one is None else len(one.steps) for one in paths] == [3, 4]


def test_a_path_is_predicted_from_wordings_that_its_target_leaves_out() -> None:
    batches = batches_of([])
    views = batches(torch.arange(0), torch.Generator().manual_seed(1))
    assert views.labelled is None
    worded = views.target
    for text, vector, steps in zip(views.context, worded.vectors, worded.steps, strict=True):
        path = batches.paths.table.row([step for step in steps.tolist() if step < GRAPH.num_steps])
        assert path is not None
        wordings = batches.paths.of_wordings([path])[0]
        (chosen,) = (wordings == text).all(1).nonzero()[:1, 0].tolist()
        others = wordings[[row for row in range(3) if row != chosen]]
        assert torch.allclose(vector, F.normalize(others.sum(0), dim=-1), atol=1e-6)


@pytest.mark.parametrize("change", [{}, {"contrast": 0.0, "regression": 1.0}])
def test_wordings_alone_teach_paths(change: dict[str, float]) -> None:
    matcher, batches = matcher_of(), batches_of([], read=False)
    jepa = PathJEPA(matcher, ObjectiveConfig(questions_weight=0.0, **change), steps=100)
    before = jepa(batches(torch.arange(0), torch.Generator().manual_seed(9))).total.item()
    train(lambda views: jepa(views).total, matcher, batches, 30)
    assert jepa(batches(torch.arange(0), torch.Generator().manual_seed(9))).total.item() < 0.8 * before


def test_the_student_listens_after_its_share_of_the_steps() -> None:
    matcher, batches = matcher_of(), batches_of([0])
    jepa = PathJEPA(matcher, ObjectiveConfig(listen_after=0.5, confidence=0.0, momentum=0.5), steps=4)
    heard: list[bool] = []
    for step in range(4):
        output = jepa(batches(torch.arange(1), torch.Generator().manual_seed(step)))
        heard.append("questions/contrast" in output.terms)
        jepa.after_step()
    assert heard == [False, False, True, True]
    never = PathJEPA(matcher, ObjectiveConfig(listen_after=0, confidence=1), steps=4)
    assert "questions/contrast" not in never(batches(torch.arange(1), torch.Generator())).terms


def test_answers_alone_teach_the_number_of_relations() -> None:
    matcher, batches = matcher_of(), batches_of([0])
    views = batches(torch.arange(1), torch.Generator())
    jepa = PathJEPA(matcher, ObjectiveConfig(listen_after=0, confidence=0), steps=1)
    output = jepa(views)
    assert "questions/contrast" in output.terms
    output.total.backward()
    assert matcher.length.bias.grad is None
    assert matcher.log_scale.grad is None
    AnswerLikelihood(matcher)(views)["lengths"].backward()
    assert matcher.length.bias.grad is not None
    assert matcher.question[0].weight.grad is not None  # of the step before
    matcher.zero_grad()
    AnswerLikelihood(matcher)(views)["lengths"].backward()
    assert matcher.question[0].weight.grad is None


def test_questions_without_answers_are_used_and_their_answers_are_not_read() -> None:
    labelled, others = BOTH[[0, 12]], BOTH[[*range(1, 12), *range(13, 24)]]
    blank = Questions(others.texts, others.topics, ((),) * len(others))
    config = replace(CONFIG, epochs=1, objective=ObjectiveConfig(confidence=0.1))
    alone, taught, same = (
        fit_retriever(GRAPH, labelled, ENCODER, config, unlabelled=more).encoder.state_dict()
        for more in (None, blank, others)
    )
    assert all(torch.equal(same[name], value) for name, value in taught.items())
    assert not torch.equal(alone["step.weight"], taught["step.weight"])


def test_without_any_label_it_trains_on_questions_alone_or_says_why_not() -> None:
    none = Questions(BOTH.texts, BOTH.topics, ((),) * len(BOTH))
    config = replace(CONFIG, epochs=1)
    fitted = fit_retriever(GRAPH, none, ENCODER, config)
    assert fitted.fit.steps == config.steps_per_epoch
    assert not torch.equal(fitted.encoder.step.weight, fitted.random_encoder.step.weight)
    off = replace(config, objective=ObjectiveConfig(wordings_weight=0, questions_weight=0))
    with pytest.raises(DataError) as error:
        fit_retriever(GRAPH, none, ENCODER, off)
    assert error.value.field == "questions"


@pytest.mark.parametrize("field", ["wordings_weight", "questions_weight", "contrast", "regression"])
def test_weights_below_zero_are_refused(field: str) -> None:
    with pytest.raises(ConfigError) as error:
        ObjectiveConfig(**{field: -1.0})
    assert error.value.field == field
