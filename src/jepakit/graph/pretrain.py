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
from jepakit.graph.large.sampling import SampledViews, SamplingConfig, batches_of, sample_of
from jepakit.graph.masking import Masking, with_patches
from jepakit.graph.objective import ObjectiveConfig, build_jepa
from jepakit.graph.views import GraphViews, ViewConfig
from jepakit.graph.vocabulary import hide_values, translate
from jepakit.training import EpochLoader, FitConfig, RunFolder, fit, save_trained
from jepakit.training.results import PointFacts, Pretrained
from jepakit.training.storage.encoder_folder import Role

EncoderT = TypeVar("EncoderT", bound=NodeEncoder)


@dataclass
class PretrainConfig(FitConfig):
    """All options of a pre-training run.

    Args:
        epochs: passes over the data; more gave no better encoder on the data sets of docs/results.md.
        encoder: the architecture.
        masking: how masked nodes are drawn.
        views: the inputs of the two encoders.
        objective: predicted embeddings, loss and regularisers.
        sampling: how a single graph is divided into batches.
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
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
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

    Of a large graph (`SamplingConfig`) only a batch is in memory; its tensors may be mapped files. Batch normalisation,
    weights of words and the diagnostics are then those of a random part.

    Saves to ``run``, if there is one; ``resume`` continues from its checkpoint.

    Raises:
        ConfigError: options exclude each other.
        DataError: no graph has two nodes, all descriptors are constant, or a graph to sample from has no edges.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        named = with_unknown(dataset.graphs, seed=config.seed) if config.unknown else dataset.graphs
        batches = batches_of(named, config.sampling, seed=config.seed)
        if batches is not None:
            require_sampling_suits(config)
        encoder = GraphEncoder.for_data(sample_of(named, batches, seed=config.seed), config.encoder)
        graphs = _prepared(named, encoder, config)
        sample = sample_of(graphs, batches, seed=config.seed)
        encoder.calibrate(sample)
        random_encoder = copy.deepcopy(encoder).eval()
        trainable = _trainable(graphs, dataset.name)
        if batches is None:
            views = GraphViews(trainable, config.masking, config.views)
            loader = EpochLoader(len(trainable), config.batch_size, views, seed=config.seed, shared="views")
        else:
            views = SampledViews(trainable, batches, config.masking, config.views)
            loader = EpochLoader(batches.size, batches.batch_size, views, seed=config.seed)
        columns = 0 if trainable.descriptors is None else trainable.descriptors.shape[1]
        total_steps = config.epochs * len(loader)
        jepa = build_jepa(encoder, config.objective, total_steps=total_steps, descriptors=columns)
    rows = _observed_rows(graphs)
    observed, group = _observed(dataset, sample, rows)
    key = "graph" if len(graphs) > 1 else "node"
    result = fit(jepa, loader, config, run=run, resume=resume, embed=lambda: (encoder.embed(observed, key=key), group))
    exported, role = exported_encoder(jepa, encoder, config.export)
    for trained in (exported, random_encoder):
        trained.fit_readout(sample, seed=config.seed)
    embeddings = exported.embed(observed, key=key)
    before = effective_rank(random_encoder.embed(observed, key=key))
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
            label_names=dataset.label_names,
            facts=_facts(dataset, rows, every_node=sample is graphs),
            role=role,
            card={
                "dataset": f"{dataset.name}: {_size(graphs)}, without labels. {dataset.source}",
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


def require_sampling_suits(config: PretrainConfig) -> None:
    """Raises ConfigError where a part of a graph does not do for what is to be encoded or predicted."""
    if config.encoder.conv == "gps":
        expected = "gin, gcn or gat where batches are parts of a graph: gps attends to all its nodes"
        raise ConfigError("encoder.conv", "gps", expected)
    if config.objective.predict != ["node"]:
        expected = "node alone where batches are parts of a graph"
        raise ConfigError("objective.predict", config.objective.predict, expected)
    if config.processes > 1:
        field = "devices" if config.devices > 1 else "num_nodes"
        expected = "1 where batches are parts of a graph: the edges between two nodes of a batch join their processes"
        raise ConfigError(field, getattr(config, field), expected)


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


def _size(graphs: Graphs) -> str:
    if len(graphs) > 1:
        return f"{len(graphs)} graphs"
    return f"a graph of {graphs.num_nodes} nodes and {graphs.num_edges} edges"


def _trainable(graphs: Graphs, name: str) -> Graphs:
    """The graphs of two or more nodes; the loss of a batch without such a graph would be NaN."""
    several = graphs.nodes_per_graph > 1
    if not several.any():
        raise DataError("no graph has two nodes", field=name, expected="a graph of two nodes or more")
    return graphs if several.all() else graphs[several]


def _observed_rows(graphs: Graphs, limit: int = 2000) -> Tensor | None:
    """Evenly spaced graphs for the diagnostics; None: the nodes of a single graph."""
    return None if len(graphs) == 1 else torch.arange(0, len(graphs), -(-len(graphs) // limit))


def _facts(dataset: GraphDataset, rows: Tensor | None, *, every_node: bool) -> PointFacts | None:
    """What a report says of each row of the embeddings; nothing of a random part of the nodes."""
    if rows is not None:
        return graph_facts(dataset, rows)
    return node_facts(dataset) if every_node else None


def _observed(dataset: GraphDataset, graphs: Graphs, rows: Tensor | None) -> tuple[Graphs, Tensor | None]:
    """The graphs for the diagnostics, and the class of each row of their embeddings."""
    if rows is None:
        roots, node_y = graphs.roots, graphs.node_y
        return graphs, node_y if roots is None or node_y is None else node_y[roots]
    observed = graphs[rows]
    return observed, observed.y if dataset.task == "graph classification" else None
