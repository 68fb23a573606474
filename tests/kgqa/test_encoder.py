"""Encoders of knowledge graphs: what they read, what they refuse, how they are stored, and embedding a whole graph."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepakit import load_encoder
from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph, Relation
from jepakit.kgqa.embed import batches, embed_entities
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.kgqa.networks.layers import LAYERS
from jepakit.training import save_encoder
from kg_samples import features_of, graph_of, two_groups, whole


def encoder_of(graph: KnowledgeGraph, **options: object) -> KnowledgeEncoder:
    torch.manual_seed(0)
    config = EncoderConfig(**{"hidden": 8, "layers": 2, "heads": 2, "bases": 2} | options)
    return KnowledgeEncoder.for_graph(graph, features_of(graph), config).eval()


@pytest.mark.parametrize("jumping", ["concat", "last"])
@pytest.mark.parametrize("conv", LAYERS)
def test_embedding_layer_by_layer_is_encoding_the_graph_as_one(conv: str, jumping: str) -> None:
    graph, _ = two_groups(20)
    graph = graph_of(graph.triples(), 45)  # with isolated entities
    features = features_of(graph)
    encoder = encoder_of(graph, conv=conv, jumping=jumping)
    with torch.no_grad():
        expected = encoder(whole(graph, encoder.fit_to(graph, features)))["node"]
    for batch_edges in (1, 50, 10**6):
        found = embed_entities(graph, encoder, features, neighbours=None, batch_edges=batch_edges)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.shape == (45, encoder.out_channels)


def test_of_many_neighbours_some_are_read_and_the_seed_chooses() -> None:
    """The hub has 500 leaves; its embedding from 50 of them is near that from all, and repeats itself."""
    graph = graph_of([(0, leaf % 2, leaf) for leaf in range(1, 501)], 501)
    features, encoder = features_of(graph), encoder_of(graph, layers=1, conv="rgcn")
    every, some, again, other = (
        embed_entities(graph, encoder, features, neighbours=count, seed=seed)
        for count, seed in ((None, 0), (50, 0), (50, 0), (50, 1))
    )
    assert torch.equal(some, again)
    assert not torch.equal(some[0], other[0])
    assert torch.equal(some[1:], every[1:])
    assert torch.cosine_similarity(some[0], every[0], dim=0) > 0.9


def test_types_are_known_by_name_and_an_unknown_type_is_none() -> None:
    graph = graph_of(two_groups(5)[0].triples(), 10)
    features, encoder = features_of(graph), encoder_of(graph)
    assert features.types == ("even", "odd")
    renamed = replace(features, types=("aaa", "even"), type=1 - features.type)
    place = encoder.fit_to(graph, features).type
    assert place.tolist() == [1, 2] * 5
    assert encoder.fit_to(graph, renamed).type.tolist() == [1, 0] * 5
    assert torch.equal(encoder.kinds.weight[0], torch.zeros(8))


def test_another_graph_or_sentence_encoder_is_refused() -> None:
    graph = graph_of([(0, 0, 1), (1, 1, 2)], 3)
    features, encoder = features_of(graph), encoder_of(graph)
    other = replace(graph, relations=(Relation("r0"), Relation("owns")))
    with pytest.raises(DataError) as error:
        embed_entities(other, encoder, features)
    assert (error.value.field, error.value.value) == ("relations", ["r0", "owns"])
    with pytest.raises(DataError) as error:
        embed_entities(graph, encoder, replace(features, fingerprint="other"))
    assert error.value.field == "fingerprint"


@pytest.mark.parametrize("conv", LAYERS)
def test_an_encoder_is_stored_and_loaded(conv: str, tmp_path: Path) -> None:
    graph = graph_of([(0, 0, 1), (1, 1, 2)], 3)
    encoder = encoder_of(graph, conv=conv, norm="batch", position="degree")
    save_encoder(encoder, tmp_path / "encoder", config=encoder.arguments)
    loaded = load_encoder(tmp_path / "encoder")
    assert isinstance(loaded, KnowledgeEncoder)
    assert loaded.arguments == encoder.arguments
    features = features_of(graph)
    assert torch.equal(embed_entities(graph, loaded, features), embed_entities(graph, encoder, features))


def test_a_long_text_weighs_no_more_than_a_short_one() -> None:
    graph = graph_of([(0, 0, 1), (1, 1, 2)], 3)
    features, encoder = features_of(graph), encoder_of(graph)
    scaled = replace(features, text=features.text * torch.tensor([[1.0], [10.0], [0.1]]))
    torch.testing.assert_close(embed_entities(graph, encoder, scaled), embed_entities(graph, encoder, features))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"conv": "gps"}, "conv"),
        ({"conv": "gat", "heads": 3}, "heads"),
        ({"layers": 0}, "layers"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_options_are_checked(options: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as error:
        EncoderConfig(**options)
    assert error.value.field == field


def test_memory_is_bounded_by_the_batch_not_by_the_graph() -> None:
    """Every layer reads each range of entities once: ranges cover all entities and hold what was asked for."""
    numbers = np.random.default_rng(0)
    graph = graph_of(
        np.stack([numbers.integers(0, 100, 3000), numbers.integers(0, 2, 3000), np.zeros(3000, int)], 1), 100
    )
    ranges = list(batches(graph, 8, 50))
    assert [first for first, _ in ranges] == [0, *(last for _, last in ranges[:-1])]
    assert ranges[-1][1] == 100
    for first, last in ranges:
        assert last == first + 1 or sum(1 + min(int(d), 8) for d in graph.degree[first:last]) <= 50
