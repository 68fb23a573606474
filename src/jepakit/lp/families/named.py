"""Families by their names on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Protocol

from jepakit.errors import ConfigError, require_choice
from jepakit.lp.data import LinearProgram
from jepakit.lp.families.combinatorial import CombinatorialAuction, FacilityLocation, IndependentSet, SetCover
from jepakit.lp.families.perturbed import Perturbed, RandomFeasible
from jepakit.lp.families.power_flow import PowerFlow, read_matpower


class LPFamily(Protocol):
    """Problems that have much in common. A family is a dataclass whose fields are its parameters."""

    def problem(self, seed: int) -> LinearProgram:
        """An instance; the same for the same seed."""
        ...


FAMILIES: dict[str, type[Any]] = {
    "set-cover": SetCover,
    "independent-set": IndependentSet,
    "auction": CombinatorialAuction,
    "facility-location": FacilityLocation,
    "random": RandomFeasible,
    "perturbed": Perturbed,
    "power-flow": PowerFlow,
}
FamilyName = Literal[
    "set-cover", "independent-set", "auction", "facility-location", "random", "perturbed", "power-flow"
]
#: Fields of families that are not numbers; they come from ``like`` and ``case``, or cannot be set by name.
_NOT_NUMBERS = ("problems", "network", "loads", "total")


def make_family(
    name: FamilyName, size: Mapping[str, float], like: Sequence[LinearProgram] = (), case: str | Path | None = None
) -> LPFamily:
    """A family by its name.

    Args:
        name: one of `FAMILIES`.
        size: numeric fields of the family.
        like: problems of one matrix, for ``perturbed``.
        case: a MATPOWER file, for ``power-flow``.

    Raises:
        ConfigError: the family has no such field, or needs ``like`` or ``case``.
    """
    kind = FAMILIES[require_choice("family", name, FAMILIES)]
    types = {field.name: field.type for field in fields(kind) if field.name not in _NOT_NUMBERS}
    for field in size:
        require_choice(f"size of {name}", field, types)
    numbers: dict[str, Any] = {field: int(value) if types[field] == "int" else value for field, value in size.items()}
    if (name == "perturbed") != bool(like):
        raise ConfigError("like", len(like) or None, "problems for the family perturbed, and for no other")
    if (name == "power-flow") != (case is not None):
        raise ConfigError("case", case, "a MATPOWER file for the family power-flow, and for no other")
    required = (tuple(like),) if like else () if case is None else read_matpower(Path(case))
    return kind(*required, **numbers)
