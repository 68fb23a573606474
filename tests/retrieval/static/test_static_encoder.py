"""The static encoder: the same vectors in torch and numpy, on disk and in memory, alone and in a batch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from static_samples import KNOWN, WORDS, rules, sentences, trained

from jepakit import load_encoder
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.retrieval.static.network import BagTensors, StaticNetwork
from jepakit.search.static.encoder import StaticEncoder, from_arrays, gelu, quantised
from jepakit.search.static.features import Features, count_features, tokenized, tokenizer_of
from jepakit.search.static.shipped import _FOLDER, general_encoder
from jepakit.training import save_encoder

ASKED = (*sentences(50, words=WORDS, seed=1), "", "  ", "\ud800", "unheard of", "d1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = trained().network
    return save_encoder(network, tmp_path_factory.mktemp("static") / "encoder", config=network.arguments)


@pytest.mark.parametrize("options", [{}, {"width": 12}, {"pairs": False}, {"hidden": 0.0}])
def test_torch_and_numpy_give_the_same_vectors(options: dict[str, object]) -> None:
    network = trained(**options).network
    encoder = network.numpy()
    expected = network(BagTensors.of(encoder.features(ASKED))).detach().numpy()
    np.testing.assert_allclose(encoder.encode(ASKED), expected, atol=1e-5)


def test_vectors_have_length_one_or_are_zero_without_a_known_token() -> None:
    encoder = trained().network.numpy()
    vectors, counts = encoder.encode(ASKED), encoder.features(ASKED).counts
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), counts > 0, atol=1e-5)
    assert not encoder.encode(["", "unheard of"]).any()
    assert encoder.encode([]).shape == (0, encoder.dim)


@given(st.permutations(range(len(ASKED))))
def test_a_vector_depends_on_its_text_alone(order: list[int]) -> None:
    encoder = trained().network.numpy()
    together = encoder.encode([ASKED[place] for place in order])
    alone = np.concatenate([encoder.encode([ASKED[place]]) for place in order])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_folder_gives_the_encoder_back(folder: Path) -> None:
    expected = trained().network.numpy().encode(ASKED)
    np.testing.assert_array_equal(StaticEncoder.load(folder).encode(ASKED), expected)
    again = load_encoder(folder)
    assert isinstance(again, StaticNetwork)
    np.testing.assert_array_equal(again.numpy().encode(ASKED), expected)


@pytest.mark.parametrize("options", [{}, {"width": 12, "hidden": 0.0}])
def test_the_rarest_rows_are_left_out_of_a_smaller_encoder(options: dict[str, object], tmp_path: Path) -> None:
    encoder = trained(**options).network.numpy()
    pairs = encoder.features.pairs
    small = encoder.within(encoder.megabytes - 0.006)
    assert encoder.megabytes - 0.0062 < small.megabytes <= encoder.megabytes - 0.006
    assert small.features.singles == encoder.features.singles
    kept = np.isin(pairs, small.features.pairs)
    often = encoder.gate.frequency[encoder.features.singles :]
    assert kept.any()
    assert often[kept].min() >= often[~kept].max()
    rows = small.features.rows_of(encoder.features) >= 0
    same = [text for text in ASKED if rows[encoder.features([text]).rows].all()]
    assert len(same) > 2
    np.testing.assert_array_equal(small.encode(same), encoder.encode(same))
    network = StaticNetwork.holding(small)
    folder = save_encoder(network, tmp_path / "small", config=network.arguments)
    np.testing.assert_array_equal(StaticEncoder.load(folder).encode(ASKED), small.encode(ASKED))
    np.testing.assert_array_equal(
        StaticEncoder.load(folder).familiar(small.features(ASKED)), small.familiar(small.features(ASKED))
    )
    with pytest.raises(ConfigError, match="megabytes"):
        encoder.within(1e-6)


def test_the_shipped_encoder_is_small_and_knows_what_words_mean() -> None:
    encoder = general_encoder()
    assert sum(file.stat().st_size for file in _FOLDER.iterdir()) < 8.1e6
    assert {file.name for file in _FOLDER.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    near = (("a doctor treats patients", "medical care"), ("the speed of a car", "how fast vehicles are"))
    for number, (one, other) in enumerate(near):
        vectors = encoder.encode([one, other, near[1 - number][1]])
        assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_any_changed_byte_of_the_weights_is_noticed(folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    content = bytearray((copied / "model.safetensors").read_bytes())
    for place in np.random.default_rng(0).integers(len(content), size=20).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (copied / "model.safetensors").write_bytes(damaged)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            StaticEncoder.load(copied)


def test_other_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        StaticEncoder.load(tmp_path)
    save_encoder(torch.nn.Linear(2, 2), tmp_path / "linear", config={"in_features": 2, "out_features": 2})
    with pytest.raises(ModelError, match=r"no static encoder but torch\.nn"):
        StaticEncoder.load(tmp_path / "linear")
    # The weights of another training, whole in themselves.
    other = trained(hidden=0.0).network
    save_encoder(other, tmp_path / "other", config=other.arguments)
    mixed = Path(shutil.copytree(folder, tmp_path / "mixed"))
    shutil.copyfile(tmp_path / "other" / "model.safetensors", mixed / "model.safetensors")
    with pytest.raises(ModelError, match="not the weights of this"):
        StaticEncoder.load(mixed)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("table", lambda array: array[:-1]),
        ("table", lambda array: array[:, :-1]),
        ("scale", lambda array: array[:-1]),
        ("predictor.layers.0.weight", lambda array: array[:, 1:]),
        ("predictor.layers.3.bias", lambda array: array[1:]),
        ("weights", lambda array: array[1:]),
        ("tokens", lambda array: np.where(array == array.max(), 10**6, array)),
        ("predictor.layers.0.bias", lambda array: np.where(array == array.max(), np.nan, array)),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(name: str, change: Callable[[Any], Any]) -> None:
    network = trained().network
    arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    with pytest.raises(DataError):
        from_arrays({**arrays, name: change(arrays[name])}, network.arguments)


def test_it_encodes_without_torch(folder: Path) -> None:
    code = (
        "import sys; from jepakit.search.static.encoder import StaticEncoder; "
        f"print(StaticEncoder.load({str(folder)!r}).encode(['d1 d2']).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "(1, 48) False"


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_whole_numbers_are_off_by_at_most_half_a_scale(rows: int, seed: int) -> None:
    table = np.random.default_rng(seed).standard_normal((rows, 9)).astype(np.float32) * 10.0 ** (seed % 7 - 3)
    table[0] = 0
    whole, scale = quantised(table)
    assert whole.dtype == np.int8
    assert (np.abs(whole * scale[:, None] - table) <= 0.5001 * scale[:, None]).all()


def test_gelu_is_that_of_torch() -> None:
    x = np.linspace(-12, 12, 20_001, dtype=np.float32)
    np.testing.assert_allclose(gelu(x), torch.nn.functional.gelu(torch.from_numpy(x)), atol=3e-6)


def test_pairs_are_found_where_their_tokens_stand_together() -> None:
    numbers = tokenized(tokenizer_of(rules()), ["d1 d2 d3", "d1 d2", "d2 d1"])
    features, counts = count_features(rules(), numbers, most=100, pairs=True, fewest=2)
    assert (features.singles, len(features.pairs), counts.tolist()) == (3, 1, [3, 3, 1, 2])
    bags = features(["d1 d2", "d2 d1", "d9 d1 d2", "unheard d1"])
    assert bags.counts.tolist() == [3, 2, 3, 1]
    np.testing.assert_allclose(bags.unknown, [0, 0, 1 / 3, 1 / 2], atol=1e-6)
    # What does not fit is left out, pairs before tokens, rare tokens before frequent ones.
    assert count_features(rules(), numbers, most=3, pairs=True, fewest=2)[0].pairs.tolist() == []
    small: Features = count_features(rules(), numbers, most=2, pairs=True, fewest=2)[0]
    assert small(["d1 d2 d3"]).counts.tolist() == [2]


def test_the_gate_knows_words_of_training() -> None:
    encoder = trained(home=0.9).network.numpy()
    home = encoder.features(sentences(300, seed=5))
    foreign = encoder.features(sentences(300, words=WORDS[len(KNOWN) :], seed=6))
    assert encoder.familiar(home).mean() > 0.8
    assert not encoder.familiar(foreign).any()
    assert not encoder.familiar(encoder.features(["", "unheard of"])).any()
