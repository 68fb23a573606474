"""Two real processes train what one process trains on their joined batches: the weights at the end are equal.

Views of graphs and knowledge graphs are drawn at random in each process: of these, the test of mistake 5 compares the
value and the gradients of a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jepakit.lp.encoder import EncoderConfig
from jepakit.lp.families.named import make_family
from jepakit.lp.pretrain import PretrainConfig as ProgramsConfig
from jepakit.lp.pretrain import pretrain as pretrain_programs
from jepakit.lp.starts.labels import label
from jepakit.retrieval.data import Pairs
from jepakit.retrieval.encoder import Adapter, AdapterConfig
from jepakit.retrieval.objective import ObjectiveConfig, fit_adapter
from jepakit.retrieval.pretrain import PretrainConfig as AdapterTraining
from processes import run_group


def training(world: int) -> dict[str, Any]:
    return {"epochs": 3, "batch_size": 4, "accelerator": "cpu", "devices": world, "progress": False}


def programs(world: int) -> nn.Module:
    family = make_family("set-cover", {"rows": 6, "columns": 8, "density": 0.4}, [], None)
    problems = [family.problem(seed) for seed in range(8)]
    encoder = EncoderConfig(dim=8, depth=1, dropout=0.0)
    config = ProgramsConfig(**training(world), encoder=encoder, use_jepa=False, held_out=0)
    return pretrain_programs(problems, config, optima=label(problems)).encoder


def adapter(world: int) -> nn.Module:
    torch.manual_seed(0)
    network = AdapterConfig(projection_depth=1, direction="both", dropout=0.0)
    adapter = Adapter(8, base="base", fingerprint="f", **vars(network))
    documents = torch.nn.functional.normalize(torch.randn(12, 8), dim=1)
    rows = torch.arange(24) % 12
    queries = torch.nn.functional.normalize(documents[rows] + 0.3 * torch.randn(24, 8), dim=1)
    config = AdapterTraining(**training(world), adapter=network, objective=ObjectiveConfig(sigreg=0.1))
    fit_adapter(adapter, queries, documents, Pairs.of(range(24), rows.tolist()), config)
    return adapter


SYSTEMS: dict[str, Callable[[int], nn.Module]] = {"retrieval": adapter, "lp": programs}


def weights(rank: int, world: int) -> dict[str, Tensor]:
    """The weights of every system after training, by its name and theirs."""
    trained = {system: train(world) for system, train in SYSTEMS.items()}
    return {
        f"{system}.{name}": value.clone(memory_format=torch.contiguous_format)
        for system, model in trained.items()
        for name, value in model.state_dict().items()
        if value.numel()
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    return weights(0, 1), run_group(weights, tmp_path_factory.mktemp("systems"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_two_processes_end_with_the_weights_of_one(
    system: str, both: tuple[dict[str, Tensor], list[dict[str, Tensor]]]
) -> None:
    alone, group = both
    names = [name for name in alone if name.startswith(system)]
    assert names
    for name in names:
        for found in group:
            torch.testing.assert_close(
                found[name], alone[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
