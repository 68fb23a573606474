"""Self-supervised graph encoders: load graphs, mask them, pre-train, probe."""

from jepakit.errors import requires_extra

with requires_extra("graph"):
    from jepakit.graph.data import GraphDataset, Graphs, concatenate
    from jepakit.graph.datasets import load_dataset
    from jepakit.graph.encoder import EncoderConfig, GraphEncoder
    from jepakit.graph.evaluate import EvaluateConfig, evaluate
    from jepakit.graph.finetune import FinetuneConfig, finetune
    from jepakit.graph.large.sampling import SamplingConfig
    from jepakit.graph.masking import Masking, with_patches
    from jepakit.graph.networks.encoding import with_position
    from jepakit.graph.objective import ObjectiveConfig, build_jepa
    from jepakit.graph.presets import PRESETS, preset
    from jepakit.graph.pretrain import PretrainConfig, pretrain
    from jepakit.graph.run import GraphRun
    from jepakit.graph.views import GraphViews, ViewConfig
    from jepakit.training.results import Evaluation, Pretrained

__all__ = [
    "PRESETS",
    "EncoderConfig",
    "EvaluateConfig",
    "Evaluation",
    "FinetuneConfig",
    "GraphDataset",
    "GraphEncoder",
    "GraphRun",
    "GraphViews",
    "Graphs",
    "Masking",
    "ObjectiveConfig",
    "PretrainConfig",
    "Pretrained",
    "SamplingConfig",
    "ViewConfig",
    "build_jepa",
    "concatenate",
    "evaluate",
    "finetune",
    "load_dataset",
    "preset",
    "pretrain",
    "with_patches",
    "with_position",
]
