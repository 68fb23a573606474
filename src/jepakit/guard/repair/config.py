"""How plans are searched."""

from __future__ import annotations

from dataclasses import dataclass

from jepakit.errors import require_at_least


@dataclass
class RepairConfig:
    """How long a repair is searched.

    Args:
        beam: plans that are kept at each step.
        most_values: calls and values of arguments that are judged in all; what is denied then is dropped without a
            search. A plan of 30 calls is judged some thirty times.
    """

    beam: int = 3
    most_values: int = 6000

    def __post_init__(self) -> None:
        require_at_least(self, beam=1, most_values=1)
