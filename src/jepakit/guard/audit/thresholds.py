"""From which learned risk, and from which energy, a call is asked about or denied."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jepakit.errors import ConfigError, DataError
from jepakit.files import read_json, reading, write_json
from jepakit.guard.energies import CallEnergies
from jepakit.guard.policy import Decision, Reason
from jepakit.guard.scorer import CallScore


@dataclass(frozen=True)
class Thresholds:
    """From here on a call is asked about, or denied; None: never because of this.

    Args:
        ask_risk: of the risk of `CallScore`, in [0, 1].
        deny_risk: of the same.
        ask_energy: of the sum of the energies that no model takes part in.
        deny_energy: of the same.
    """

    ask_risk: float | None = 0.1
    deny_risk: float | None = 0.5
    ask_energy: float | None = None
    deny_energy: float | None = None

    def __post_init__(self) -> None:
        for ask, deny in (("ask_risk", "deny_risk"), ("ask_energy", "deny_energy")):
            for field in (ask, deny):
                value = getattr(self, field)
                if value is not None and not (math.isfinite(value) and value >= 0):
                    raise ConfigError(field, value, "a number, not below 0, or null")
            first, second = getattr(self, ask), getattr(self, deny)
            if first is not None and second is not None and first > second:
                raise ConfigError(ask, first, f"at most {deny} ({second:g})")

    @classmethod
    def read(cls, file: Path) -> Thresholds:
        """The thresholds that `write` has written.

        Raises:
            DataError: names the file and the field.
        """
        with reading(file):
            content = read_json(file).get("thresholds")
            names = list(cls.__dataclass_fields__)
            if not isinstance(content, dict) or set(content) != set(names):
                raise DataError("not thresholds", field="thresholds", value=content, expected=", ".join(names))
            for name, value in content.items():
                if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                    raise DataError("not a number", field=name, value=value)
            try:
                return cls(**content)
            except ConfigError as error:
                raise DataError("not allowed", field=error.field, value=error.value, expected=error.expected) from error

    def write(self, file: Path, **about: Any) -> None:
        """Writes them, with facts about where they come from beside them.

        Raises:
            ModelError: the file cannot be written.
        """
        write_json(file, {"thresholds": asdict(self), **about})

    def reasons(self, energies: CallEnergies, score: CallScore | None) -> list[Reason]:
        """What the thresholds say about a call; ``allow`` is among the decisions."""
        call = energies.call
        by_energy = self.of(energies.policy, "energy")
        reasons = [Reason("thresholds.energy", by_energy, call, "the energy is above the threshold")]
        if score is not None:
            by_risk = self.of(score.risk, "risk")
            problem = ": ".join(["the learned risk is above the threshold", *filter(None, ["; ".join(score.why)])])
            reasons.insert(0, Reason("thresholds.risk", by_risk, call, problem))
        return reasons

    def of(self, value: float, score: Literal["risk", "energy"]) -> Decision:
        """The decision that a learned risk, or an energy, makes."""
        ask, deny = (self.ask_risk, self.deny_risk) if score == "risk" else (self.ask_energy, self.deny_energy)
        if deny is not None and value >= deny:
            return "deny"
        return "ask" if ask is not None and value >= ask else "allow"
