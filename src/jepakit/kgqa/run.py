"""Finished runs of ``jepakit kgqa``: what they were trained on, and the pre-trained encoder."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from jepakit.errors import ModelError
from jepakit.files import reading
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets import load_graph
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.text import TextConfig
from jepakit.training import RunFolder, TrainedRun


class KnowledgeRun(TrainedRun[KnowledgeEncoder]):
    """A run of ``jepakit kgqa pretrain``."""

    kind: ClassVar[type[nn.Module]] = KnowledgeEncoder


def graph_of(run: RunFolder) -> KnowledgeGraph:
    """The graph that a run was trained on; a path in its ``config.yaml`` is relative to the present folder.

    Raises:
        ModelError: ``config.yaml`` does not name it.
        ConfigError, DataError: it cannot be found or read.
    """
    return load_graph(_option(run, "graph"), data_dir=_option(run, "data_dir"), texts=_option(run, "texts"))


def text_of(run: RunFolder) -> TextConfig:
    """The sentence encoder of a run.

    Raises:
        ModelError: ``config.yaml`` does not name it.
    """
    with reading(run.config, ModelError, expected="the section text of a run"):
        return TextConfig(**_option(run, "text"))


def _option(run: RunFolder, name: str) -> Any:
    config = run.read_config()
    with reading(run.config, ModelError, expected="the options of a run of jepakit kgqa"):
        return config[name]
