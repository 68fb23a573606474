"""The curve by labels: it begins with the untrained matcher, and more questions bring it to the ceiling."""

import pytest

from film_samples import BOTH, CONFIG, GRAPH, Words
from jepakit.errors import ConfigError
from jepakit.kgqa.evaluate import REACHABLE, UNTRAINED, EvaluateConfig, evaluate
from jepakit.kgqa.paths.matcher import PathMatcher
from jepakit.kgqa.report.curve import label_curve
from jepakit.kgqa.retriever import PathRetriever

TRAIN, TEST = BOTH[[0, 1, 2, 3, 12, 13, 14, 15]], BOTH[[5, 6, 10, 18, 20, 22]]


def test_the_curve_begins_untrained_and_ends_at_the_ceiling() -> None:
    curve = label_curve(GRAPH, TRAIN, TEST, Words(), CONFIG, [99, 8])
    assert curve.x == (0, 8)
    (_, hits), (_, ceiling) = curve.lines
    # Whatever its weights, an untrained matcher is the cosine.
    matcher = PathMatcher(Words.dim, GRAPH.num_steps, CONFIG.hops, hidden=8)
    untrained = PathRetriever(GRAPH, Words(), matcher, through_topic=False, wordings=CONFIG.wordings)
    options = EvaluateConfig(retrievers=[], linking=False, examples=0)
    rows = evaluate(GRAPH, TEST, untrained, matcher, options).rows
    expected = {row.method: row.value for row in rows if row.metric == "hit@1"}
    assert hits == (expected[UNTRAINED], expected[REACHABLE])
    assert ceiling == (1, 1)


@pytest.mark.parametrize("counts", [[], [0], [5, -1]])
def test_numbers_that_are_none_are_refused(counts: list[int]) -> None:
    with pytest.raises(ConfigError) as error:
        label_curve(GRAPH, TRAIN, TEST, Words(), CONFIG, counts)
    assert error.value.field == "curve"
