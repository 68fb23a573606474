"""How plans are repaired."""

from __future__ import annotations

from dataclasses import dataclass

from jepakit.errors import require_at_least, require_within


@dataclass
class RepairConfig:
    """How a plan is repaired.

    Args:
        beam: plans that are kept at each step.
        most_values: calls and values of arguments that are judged in all; what is denied then is dropped without a
            search. A plan of 30 calls is judged some thirty times.
        share: of the highest learned risk in the plan. A lower risk is put down to the call that has the highest: the
            text of an attack makes what is done beside it look risky too. 0: every risk counts for itself.
    """

    beam: int = 3
    most_values: int = 6000
    share: float = 0.9

    def __post_init__(self) -> None:
        require_at_least(self, beam=1, most_values=1)
        require_within(self, "[0, 1]", "share")
