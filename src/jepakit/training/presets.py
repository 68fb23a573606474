"""Presets: named changes to the defaults of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from jepakit.errors import require_choice

ConfigT = TypeVar("ConfigT")


def configured(defaults: ConfigT, presets: Mapping[str, Mapping[str, Any]], name: str, **changes: Any) -> ConfigT:
    """A configuration with the values of a preset, and then with changed fields.

    Args:
        defaults: a dataclass.
        presets: preset name -> dotted option -> value.
        name: of the preset.
        **changes: fields of the dataclass.

    Raises:
        ConfigError: no preset or option has this name.
    """
    config: Any = defaults
    groups: dict[str, dict[str, Any]] = {"": {}}
    for option, value in presets[require_choice("preset", name, presets)].items():
        group, _, key = option.rpartition(".")
        groups.setdefault(group, {})[key] = value
    for option in changes:
        require_choice("option", option, [field.name for field in fields(config)])
    options = groups.pop("")
    options |= {group: replace(getattr(config, group), **values) for group, values in groups.items()}
    return replace(config, **options | changes)
