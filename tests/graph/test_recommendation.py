"""What is recommended: by hand, from every row, and how often wrongly where there is nothing to gain."""

from collections.abc import Callable

import numpy as np
import pytest

from jepakit.graph.floors import COUNTS
from jepakit.graph.probe.comparison import Interval
from jepakit.graph.probe.folds import stratified_folds
from jepakit.graph.probe.resampling import resampled_accuracy, resamples_of
from jepakit.graph.probe.result import ProbeResult, joined, summarize, summarize_classes
from jepakit.graph.recommendation import RANDOM, Measured, gain_section, gains, recommendation

KERNEL = "WL subtree kernel"
FOLDS, SHUFFLES, RESAMPLES = 10, 3, 20


def folded(*seeds: list[float], models: int = 1, seconds: float = 1.0) -> Measured:
    return Measured(summarize("svm", "accuracy", seeds, [[{}] * len(seeds[0])] * len(seeds)), seconds, models)


def given_split(score: float, replicates: list[float], *, error: bool = False) -> Measured:
    metric = "rmse" if error else "roc auc"
    found = summarize("ridge", metric, [[score]], [[{}]], lower_is_better=error, replicates=replicates)
    return Measured(found, 1.0)


def advised(ours: Measured, others: dict[str, Measured], training_seconds: float | None = None) -> str:
    found = recommendation(ours, others, gains(ours, others), training_seconds)
    assert found is not None
    return found


def bounds_are(found: Interval | None, mean: float, half: float) -> None:
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half), abs=1e-4)


def test_the_interval_of_folds_by_hand() -> None:
    """Gains of 0, 2, 4, 6 points in four folds: variance 20/3, times 1/4 + 1/3, t = 2.3534 with three degrees."""
    ours, other = folded([0.80, 0.82, 0.84, 0.86]), folded([0.80] * 4)
    bounds_are(gains(ours, {KERNEL: other})[KERNEL], 3, 2.353363 * (20 / 3 * (1 / 4 + 1 / 3)) ** 0.5)


def test_folds_without_a_score_are_left_out() -> None:
    ours, other = folded([0.80, 0.82, 0.84, 0.86]), folded([0.80] * 4)
    nothing = float("nan")
    some = folded([0.80, 0.82, nothing, 0.84, 0.86]), folded([0.80, 0.80, nothing, 0.80, 0.80])
    # Of five folds, a share of 1/4 of the rows is tested for each that is trained on.
    bounds_are(gains(some[0], {KERNEL: some[1]})[KERNEL], 3, 2.353363 * (20 / 3 * (1 / 4 + 1 / 4)) ** 0.5)
    assert gains(folded([nothing, 0.8]), {KERNEL: folded([nothing, 0.7])}) == {KERNEL: None}
    assert gains(ours, {KERNEL: other})[KERNEL] is not None


def test_the_interval_of_a_given_split_is_that_of_its_resamples_by_hand() -> None:
    """Errors that differ by 1, 2 and 3: variance 1, t = 2.9200; lower is better, so the gain is positive."""
    ours, other = given_split(2.0, [2.0, 2.0, 2.0], error=True), given_split(5.0, [3.0, 4.0, 5.0], error=True)
    bounds_are(gains(ours, {COUNTS: other})[COUNTS], 3, 2.919986)


def test_the_spread_over_pre_trainings_widens_the_interval_by_hand() -> None:
    """The same in all folds, 70, 80 and 90 % by pre-training: variance 100/3, t = 2.9200 with two degrees."""
    ours = folded([0.7, 0.7], [0.8, 0.8], [0.9, 0.9], models=3)
    single = gains(folded([0.8, 0.8], [0.8, 0.8], [0.8, 0.8]), {KERNEL: folded([0.7, 0.7])})[KERNEL]
    bounds_are(single, 10, 0)
    paired = gains(ours, {RANDOM: folded([0.6, 0.6], [0.7, 0.7], [0.8, 0.8], models=3)})[RANDOM]
    bounds_are(paired, 10, 0)
    found = gains(ours, {KERNEL: folded([0.7, 0.7], [0.7, 0.7], [0.7, 0.7])})[KERNEL]
    assert found is not None
    assert found.high - found.mean > 2.919986 * (100 / 3) ** 0.5


def test_with_one_pre_training_the_spread_over_random_encoders_widens_the_interval() -> None:
    ours, kernel = folded([0.8, 0.8], [0.8, 0.8], [0.8, 0.8]), folded([0.7, 0.7], [0.7, 0.7], [0.7, 0.7])
    alike = folded([0.6, 0.6], [0.6, 0.6], [0.6, 0.6], models=3)
    varied = folded([0.5, 0.5], [0.6, 0.6], [0.7, 0.7], models=3)
    certain, doubtful = (gains(ours, {KERNEL: kernel, RANDOM: random}) for random in (alike, varied))
    bounds_are(certain[KERNEL], 10, 0)
    # Variance 100 of a single encoder, two degrees of freedom.
    bounds_are(doubtful[KERNEL], 10, 29.19986)


