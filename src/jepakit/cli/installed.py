"""What jepakit requires, by extra, and what of it is installed: read from the metadata of the installed package."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

NAME = "jepakit"


@dataclass(frozen=True)
class Part:
    """A distribution that is required.

    Args:
        name: of the distribution.
        wanted: its versions, such as ``>=1.15``.
        installed: the version that is there; None: it is not.
        fits: whether that is one of the wanted.
    """

    name: str
    wanted: str
    installed: str | None
    fits: bool

    @property
    def problem(self) -> str:
        """``missing``, or ``1.2, not >=1.15``; empty where nothing is wrong."""
        if self.installed is None:
            return "missing"
        return "" if self.fits else f"{self.installed}, not {self.wanted}"


def extras() -> list[str]:
    """The extras of jepakit."""
    return sorted(metadata(NAME).get_all("Provides-Extra") or [])


def parts(extra: str = "") -> list[Part]:
    """What an extra brings, by name; empty: what is always required."""
    return sorted(parts_of(requires(NAME) or [], extra), key=lambda part: part.name)


def install_command(extra: str = "") -> str:
    """What adds an extra, or what is always required."""
    return f"pip install '{NAME}[{extra}]'" if extra else f"pip install {NAME}"


def parts_of(requirements: Iterable[str], extra: str) -> list[Part]:
    """What requirements ask for where one extra is named."""
    return [_part(one) for one in map(Requirement, requirements) if _belongs(one, extra)]


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is that of an extra, and no requirement without it."""
    if requirement.marker is None:
        return not extra
    always = requirement.marker.evaluate({"extra": ""})
    return always if not extra else not always and requirement.marker.evaluate({"extra": extra})


def _part(requirement: Requirement) -> Part:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        installed = None
    fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
    return Part(requirement.name, str(requirement.specifier), installed, fits)
