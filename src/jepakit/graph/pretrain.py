"""Pre-train a graph encoder on graphs without labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from jepakit.core import JEPA, EMATarget, diagnose
from jepakit.core.diagnostics import effective_rank
from jepakit.errors import ConfigError, DataError, require_choice
from jepakit.graph.data import GraphDataset, Graphs
from jepakit.graph.descriptors import DescribedTarget, normal_scores
from jepakit.graph.encoder import EncoderConfig, GraphEncoder, NodeEncoder
from jepakit.graph.facts import graph_facts, node_facts
from jepakit.graph.masking import Masking, with_patches
from jepakit.graph.objective import ObjectiveConfig, build_jepa
from jepakit.graph.views import GraphViews, ViewConfig
from jepakit.graph.vocabulary import hide_values, translate
from jepakit.training import EpochLoader, FitConfig, RunFolder, fit, save_trained
from jepakit.training.results import Pretrained
from jepakit.training.storage.encoder_folder import Role

EncoderT = TypeVar("EncoderT", bound=NodeEncoder)


@dataclass
class PretrainConfig(FitConfig):
    """All options of a pre-training run.

    Args:
        epochs: more gave no better encoder on the data sets of docs/results.md.
        encoder: the architecture.
        masking: how masked nodes are drawn.
        views: the inputs of the two encoders.
        objective: predicted embeddings, loss and regularisers.
        patch_size: nodes of a METIS patch, for ``masking.strategy = metis``.
        unknown: a column for categories that are not in the data, in each attribute that has categories; it is trained
            on 2 % of the values, drawn at random. Without it such a category in other data is an error.
        export: the encoder that the run saves: ``context``, or ``target``, its EMA copy.
    """

    epochs: int = 10
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    masking: Masking = field(default_factory=Masking)
    views: ViewConfig = field(default_factory=ViewConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    patch_size: int = 16
    unknown: bool = False
    export: Role = "target"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("export", self.export, ("context", "target"))
        require_fitting_predictor(self.objective, self.views)


def pretrain(
    dataset: GraphDataset, config: PretrainConfig, *, run: RunFolder | None = None, resume: bool = False
) -> Pretrained[GraphEncoder]:
    """Pre-trains on all graphs of two or more nodes; labels are used for the diagnostics only.

    The encoder keeps the names of the columns (`jepakit.graph.vocabulary`), and reads other data by them.

    Saves to ``run``, if there is one; ``resume`` continues from its checkpoint.

    Raises:
        ConfigError: options exclude each other.
        DataError: no graph has two nodes, or all descriptors are constant.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        named = with_unknown(dataset.graphs, seed=config.seed) if config.unknown else dataset.graphs
        encoder = GraphEncoder.for_data(named, config.encoder)
        graphs = _prepared(named, encoder, config)
        encoder.calibrate(graphs)
        random_encoder = copy.deepcopy(encoder).eval()
        trainable = _trainable(graphs, dataset.name)
        views = GraphViews(trainable, config.masking, config.views)
        loader = EpochLoader(len(trainable), config.batch_size, views, seed=config.seed)
        columns = 0 if trainable.descriptors is None else trainable.descriptors.shape[1]
        total_steps = config.epochs * len(loader)
        jepa = build_jepa(encoder, config.objective, total_steps=total_steps, descriptors=columns)
    rows = _observed_rows(graphs)
    observed, group = _observed(dataset, graphs, rows)
    key = "graph" if len(graphs) > 1 else "node"
    result = fit(jepa, loader, config, run=run, resume=resume, embed=lambda: (encoder.embed(observed, key=key), group))
    exported, role = exported_encoder(jepa, encoder, config.export)
    for trained in (exported, random_encoder):
        trained.fit_readout(graphs, seed=config.seed)
    embeddings = exported.embed(observed, key=key)
    before = effective_rank(random_encoder.embed(observed, key=key))
    diagnosis = diagnose(embeddings, group=group, reference_rank=before)
    if run is not None:
        save_trained(
            run,
            exported,
            random_encoder,
            devices=config.devices,
            diagnosis=diagnosis,
            embeddings=embeddings,
            labels=group,
            label_names=dataset.label_names,
            facts=node_facts(dataset) if rows is None else graph_facts(dataset, rows),
            role=role,
            card={
                "dataset": f"{dataset.name}: {len(dataset.graphs)} graphs, without labels. {dataset.source}",
                "method": f"JEPA, {config.objective.target} target, {config.masking.strategy} masks",
            },
        )
    return Pretrained(encoder=exported, random_encoder=random_encoder, fit=result, diagnosis=diagnosis)