def around(mean: float, seconds: float = 1.0, spread: float = 0.01) -> Measured:
    return folded([mean + spread * (-1) ** fold for fold in range(10)], seconds=seconds)


def test_every_row_is_read_and_the_best_is_named_with_its_gain_interval_and_times() -> None:
    ours = around(0.90, 12)
    rows = {RANDOM: around(0.80), COUNTS: around(0.85, spread=0), KERNEL: around(0.70)}
    found = gains(ours, rows)[COUNTS]
    assert found is not None
    assert advised(ours, rows, 340) == (
        f"Use the pre-trained encoder: it is 5.0 points better than the best other row, {COUNTS} (90 % interval of its"
        f" gain +{found.low:.1f} to +{found.high:.1f}; 12 s after 340 s of training against 1.0 s)."
    )
    for best in rows:
        better = {**rows, best: around(0.95, 40)}
        sentence = advised(ours, better)
        where = f"{RANDOM} (of a run: random_encoder/ in its folder)" if best == RANDOM else best
        assert sentence.startswith(f"Use {where}: the pre-trained encoder is 5.0 points worse (90 % interval")
        assert sentence.endswith("12 s against 40 s).")
        assert sentence.count(". ") == 0


def test_what_is_not_surely_better_is_not_used() -> None:
    ours, rows = folded([0.7, 0.9] * 5), {RANDOM: folded([0.78] * 10), KERNEL: folded([0.75] * 10)}
    sentence = advised(ours, rows)
    assert sentence.startswith(
        f"Use {RANDOM} (of a run: random_encoder/ in its folder): the pre-trained encoder is not"
    )
    assert "2.0 points better here" in sentence
    worse = advised(folded([0.6, 0.9] * 5), rows)
    assert "not surely better, 3.0 points worse here" in worse


def test_a_row_that_varies_more_can_be_the_one_that_is_within_reach() -> None:
    ours = folded([0.9] * 10)
    rows = {KERNEL: folded([0.85] * 10), COUNTS: folded([0.5, 1.0] * 5)}
    assert advised(ours, rows).startswith(f"Use {COUNTS}: the pre-trained encoder is not surely better, 15.0 points")


def test_without_other_rows_or_labels_nothing_is_recommended() -> None:
    assert recommendation(around(0.9), {}, {}, None) is None
    single = Measured(summarize("logistic", "accuracy", [[0.8]], [[{}]]), 1.0)
    assert gains(single, {COUNTS: single}) == {COUNTS: None}
    assert advised(single, {COUNTS: single}).startswith("The labels are too few, to train or to test with")
    assert gain_section({COUNTS: single}, {COUNTS: None}, models=1) is None
    # One row that cannot be compared is enough not to say "use".
    nothing = folded([float("nan")] * 9 + [0.5])
    assert advised(around(0.9), {COUNTS: around(0.7), KERNEL: nothing}).startswith("The labels are too few")
    assert advised(around(0.7), {COUNTS: around(0.9), KERNEL: nothing}).startswith(f"Use {COUNTS}: ")


def test_errors_are_in_their_units() -> None:
    ours, other = given_split(0.5, [0.5, 0.51, 0.5], error=True), given_split(0.7, [0.7, 0.7, 0.7], error=True)
    assert advised(ours, {COUNTS: other}).startswith("Use the pre-trained encoder: it is 0.2 rmse better")


def test_halves_have_half_of_each_class_and_positions_repeat() -> None:
    y = np.array([0] * 6 + [1] * 10 + [0] * 8)
    train, test = np.arange(16), np.arange(16, 24)
    pairs = resamples_of(train, test, 8, y)
    assert len(pairs) == 8
    for half, drawn in pairs:
        assert np.bincount(y[half]).tolist() == [3, 5]
        assert len(set(half)) == 8
        assert drawn.shape == (8,)
        assert drawn.max() < 8
    assert any(len(set(drawn)) < 8 for _, drawn in pairs)
    assert resamples_of(train, test, 8, np.where(np.arange(24) == 0, 2, y)) == []


# What follows learns for real, by the nearer mean of two classes, so that folds, shuffles and resamples share rows as
# they do in a table.


def encoder(rng: np.random.Generator, y: np.ndarray, signal: float) -> np.ndarray:
    """Features ``[rows, 4]`` that differ by ``signal`` between the two classes, in noise of the encoder's own."""
    return rng.standard_normal((len(y), 4)) + signal * (y[:, None] - 0.5)


