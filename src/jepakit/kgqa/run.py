"""Finished runs of ``jepakit kgqa``: what they were trained on, and the pre-trained encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets import load_graph
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.finetune import FinetuneConfig
from jepakit.training import RunFolder, TrainedRun
from jepakit.training.checked import checked


class KnowledgeRun(TrainedRun[KnowledgeEncoder]):
    """A run of ``jepakit kgqa pretrain``."""

    kind: ClassVar[type[nn.Module]] = KnowledgeEncoder


@dataclass(frozen=True)
class SavedOptions:
    """What the ``config.yaml`` of a run says of its graph, and that of a run of ``finetune`` of its candidates.

    A path in it is relative to the folder that the command ran in.
    """

    graph: str
    data_dir: str | None = None
    texts: str | None = None
    retriever: str | None = None
    candidates: int = FinetuneConfig.candidates

    @classmethod
    def read(cls, run: RunFolder) -> SavedOptions:
        """Those of a run.

        Raises:
            DataError: an option is missing or of another type; names it.
        """
        return checked(cls, run.read_config(), file=run.config)

    def load_graph(self) -> KnowledgeGraph:
        """The graph that the run was trained on.

        Raises:
            ConfigError, DataError: it cannot be found or read.
        """
        return load_graph(self.graph, data_dir=self.data_dir, texts=self.texts)
