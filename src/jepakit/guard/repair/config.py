"""How plans are searched."""

from __future__ import annotations

from dataclasses import dataclass

from jepakit.errors import require_at_least


@dataclass
class RepairConfig:
    """How long a repair is searched.

    Args:
        beam: plans that are kept at each step.
        most_plans: plans that are judged in all; what is denied then is dropped without a search.
    """

    beam: int = 3
    most_plans: int = 60

    def __post_init__(self) -> None:
        require_at_least(self, beam=1, most_plans=1)
