"""The likelihood of answers, computed by hand, and that the frozen start is the cosine."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from jepakit.core.packed import segment_softmax
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.paths.objective import AnswerLikelihood, Paths, QuestionBatch, RetrieverViews

STEPS = torch.tensor([[0, 4, 4], [1, 0, 4], [2, 3, 1]])


def batch_of(share: list[float]) -> RetrieverViews:
    """Two questions: the first has the paths 0 and 1, the second 0 and 2. All logits are the length's bias."""
    questions = QuestionBatch(
        texts=torch.zeros(2, 4),
        wording=torch.tensor([0, 1]),
        ptr=torch.tensor([0, 2, 4]),
        path=torch.tensor([0, 1, 0, 2]),
        share=torch.tensor(share, dtype=torch.float32),
    )
    paths = Paths(F.normalize(torch.ones(3, 4), dim=-1), STEPS)
    return RetrieverViews(torch.zeros(0, 4), paths, paths=paths, labelled=questions)


def matcher_of(**options: object) -> PathMatcher:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PathMatcher(4, 4, 3, hidden=6, step_dim=5, **options)


def zeroed(matcher: PathMatcher) -> PathMatcher:
    """Questions of zeros have the vector 0, so that all cosines are 0."""
    for parameter in matcher.question.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        matcher.length.bias.copy_(torch.tensor([0.0, math.log(3), 0.0, 0.0]))
    return matcher


def test_the_losses_by_hand() -> None:
    losses = AnswerLikelihood(zeroed(matcher_of()), weight=0.5)(batch_of([0, 0.5, 1, 0]))
    # P = (3/4, 1/4) for both; likelihoods 3/4 · 0 + 1/4 · 1/2 and 3/4 · 1 + 0. Each length has one path.
    expected = (-math.log(1 / 8) - math.log(3 / 4)) / 2
    assert losses["lengths"].item() == pytest.approx(expected)
    assert losses["answers"].item() == pytest.approx(expected / 2)


def test_the_best_path_of_a_length_counts_not_how_many_there_are() -> None:
    views = batch_of([0.5, 0, 1, 0])
    assert views.labelled is not None
    # The second question has the wrong path of three relations four times.
    more = replace(
        views.labelled,
        ptr=torch.tensor([0, 2, 7]),
        path=torch.tensor([0, 1, 0, 2, 2, 2, 2]),
        share=torch.tensor([0.5, 0, 1, 0, 0, 0, 0]),
    )
    task = AnswerLikelihood(zeroed(matcher_of()))
    one, four = task(views), task(replace(views, labelled=more))
    assert four["lengths"].item() == pytest.approx(one["lengths"].item())
    assert four["answers"].item() == pytest.approx((-math.log(3 / 8) - math.log(3 / 7)) / 2)


def test_questions_that_no_path_answers_do_not_count() -> None:
    task = AnswerLikelihood(zeroed(matcher_of()))
    for loss in task(batch_of([0, 0, 1, 0])).values():
        assert loss.item() == pytest.approx(-math.log(3 / 4))
    for loss in task(batch_of([0, 0, 0, 0])).values():
        assert loss.item() == 0


def test_a_question_without_paths_has_no_gradient() -> None:
    views = batch_of([0.5, 0, 1, 0])
    assert views.labelled is not None
    first = replace(
        views.labelled, ptr=torch.tensor([0, 2, 2]), path=torch.tensor([0, 1]), share=torch.tensor([1.0, 0])
    )
    matcher = matcher_of()
    torch.stack([*AnswerLikelihood(matcher)(replace(views, labelled=first)).values()]).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in matcher.parameters() if parameter.grad is not None)


def test_probabilities_of_a_question_do_not_depend_on_the_others() -> None:
    logits, ptr = torch.tensor([500.0, 501.0, -500.0, -500.0]), torch.tensor([0, 2, 4])
    found = segment_softmax(logits[:, None], ptr)[:, 0]
    assert torch.allclose(found, torch.tensor([1 / (1 + math.e), math.e / (1 + math.e), 0.5, 0.5]))


def test_before_training_the_score_is_the_cosine() -> None:
    questions, vectors = F.normalize(torch.randn(5, 4), dim=-1), F.normalize(torch.randn(3, 4), dim=-1)
    assert torch.allclose(matcher_of(scale=7.0)(questions, vectors, STEPS), 7 * questions @ vectors.T, atol=1e-5)


def test_paths_of_other_steps_have_other_vectors_after_a_step_of_training() -> None:
    matcher = matcher_of()
    torch.nn.init.normal_(matcher.path_out.weight, generator=torch.Generator().manual_seed(0))
    same = F.normalize(torch.ones(3, 4), dim=-1)
    embedded = matcher.embed_paths(same, STEPS)
    assert torch.pdist(embedded).min() > 1e-3
    # What follows the end of a path has no effect on it.
    assert torch.allclose(matcher.embed_paths(same[:1], STEPS[:1]), embedded[:1])
    assert torch.equal(matcher_of(path_residual=False).embed_paths(same, STEPS), same)


def test_training_finds_the_path_that_answers() -> None:
    matcher, batch = matcher_of(), batch_of([0, 1, 0, 1])
    assert batch.labelled is not None
    batch = replace(batch, labelled=replace(batch.labelled, texts=torch.eye(4)[:2]))
    task = AnswerLikelihood(matcher)
    optimizer = torch.optim.Adam(matcher.parameters(), lr=0.05)
    before = task(batch)["answers"].item()
    for _ in range(50):
        optimizer.zero_grad()
        task(batch)["answers"].backward()
        optimizer.step()
    assert task(batch)["answers"].item() < 0.1 * before


def test_paths_share_the_states_of_their_beginnings() -> None:
    """The states are those of the recurrent network run along each path by itself."""
    matcher = matcher_of()
    steps = torch.tensor([[a, b, c] for a in range(4) for b in range(5) for c in range(5) if b < 4 or c == 4])
    torch.nn.init.normal_(matcher.path_out.weight, generator=torch.Generator().manual_seed(0))
    for row, vector in zip(steps, matcher.embed_paths(torch.zeros(len(steps), 4), steps), strict=True):
        alone, _ = matcher.path(matcher.step(row[row < 4])[None])
        assert torch.allclose(vector, F.normalize(matcher.path_out(alone[0, -1]), dim=-1), atol=1e-6)
