"""jepakit: joint-embedding predictive learning (JEPA) on structured data.

``jepakit.core`` is the objective, ``jepakit.training`` runs it, ``jepakit.graph`` is the system for graphs. Importing
``jepakit`` itself loads none of them: `load_encoder` is fetched when it is first used.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from jepakit.errors import ConfigError, DataError, JepakitError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from jepakit.training import load_encoder

__all__ = ["ConfigError", "DataError", "JepakitError", "MissingExtraError", "ModelError", "load_encoder"]

__version__ = version("jepakit")


def __getattr__(name: str) -> Any:
    if name == "load_encoder":
        return import_module("jepakit.training").load_encoder
    raise AttributeError(f"module 'jepakit' has no attribute {name!r}")
