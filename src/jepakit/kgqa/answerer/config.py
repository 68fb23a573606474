"""The configuration of an answerer, and the answerer of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from jepakit.errors import ConfigError, require_at_least, require_choice
from jepakit.kgqa.answerer.data import Pack
from jepakit.kgqa.answerer.fusion import FUSIONS, FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel
from jepakit.kgqa.answerer.model import TUNINGS, Answerer, Tuning, embedding_scale
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.data import Subgraph
from jepakit.training.loader import to_device


@dataclass
class AnswererConfig:
    """The parts of an answerer.

    Args:
        llm_model: a hub id or folder, ``smollm2``, or ``auto``, see
            `jepakit.kgqa.answerer.language_model.load_language_model`.
        tuning: ``frozen``, ``lora`` or ``full``: what is trained of the language model.
        lora_rank: of the low-rank additions.
        lora_targets: the linear maps that get one, by the ends of their names.
        freeze_gnn: the graph encoder is not trained.
        fusion: how subgraph and question become soft tokens.
        prompt: the text.
        max_answer: tokens of an answer, its end included.
    """

    llm_model: str = "auto"
    tuning: Tuning = "frozen"
    lora_rank: int = 8
    lora_targets: list[str] = field(default_factory=lambda: ["q_proj", "v_proj"])
    freeze_gnn: bool = False
    fusion: FusionConfig = field(default_factory=FusionConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    max_answer: int = 32

    def __post_init__(self) -> None:
        require_choice("tuning", self.tuning, TUNINGS)
        require_at_least(self, lora_rank=1, max_answer=2)
        if not self.lora_targets:
            raise ConfigError("lora_targets", self.lora_targets, "names of linear maps, such as q_proj")


def build_answerer(
    config: AnswererConfig, language_model: LanguageModel, encoder: nn.Module | None, dim: int
) -> Answerer:
    """A new answerer; draws from torch's global generator.

    Args:
        config: the parts.
        language_model: changed in place by ``lora`` and ``full``.
        encoder: see `Answerer`; None where the fusion is ``prompt``.
        dim: width of the encoder's embeddings.

    Raises:
        ConfigError: encoder and fusion do not go together.
        MissingExtraError: peft is not installed, for ``lora``.
    """
    if (encoder is None) != (config.fusion.name == "prompt"):
        expected = "prompt where there is no encoder" if encoder is None else "one that reads the encoder's embeddings"
        raise ConfigError("fusion.name", config.fusion.name, expected)
    fusion = FUSIONS[config.fusion.name](dim, language_model.width, config.fusion, embedding_scale(language_model))
    return Answerer(
        language_model,
        encoder,
        fusion.to(language_model.model.device),
        tuning=config.tuning,
        freeze_encoder=config.freeze_gnn,
        rank=config.lora_rank,
        targets=tuple(config.lora_targets),
    )


@torch.no_grad()
def width_of(encoder: nn.Module | None, pack: Pack | None, subgraphs: Sequence[Subgraph]) -> int:
    """Columns of the encoder's embeddings, from those of one subgraph; 0 without an encoder."""
    if encoder is None or pack is None:
        return 0
    was_training = encoder.training
    device = next(encoder.parameters()).device
    width = encoder.eval()(to_device(pack(subgraphs[:1]), device))["graph"].shape[1]
    encoder.train(was_training)
    return width
