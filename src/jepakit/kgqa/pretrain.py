"""Pre-train an encoder on subgraphs of a knowledge graph, without questions or labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from jepakit.core import diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.core.distributed import alone
from jepakit.errors import require_at_least, require_choice
from jepakit.graph.data import Graphs
from jepakit.graph.masking import Masking
from jepakit.graph.objective import build_jepa
from jepakit.graph.pretrain import exported_encoder, require_fitting_predictor
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.features import EntityFeatures, load_features
from jepakit.kgqa.objective import ObjectiveConfig
from jepakit.kgqa.sampling import Sampling
from jepakit.kgqa.views import SubgraphViews, ViewConfig
from jepakit.text import TextConfig
from jepakit.training import EpochLoader, FitConfig, RunFolder, fit, save_trained
from jepakit.training.results import PointFacts, Pretrained

_OBSERVED_SUBGRAPHS = 64
_OBSERVED_ENTITIES = 2000
_CALIBRATION_BATCHES = 4


@dataclass
class PretrainConfig(FitConfig):
    """All options of a pre-training run.

    Args:
        epochs: each of ``subgraphs`` subgraphs, drawn anew.
        batch_size: subgraphs per optimiser step.
        subgraphs: subgraphs of an epoch.
        text: the sentence encoder of names and texts.
        encoder: the architecture.
        sampling: how subgraphs are drawn.
        masking: how masked entities are drawn.
        views: the inputs of the two encoders.
        objective: predicted embeddings, loss and regularisers.
        patch_size: entities of a METIS patch, for ``masking.strategy = metis``.
        export: the encoder that the run saves: ``context``, or ``target``, its EMA copy, which in a short run is still
            near the random encoder.
    """

    epochs: int = 10
    batch_size: int = 16
    subgraphs: int = 1000
    text: TextConfig = field(default_factory=TextConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    sampling: Sampling = field(default_factory=Sampling)
    masking: Masking = field(default_factory=Masking)
    views: ViewConfig = field(default_factory=ViewConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    patch_size: int = 16
    export: Literal["context", "target"] = "context"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, subgraphs=1, patch_size=1)
        require_choice("export", self.export, ("context", "target"))
        require_fitting_predictor(self.objective, self.views)


def pretrain(
    graph: KnowledgeGraph,
    config: PretrainConfig,
    *,
    features: EntityFeatures | None = None,
    run: RunFolder | None = None,
    resume: bool = False,
) -> Pretrained[KnowledgeEncoder]:
    """Pre-trains on subgraphs around random entities.

    Args:
        graph: all its triples are used: leave out those that an evaluation is to predict.
        config: the options.
        features: of the entities; None: from the sentence encoder ``config.text``.
        run: the folder for checkpoint, metrics, ``encoder/`` and diagnosis; None writes nothing.
        resume: continue from the checkpoint in ``run``.

    Raises:
        ConfigError: options exclude each other.
        DataError: no triple joins two different entities.
        ModelError: the sentence encoder cannot be loaded.
    """
    features = load_features(graph, config.text) if features is None else features
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        encoder = KnowledgeEncoder.for_graph(graph, features, config.encoder)
        own = encoder.fit_to(graph, features)
        parts = (config.sampling, config.masking, config.views)
        views = SubgraphViews(graph, own, encoder, *parts, patch_size=config.patch_size)
        generator = torch.Generator().manual_seed(config.seed)
        observed, entities = views.batch_with_entities(_OBSERVED_SUBGRAPHS, generator)
        with alone():
            update_bn((observed[ids] for ids in torch.arange(len(observed)).chunk(_CALIBRATION_BATCHES)), encoder)
        random_encoder = copy.deepcopy(encoder).eval()
        loader = EpochLoader(config.subgraphs, config.batch_size, views, seed=config.seed, shared="views")
        jepa = build_jepa(encoder, config.objective, total_steps=config.epochs * len(loader))
    group = _types(observed) if len(encoder.types) > 1 else None
    result = fit(jepa, loader, config, run=run, resume=resume, embed=lambda: (_embeddings(encoder, observed), group))
    exported, role = exported_encoder(jepa, encoder, config.export)
    embeddings = _embeddings(exported, observed)
    before = effective_rank(_embeddings(random_encoder, observed))
    diagnosis = diagnose(embeddings, group=group, reference_rank=before, predictability=result.predictability)
    if run is not None:
        save_trained(
            run,
            exported,
            random_encoder,
            devices=config.processes,
            diagnosis=diagnosis,
            embeddings=embeddings,
            labels=group,
            label_names=("", *encoder.types) if group is not None else (),
            facts=_facts(graph, entities[_spaced(observed)].tolist()),
            role=role,
            card={
                "dataset": f"{graph.name}: {graph.num_entities} entities, {graph.num_triples} triples",
                "method": f"JEPA, {config.objective.target} target, {config.masking.strategy} masks",
            },
        )
    return Pretrained(encoder=exported, random_encoder=random_encoder, fit=result, diagnosis=diagnosis)


@torch.no_grad()
def _embeddings(encoder: KnowledgeEncoder, graphs: Graphs) -> Tensor:
    """Entities of some subgraphs, evenly spaced, in eval mode: ``[K, width]``."""
    was_training = encoder.training
    encoder.eval()
    node = encoder(graphs.to(encoder.mask_token.device))["node"].cpu()
    encoder.train(was_training)
    return node[_spaced(graphs)]


def _types(graphs: Graphs) -> Tensor:
    assert graphs.node_type is not None
    return graphs.node_type[_spaced(graphs)]


def _facts(graph: KnowledgeGraph, entities: list[int]) -> PointFacts:
    """Names and types of entities."""
    names, ids, types = (graph.column(name, entities) for name in ("name", "id", "type"))
    titles = (f"{name or one}\n{kind}".strip() for name, one, kind in zip(names, ids, types, strict=True))
    return PointFacts(titles=tuple(titles))


def _spaced(graphs: Graphs) -> slice:
    return slice(None, None, -(-graphs.num_nodes // _OBSERVED_ENTITIES))
