"""The adapter: it starts as the base model, and goes back to it where it is told to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from jepakit import load_encoder
from jepakit.errors import ConfigError, ModelError
from jepakit.retrieval.encoder import Adapter, AdapterConfig
from jepakit.training import save_encoder


def unit(rows: int, dim: int = 12, seed: int = 0) -> Tensor:
    vectors = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


def adapter(dim: int = 12, **options: object) -> Adapter:
    return Adapter(dim, base="base", fingerprint="f", **options).eval()  # type: ignore[arg-type]


def disturbed(model: Adapter) -> Adapter:
    """As training leaves it: no parameter is where it began."""
    for parameter in [*model.towers.parameters(), *model.predictor.parameters()]:
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return model


NETWORKS = [
    {},
    {"predictor_depth": 2},
    {"predictor_depth": 4},
    {"projection_depth": 1, "predictor_depth": 0},
    {"projection_depth": 2, "predictor_depth": 2, "separate_projections": True},
    {"direction": "document"},
    {"direction": "both", "predictor_depth": 2},
    {"output_dim": 20, "projection_depth": 1},
    {"output_dim": 20, "direction": "both", "projection_depth": 1, "separate_projections": True},
]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_before_training_every_score_is_the_base_models(network: dict[str, object]) -> None:
    queries, documents = unit(5, seed=1), unit(7, seed=2)
    model = adapter(**network)
    scores = model.queries(queries) @ model.documents(documents).T
    torch.testing.assert_close(scores, queries @ documents.T, atol=1e-5, rtol=0)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_at_strength_0_a_trained_adapter_is_the_base_model_too(network: dict[str, object]) -> None:
    queries, documents = unit(5, seed=1), unit(7, seed=2)
    model = disturbed(adapter(**network))
    trained = model.queries(queries) @ model.documents(documents).T
    assert (trained - queries @ documents.T).abs().max() > 0.05
    model.strength.fill_(0.0)
    scores = model.queries(queries) @ model.documents(documents).T
    torch.testing.assert_close(scores, queries @ documents.T, atol=1e-5, rtol=0)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_vectors_have_length_1_and_a_blank_document_matches_nothing(network: dict[str, object]) -> None:
    model = disturbed(adapter(**network))
    for vectors in (model.queries(unit(5)), model.documents(unit(5))):
        assert vectors.shape == (5, model.out_dim)
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(5))
    assert not model.documents(torch.zeros(1, 12)).any() or model.changes_documents


def test_a_random_start_forgets_the_base() -> None:
    queries, documents = unit(200, seed=1), unit(200, seed=2)
    model = adapter(start="random", predictor_depth=2)
    scores = model.queries(queries) @ model.documents(documents).T
    correlation = torch.corrcoef(torch.stack([scores.flatten(), (queries @ documents.T).flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.5


def test_a_narrower_output_keeps_the_directions_in_which_documents_lie() -> None:
    documents = torch.nn.functional.normalize(unit(50)[:, :4] @ unit(4, seed=3), dim=-1)
    model = adapter(output_dim=4)
    model.towers.fit_start(documents)
    torch.testing.assert_close(
        model.documents(documents) @ model.documents(documents).T, documents @ documents.T, atol=1e-5, rtol=0
    )


def test_familiarity_scales_the_strength_query_by_query() -> None:
    queries = unit(3)
    model = disturbed(adapter())
    model.strength.fill_(0.8)
    mixed = model.queries(queries, torch.tensor([0.0, 1.0, 0.5]))
    torch.testing.assert_close(mixed[0], queries[0])
    torch.testing.assert_close(mixed[1], model.queries(queries)[1])
    model.strength.fill_(0.4)
    torch.testing.assert_close(mixed[2], model.queries(queries)[2])


@pytest.mark.parametrize("direction", ["query", "document"])
def test_only_the_predicted_side_changes(direction: Literal["query", "document"]) -> None:
    vectors = unit(4)
    model = disturbed(adapter(direction=direction))
    same = model.documents(vectors) if direction == "query" else model.queries(vectors)
    changed = model.queries(vectors) if direction == "query" else model.documents(vectors)
    torch.testing.assert_close(same, vectors)
    assert (changed - vectors).abs().max() > 0.05
    assert model.changes_documents is (direction == "document")


def test_a_folder_gives_the_same_adapter_back_with_its_memory(tmp_path: Path) -> None:
    model = disturbed(adapter(predictor_depth=2, direction="both"))
    model.familiar_queries.fit(unit(40), torch.arange(40), quantiles=(0.1, 0.5))
    model.strength.fill_(0.25)
    save_encoder(model, tmp_path / "adapter", config=model.arguments)
    loaded = load_encoder(tmp_path / "adapter")
    assert isinstance(loaded, Adapter)
    assert (loaded.base, loaded.fingerprint, loaded.config) == ("base", "f", AdapterConfig(**asdict(model.config)))
    queries = unit(9, seed=5)
    familiarity = model.familiar_queries(queries)
    assert 0 < float(familiarity.mean()) < 1
    torch.testing.assert_close(loaded.familiar_queries(queries), familiarity)
    torch.testing.assert_close(loaded.queries(queries, familiarity), model.queries(queries, familiarity))


def test_an_adapter_of_another_width_is_refused(tmp_path: Path) -> None:
    model = adapter()
    save_encoder(model, tmp_path / "adapter", config=model.arguments)
    config = tmp_path / "adapter" / "config.json"
    description = json.loads(config.read_text())
    description["config"]["dim"] = 13
    del description["sha256"]  # an edited file, not a damaged one
    config.write_text(json.dumps(description))
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_encoder(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"predictor_depth": 0}, "predictor_depth = 0: expected at least 1 where projection_depth is 0"),
        ({"separate_projections": True}, "separate_projections = True: expected false where projection_depth is 0"),
        ({"direction": "up"}, "direction = 'up': expected one of both, document, query"),
        ({"dropout": 1.0}, "dropout = 1.0: "),
        ({"output_dim": 0}, "output_dim = 0: expected at least 1"),
    ],
)
def test_networks_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match="^" + message.replace("(", r"\(")):
        AdapterConfig(**options)  # type: ignore[arg-type]
