"""The options of the selection."""

from __future__ import annotations

import pytest

from jepakit.errors import ConfigError
from jepakit.retrieval.adapter.selection import SelectionConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds = 1: expected at least 2"),
        ({"strengths": []}, "strengths"),
        ({"strengths": [0.5, 1.5]}, "strengths"),
        ({"predictive": [-1.0]}, "predictive"),
        ({"confidence": 1.0}, "confidence = 1.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match="^" + message):
        SelectionConfig(**options)  # type: ignore[arg-type]
