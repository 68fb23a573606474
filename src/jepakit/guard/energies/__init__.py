"""Energies of calls: how far each is from what its task and policy make one expect, explained part by part."""

from jepakit.guard.energies.parts import CallEnergies, EnergyName, Part
from jepakit.guard.energies.summing import energies, energies_of

__all__ = ["CallEnergies", "EnergyName", "Part", "energies", "energies_of"]
