"""The sentence encoder that the configuration of a run names."""

from __future__ import annotations

from dataclasses import asdict

from jepakit.errors import ModelError
from jepakit.files import reading
from jepakit.text.load import TextConfig
from jepakit.training.checked import checked
from jepakit.training.run import RunFolder


def text_config_of(run: RunFolder) -> TextConfig:
    """The section ``text`` of a run's ``config.yaml``.

    Raises:
        ModelError: there is no run, or no such section in it.
        ConfigError, DataError: an option has a value it cannot have; names it.
    """
    if not run.config.exists():
        raise ModelError(f"{run.path}: no run there (config.yaml is missing)")
    saved = run.read_config()
    with reading(run.config, ModelError, expected="the section text of a run"):
        config = TextConfig(**saved["text"])
    return checked(TextConfig, asdict(config), file=run.config, field="text")
