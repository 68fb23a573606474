"""Names of a package that are fetched when they are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from jepakit.errors import requires_extra


class _LazyPackage(ModuleType):
    """A package in which a name may be that of a submodule and of a function in it: it stays the function."""

    lazy_names: Mapping[str, str] = {}

    def __setattr__(self, name: str, value: object) -> None:
        # Importing a submodule sets it as an attribute of its package.
        if not (name in self.lazy_names and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def lazy_names(package: str, modules: Mapping[str, str], *, extra: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Args:
        package: its name.
        modules: the module of each name.
        extra: what has to be installed for them.
    """
    module = sys.modules[package]
    module.lazy_names = modules  # type: ignore[attr-defined]
    module.__class__ = _LazyPackage

    def fetch(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with requires_extra(extra):
            value = getattr(import_module(modules[name]), name)
        setattr(module, name, value)
        return value

    return fetch
