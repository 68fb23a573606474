"""Two real processes train what one process trains on their joined batches: the losses of some epochs, each of which
depends on the steps before, are equal. Weights are not compared: what does not change the loss, such as a bias in front
of a batch normalisation, has a gradient of rounding errors, and Adam makes whole steps of it.

Without dropout, which each process draws for its own rows. The numbers of examples are odd on purpose: shares differ in
size, and the last batch of an epoch has a single example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from word_model import noisy, write_word_model

from film_samples import BOTH, CONFIG, GRAPH, IDS, Words, retriever_of
from graph_samples import necklaces
from jepakit.cli.guard_train import with_attacks
from jepakit.graph.encoder import EncoderConfig as GraphEncoderConfig
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.finetune import FinetuneConfig, finetune
from jepakit.graph.objective import ObjectiveConfig as GraphObjective
from jepakit.graph.pretrain import PretrainConfig as GraphTraining
from jepakit.graph.pretrain import pretrain as pretrain_graphs
from jepakit.graph.views import ViewConfig as GraphViewConfig
from jepakit.guard.data import Trace
from jepakit.guard.datasets.generated import GeneratedConfig, generated_traces
from jepakit.guard.datasets.labelled import labelled_runs
from jepakit.guard.encoder import EncoderConfig as GuardEncoderConfig
from jepakit.guard.objective import ObjectiveConfig as GuardObjective
from jepakit.guard.plan_training import PlanTrainingConfig, train_on_plans
from jepakit.guard.pretrain import PretrainConfig as GuardTraining
from jepakit.guard.pretrain import train_encoders
from jepakit.kgqa.answerer.data import SubgraphPacker
from jepakit.kgqa.answerer.examples import retrieve_for
from jepakit.kgqa.answerer.finetune import FinetuneConfig as AnswererTraining
from jepakit.kgqa.answerer.finetune import finetune as finetune_answerer
from jepakit.kgqa.answerer.fusion import FusionConfig
from jepakit.kgqa.answerer.language_model import load_language_model
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.encoder import EncoderConfig as KnowledgeEncoderConfig
from jepakit.kgqa.encoder import KnowledgeEncoder
from jepakit.kgqa.features import entity_features
from jepakit.kgqa.objective import ObjectiveConfig as KnowledgeObjective
from jepakit.kgqa.paths.fitting import fit_retriever
from jepakit.kgqa.pretrain import PretrainConfig as KnowledgeTraining
from jepakit.kgqa.pretrain import pretrain as pretrain_knowledge
from jepakit.kgqa.retrievers.learned import LearnedPaths
from jepakit.kgqa.sampling import Sampling
from jepakit.kgqa.views import ViewConfig as KnowledgeViewConfig
from jepakit.lp.encoder import EncoderConfig as ProgramEncoderConfig
from jepakit.lp.families.named import make_family
from jepakit.lp.objective import ObjectiveConfig as ProgramObjective
from jepakit.lp.pretrain import PretrainConfig as ProgramTraining
from jepakit.lp.pretrain import pretrain as pretrain_programs
from jepakit.lp.starts.labels import label
from jepakit.retrieval.adapter.tuning import TuningConfig, tune
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.encoder import Adapter, AdapterConfig
from jepakit.retrieval.objective import ObjectiveConfig as AdapterObjective
from jepakit.retrieval.objective import fit_adapter
from jepakit.retrieval.pretrain import PretrainConfig as AdapterTraining
from jepakit.retrieval.pretrain import with_training_pairs
from jepakit.retrieval.views import ViewConfig as AdapterViewConfig
from jepakit.text import TextConfig, load_text_encoder
from jepakit.training.module import FitModule
from kg_samples import two_groups
from processes import run_group
from tiny_llama import write_tiny_llama

EPOCHS = 3


def training(world: int, batch_size: int = 5) -> dict[str, Any]:
    common = {"epochs": EPOCHS, "warmup_epochs": 0, "learning_rate": 3e-3}
    return {**common, "batch_size": batch_size, "accelerator": "cpu", "devices": world, "progress": False}


def graph_encoder(norm: Literal["batch", "layer"]) -> GraphEncoderConfig:
    return GraphEncoderConfig(hidden=8, layers=2, prototypes=0, norm=norm)


def graphs(world: int) -> nn.Module:
    views = GraphViewConfig(drop_edges=0.2, drop_features=0.2)
    objective = GraphObjective(predict=["node", "graph"])
    config = GraphTraining(**training(world), encoder=graph_encoder("layer"), views=views, objective=objective)
    return pretrain_graphs(necklaces(11), config).encoder


def graphs_twice(world: int) -> nn.Module:
    views = GraphViewConfig(context="all", target="view", drop_edges=0.3)
    objective = GraphObjective(target="lejepa", sigreg=0.1, loss="mse", standardize=True)
    config = GraphTraining(**training(world), encoder=graph_encoder("batch"), views=views, objective=objective)
    return pretrain_graphs(necklaces(11), config).encoder


def labelled_graphs(world: int) -> nn.Module:
    dataset = necklaces(11)
    torch.manual_seed(0)
    encoder = GraphEncoder.for_data(dataset.graphs, graph_encoder("batch"))
    return finetune(encoder, dataset, torch.arange(11), FinetuneConfig(**training(world)))


KNOWLEDGE_ENCODER = KnowledgeEncoderConfig(hidden=8, heads=2, layers=1)


def knowledge(world: int) -> nn.Module:
    graph, features = two_groups(20)
    config = KnowledgeTraining(
        **training(world),
        subgraphs=11,
        encoder=KNOWLEDGE_ENCODER,
        sampling=Sampling(nodes=10, hops=2, fanout=3),
        views=KnowledgeViewConfig(hide_relations=0.3),
        objective=KnowledgeObjective(sigreg=0.1),
    )
    return pretrain_knowledge(graph, config, features=features).encoder


def paths(world: int) -> nn.Module:
    config = replace(CONFIG, epochs=EPOCHS, devices=world, batch_size=5, steps_per_epoch=2)
    return fit_retriever(GRAPH, BOTH[range(0, 24, 2)], Words(), config, unlabelled=BOTH).encoder


def answers(world: int, llama: Path) -> nn.Module:
    model = load_language_model(str(llama), device="cpu")
    features = entity_features(GRAPH, Words())
    torch.manual_seed(0)
    encoder = KnowledgeEncoder.for_graph(GRAPH, features, KNOWLEDGE_ENCODER)
    config = AnswererTraining(
        **training(world),
        fusion=FusionConfig(hidden=8),
        prompt=PromptConfig(place="after", max_tokens=200),
    )
    pack = SubgraphPacker(GRAPH, features, encoder)
    examples = retrieve_for(GRAPH, BOTH[range(0, 22, 2)], LearnedPaths(retriever_of()), 5).examples
    return finetune_answerer(
        GRAPH, examples, config, encoder=encoder, pack=pack, language_model=model
    ).answerer.answerer


def runs() -> list[Trace]:
    return list(with_attacks(generated_traces(GeneratedConfig(30)), 0))


GUARD_ENCODER = GuardEncoderConfig(latent_dim=8, hidden=8, heads=2, layers=1, text_dim=8, dropout=0.0)


def calls(world: int) -> nn.Module:
    objective = GuardObjective(sigreg=0.1)
    config = GuardTraining(**training(world, 7), encoder=GUARD_ENCODER, objective=objective, per_stratum=2)
    return train_encoders(labelled_runs(runs()), config)[0]


def plans(world: int) -> nn.Module:
    config = PlanTrainingConfig(**training(world), neighbours=2, encoder=replace(GUARD_ENCODER, words=True))
    return train_on_plans(runs()[:21], config)[0]


def programs(world: int) -> nn.Module:
    family = make_family("set-cover", {"rows": 6, "columns": 8, "density": 0.4}, [], None)
    problems = [family.problem(seed) for seed in range(11)]
    encoder = ProgramEncoderConfig(dim=8, depth=1, dropout=0.0)
    objective = ProgramObjective(target="lejepa")
    config = ProgramTraining(
        **training(world), encoder=encoder, use_jepa=True, objective=objective, values_weight=0.1, held_out=0
    )
    return pretrain_programs(problems, config, optima=label(problems)).encoder


def adapter(world: int) -> nn.Module:
    torch.manual_seed(0)
    network = AdapterConfig(projection_depth=1, direction="both", dropout=0.0)
    adapter = Adapter(8, base="base", fingerprint="f", **vars(network))
    documents = torch.nn.functional.normalize(torch.randn(12, 8), dim=1)
    rows = torch.arange(21) % 12
    queries = torch.nn.functional.normalize(documents[rows] + 0.3 * torch.randn(21, 8), dim=1)
    config = AdapterTraining(
        **training(world),
        adapter=network,
        objective=AdapterObjective(sigreg=0.1),
        views=AdapterViewConfig(candidates="batch", hard_negatives=1),
    )
    fit_adapter(adapter, queries, documents, Pairs.of(range(21), rows.tolist()), config)
    return adapter


def tuned_base(world: int, base: Path) -> nn.Module:
    encoder = load_text_encoder(TextConfig(base=str(base), device="cpu"))
    # Attention reads the probability, and drops out itself.
    for part in encoder.model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    tuning = TuningConfig(epochs=EPOCHS, batch_size=5, base_rate=1e-2)
    config = AdapterTraining(**training(world), strategy="full", tuning=tuning)
    return tune(with_training_pairs(noisy(16)), encoder, config).encoder.model


STAGES: dict[str, Callable[[int], nn.Module]] = {
    "graph pretrain": graphs,
    "graph pretrain, two views": graphs_twice,
    "graph finetune": labelled_graphs,
    "kgqa pretrain": knowledge,
    "kgqa retriever": paths,
    "guard train": calls,
    "guard plans": plans,
    "lp train": programs,
    "retrieval train": adapter,
}
#: Those that read a model from the disk.
WITH_MODEL: dict[str, Callable[[int, Path], nn.Module]] = {"kgqa finetune": answers, "retrieval tuning": tuned_base}
NAMES = (*STAGES, *WITH_MODEL)


def trained(rank: int, world: int, names: Sequence[str], models: dict[str, Path]) -> dict[str, Tensor]:
    """The terms of the loss in each epoch and the weights after training, by stage and name."""
    found: dict[str, Tensor] = {}
    take_means, stage = FitModule.take_means, ""

    def told(module: FitModule) -> dict[str, Tensor]:
        means = take_means(module)
        found.update({f"{stage}: {name} of epoch {module.current_epoch}": value for name, value in means.items()})
        return means

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FitModule, "take_means", told)
        patch.setattr(nn.Dropout, "forward", lambda _, x: x)
        for stage in names:
            model = STAGES[stage](world) if stage in STAGES else WITH_MODEL[stage](world, models[stage])
            state = model.state_dict()
            found |= {f"{stage}: {name}": value.contiguous().clone() for name, value in state.items() if value.numel()}
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    llama = write_tiny_llama(tmp_path_factory.mktemp("llama"), [*IDS, *BOTH.texts])
    models = {"kgqa finetune": llama, "retrieval tuning": write_word_model(tmp_path_factory.mktemp("base"))}
    return trained(0, 1, NAMES, models), run_group(trained, tmp_path_factory.mktemp("stages"), NAMES, models)


@pytest.mark.parametrize("stage", NAMES)
def test_two_processes_train_what_one_does(stage: str, both: tuple[dict[str, Tensor], list[dict[str, Tensor]]]) -> None:
    alone, group = both
    names = [name for name in alone if name.startswith(f"{stage}: ")]
    losses = [name for name in names if "of epoch" in name]
    assert len(losses) >= 2 * EPOCHS
    for name in losses:
        found = torch.stack([process[name] for process in group]).mean(0)
        torch.testing.assert_close(found, alone[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    assert all(torch.equal(group[0][name], group[1][name]) for name in {*names} - {*losses})
