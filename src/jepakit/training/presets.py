"""Presets: named changes to the defaults of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from jepakit.errors import ConfigError, did_you_mean, require_choice

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
    for option in changes:
        require_choice("option", option, [field.name for field in fields(cast(Any, defaults))])
    return with_options(defaults, {**presets[require_choice("preset", name, presets)], **changes})


def with_options(config: ConfigT, options: Mapping[str, Any]) -> ConfigT:
    """A configuration with other values.

    Args:
        config: a dataclass, and dataclasses in it.
        options: dotted option -> value, such as ``encoder.hidden``; a whole dataclass comes before options in it.

    Raises:
        ConfigError: there is no option of this name, or it refuses the value; names it with its dots.
    """
    holder: Any = config
    names = [field.name for field in fields(holder)]
    values: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for option, value in options.items():
        name, dot, inside = option.partition(".")
        if name not in names or (dot and not is_dataclass(getattr(holder, name))):
            raise ConfigError(option, value, f"an option: one of {', '.join(names)}{did_you_mean(name, names)}")
        if dot:
            groups.setdefault(name, {})[inside] = value
        else:
            values[name] = value
    for name, inside in groups.items():
        try:
            values.setdefault(name, with_options(getattr(holder, name), inside))
        except ConfigError as error:
            raise ConfigError(f"{name}.{error.field}", error.value, error.expected) from error
    return replace(holder, **values)
