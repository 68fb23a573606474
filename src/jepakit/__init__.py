"""jepakit: joint-embedding predictive learning (JEPA) on structured data.

`load` opens what was trained: a run folder, an encoder folder, or an id on a model hub. The packages are attributes:
``jepakit.core`` is the objective, ``jepakit.training`` runs it; ``jepakit.graph``, ``jepakit.retrieval``,
``jepakit.kgqa``, ``jepakit.lp`` and ``jepakit.guard`` are the systems; ``jepakit.sklearn`` has estimators. Each is
imported when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jepakit.errors import ConfigError, DataError, JepakitError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from jepakit.loading import load
    from jepakit.training import load_encoder

__all__ = ["ConfigError", "DataError", "JepakitError", "MissingExtraError", "ModelError", "load", "load_encoder"]

__version__ = version("jepakit")

_NAMES = {"load": "jepakit.loading", "load_encoder": "jepakit.training"}
_PACKAGES = ("core", "graph", "guard", "kgqa", "lp", "retrieval", "search", "sklearn", "text", "training")


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    if name in _PACKAGES:
        return import_module(f"jepakit.{name}")
    raise AttributeError(f"module 'jepakit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
