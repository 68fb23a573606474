"""Options by their dotted names, in the configurations of all systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import pytest

from jepakit.errors import ConfigError
from jepakit.training.presets import with_options

SYSTEMS = ("graph", "guard", "kgqa", "lp", "retrieval")


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from leaves(value, f"{prefix}{one.name}.")
        else:
            yield f"{prefix}{one.name}", value


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_option_is_set_by_its_dotted_name_and_no_other(system: str) -> None:
    config = import_module(f"jepakit.{system}").PretrainConfig(epochs=7)
    options = dict(leaves(config))
    assert with_options(type(config)(), options) == config
    for option in options:
        for wrong in (f"{option}.more", f"{option}x", f"{option}."):
            with pytest.raises(ConfigError) as refused:
                with_options(config, {wrong: 1})
            assert refused.value.field == wrong


def test_a_refused_value_is_named_with_its_dots() -> None:
    config = import_module("jepakit.graph").PretrainConfig()
    with pytest.raises(ConfigError, match=r"encoder\.dropout = 2: expected a number in \[0, 1\)"):
        with_options(config, {"encoder.dropout": 2})
