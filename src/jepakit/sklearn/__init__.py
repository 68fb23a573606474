"""scikit-learn's interface: estimators for pipelines and searches over parameters.

`GraphEmbedder` needs the extra ``graph``, `MoleculeDescriptors` the extra ``chem``, and `TextAdapter` the extra
``retrieval``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jepakit.errors import requires_extra

if TYPE_CHECKING:
    from jepakit.sklearn.graphs import GraphEmbedder
    from jepakit.sklearn.molecules import MoleculeDescriptors
    from jepakit.sklearn.texts import TextAdapter

__all__ = ["GraphEmbedder", "MoleculeDescriptors", "TextAdapter"]

#: Name -> its module and the extra it needs.
_PLACES = {
    "GraphEmbedder": ("jepakit.sklearn.graphs", "graph"),
    "MoleculeDescriptors": ("jepakit.sklearn.molecules", "chem"),
    "TextAdapter": ("jepakit.sklearn.texts", "retrieval"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'jepakit.sklearn' has no attribute {name!r}")
    module, extra = _PLACES[name]
    with requires_extra(extra):
        return getattr(import_module(module), name)