def with_unknown(graphs: Graphs, *, seed: int) -> Graphs:
    """The graphs with a column for unknown categories in each attribute that has some, filled at random with a few.

    Raises:
        ConfigError: no attribute has categories.
    """
    names = graphs.vocabulary
    if names is None or names.with_unknown() == names:
        raise ConfigError("unknown", True, "false, since no attribute of the data has categories")
    wanted, generator = names.with_unknown(), torch.Generator().manual_seed(seed)
    x = hide_values(translate(graphs.x, names.nodes, wanted.nodes, "node"), wanted.nodes, generator)
    edge_attr = graphs.edge_attr
    if edge_attr is not None:
        edge_attr = hide_values(translate(edge_attr, names.edges, wanted.edges, "edge"), wanted.edges, generator)
    return replace(graphs, x=x, edge_attr=edge_attr, vocabulary=wanted)


def require_fitting_predictor(objective: ObjectiveConfig, views: ViewConfig) -> None:
    """Raises ConfigError where the predictor cannot predict from these views."""
    predictor = objective.predictor
    if views.context == "drop" and "node" in objective.predict and predictor != "cross_attention":
        raise ConfigError("objective.predictor", predictor, "cross_attention where views.context = drop")
    if predictor == "cross_attention" and views.every_node:
        raise ConfigError("objective.predictor", predictor, "mlp or none where every node is predicted")


def exported_encoder(jepa: JEPA, encoder: EncoderT, export: Role) -> tuple[EncoderT, Role]:
    """The encoder that a run saves, on the CPU in eval mode, and which it is: without EMA, that of the context."""
    target = jepa.target.embeddings if isinstance(jepa.target, DescribedTarget) else jepa.target
    role: Role = "target" if export == "target" and isinstance(target, EMATarget) else "context"
    exported = target.encoder if role == "target" and isinstance(target, EMATarget) else encoder
    assert isinstance(exported, type(encoder))
    # The parameters of an EMA copy do not require gradients, and fine-tuning would train the head alone.
    return exported.cpu().eval().requires_grad_(True), role


def _prepared(graphs: Graphs, encoder: GraphEncoder, config: PretrainConfig) -> Graphs:
    graphs, values = encoder.prepare(graphs), graphs.descriptors
    if "descriptor" in config.objective.predict and values is not None:
        if len(values) != len(graphs):
            shape, expected = tuple(values.shape), f"a row for each of the {len(graphs)} graphs"
            raise DataError("not a row for each graph", field="graphs.descriptors", value=shape, expected=expected)
        graphs = replace(graphs, descriptors=normal_scores(values))
    return with_patches(graphs, config.patch_size) if config.masking.strategy == "metis" else graphs


def _trainable(graphs: Graphs, name: str) -> Graphs:
    """The graphs of two or more nodes; the loss of a batch without such a graph would be NaN."""
    several = graphs.nodes_per_graph > 1
    if not several.any():
        raise DataError("no graph has two nodes", field=name, expected="a graph of two nodes or more")
    return graphs if several.all() else graphs[several]


def _observed_rows(graphs: Graphs, limit: int = 2000) -> Tensor | None:
    """Evenly spaced graphs for the diagnostics; None: the nodes of a single graph."""
    return None if len(graphs) == 1 else torch.arange(0, len(graphs), -(-len(graphs) // limit))


def _observed(dataset: GraphDataset, graphs: Graphs, rows: Tensor | None) -> tuple[Graphs, Tensor | None]:
    """The graphs for the diagnostics, and the class of each row of their embeddings."""
    if rows is None:
        return graphs, graphs.node_y
    observed = graphs[rows]
    return observed, observed.y if dataset.task == "graph classification" else None