def nearer_mean(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    low, high = (x[train[y[train] == label]].mean(axis=0) for label in (0, 1))
    return ((x[test] - (low + high) / 2) @ (high - low) > 0).astype(np.int64)


def shuffles(rows: int) -> tuple[np.ndarray, list[np.ndarray]]:
    y = np.arange(rows) % 2
    return y, [stratified_folds(y, FOLDS, seed) for seed in range(SHUFFLES)]


def cross_validated(x: np.ndarray, y: np.ndarray, folds: list[np.ndarray]) -> ProbeResult:
    splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for fold in folds for f in range(FOLDS)]
    predicted = [nearer_mean(x, y, train, test) for train, test in splits]
    return summarize_classes("mean", [y[test] for _, test in splits], predicted, [{}] * len(splits), FOLDS)


def qualities(rng: np.random.Generator, scene: tuple[float, float]) -> Callable[[], float]:
    """The signal of an encoder, which varies with its seed: mean and standard deviation."""
    return lambda: scene[0] + scene[1] * rng.standard_normal()


def on_folds(rng: np.random.Generator, rows: int, scene: tuple[float, float], ours: float, pairs: int) -> bool:
    """Whether an encoder that is better by ``ours`` is recommended, beside random ones and a kernel of mean quality."""
    quality = qualities(rng, scene)
    y, folds = shuffles(rows)
    trained = [encoder(rng, y, quality() + ours) for _ in range(pairs)]
    random = [encoder(rng, y, quality()) for _ in range(pairs if pairs > 1 else 5)]
    found = [cross_validated(trained[s % pairs], y, [fold]) for s, fold in enumerate(folds)]
    before = [cross_validated(one, y, [folds[s % SHUFFLES]]) for s, one in enumerate(random)]
    rows_ = {RANDOM: Measured(joined(before), 1.0, len(random))}
    rows_[KERNEL] = Measured(cross_validated(encoder(rng, y, scene[0]), y, folds), 1.0)
    return advised(Measured(joined(found), 1.0, pairs), rows_).startswith("Use the pre-trained")


def on_a_split(rng: np.random.Generator, rows: int, scene: tuple[float, float], ours: float, pairs: int) -> bool:
    quality = qualities(rng, scene)
    y = rng.permutation(np.arange(rows) % 2)
    train, test = np.arange(rows // 5), np.arange(rows // 5, rows)
    draws = resamples_of(train, test, RESAMPLES, y)

    def score(x: np.ndarray) -> ProbeResult:
        halves = [nearer_mean(x, y, half, test) for half, _ in draws]
        again = resampled_accuracy(y, test, draws, halves)
        return summarize_classes("mean", [y[test]], [nearer_mean(x, y, train, test)], [{}], 1, replicates=again)

    trained = joined([score(encoder(rng, y, quality() + ours)) for _ in range(pairs)])
    random = joined([score(encoder(rng, y, quality())) for _ in range(pairs if pairs > 1 else 5)])
    kernel = score(encoder(rng, y, scene[0]))
    rows_ = {RANDOM: Measured(random, 1.0, len(random.seed_scores)), KERNEL: Measured(kernel, 1.0)}
    return advised(Measured(trained, 1.0, pairs), rows_).startswith("Use the pre-trained")


SCENES = {
    "labels at random": (0.0, 0.0, 100),
    "all alike": (0.6, 0.0, 100),
    "seeds matter more than rows": (0.6, 0.1, 1500),
}


@pytest.mark.parametrize("pairs", [1, 3])
@pytest.mark.parametrize("protocol", [on_folds, on_a_split])
@pytest.mark.parametrize("scene", SCENES)
def test_what_changes_nothing_is_recommended_at_most_one_time_in_twenty(
    protocol: Callable[..., bool], scene: str, pairs: int
) -> None:
    """Encoders before and after a pre-training that changes nothing are of the same random quality."""
    signal, spread, rows = SCENES[scene]
    rng = np.random.default_rng(0)
    tables = 200 if rows == 100 else 60
    used = [protocol(rng, rows, (signal, spread), 0.0, pairs) for _ in range(tables)]
    assert np.mean(used) <= 0.05


@pytest.mark.parametrize("pairs", [1, 3])
@pytest.mark.parametrize("protocol", [on_folds, on_a_split])
def test_what_is_far_better_is_recommended_most_of_the_time(protocol: Callable[..., bool], pairs: int) -> None:
    rng = np.random.default_rng(1)
    used = [protocol(rng, 300, (0.5, 0.05), 0.6, pairs) for _ in range(40)]
    assert np.mean(used) >= 0.8
