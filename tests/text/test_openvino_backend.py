"""The transformer on OpenVINO: the vectors of torch, for every shape and from several threads."""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tiny_model import DIM, WORDS, tiny_tokenizer, write_model
from torch import Tensor

from jepakit.errors import ModelError
from jepakit.text import SentenceEncoder, TextConfig, load_text_encoder

# To import it here would be to import its telemetry with it.
pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed")

TEXTS = ["", "cat", " ".join(WORDS), "dog " * 100, "water: justice 1", "cat"]


def load(folder: Path, **options: Any) -> SentenceEncoder:
    return load_text_encoder(TextConfig(base=str(folder), device="cpu", **options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny"), prompts={"query": "query: ", "document": ""})


@pytest.fixture(scope="module")
def converted(folder: Path) -> SentenceEncoder:
    return load(folder, backend="openvino")


def test_vectors_are_those_of_torch(folder: Path, converted: SentenceEncoder) -> None:
    plain = load(folder)
    for kind in ("query", "document"):
        expected = plain.encode(TEXTS, kind)
        torch.testing.assert_close(converted.encode(TEXTS, kind), expected, atol=1e-5, rtol=0)
        alone = torch.cat([converted.encode([text], kind) for text in TEXTS])
        torch.testing.assert_close(alone, expected, atol=1e-5, rtol=0)
    assert converted.encode([], "query").shape == (0, DIM)


def test_fingerprint_is_another_for_each_precision(folder: Path, converted: SentenceEncoder) -> None:
    half = load(folder, backend="openvino", precision="bfloat16")
    assert len({load(folder).fingerprint, converted.fingerprint, half.fingerprint}) == 3
    assert load(folder, backend="openvino").fingerprint == converted.fingerprint
    nearness = (half.encode(TEXTS[1:], "query") * converted.encode(TEXTS[1:], "query")).sum(-1)
    assert float(nearness.min()) > 0.99


def test_threads_share_it(converted: SentenceEncoder) -> None:
    expected = converted.encode(TEXTS, "document")
    found: list[Tensor] = []

    def work() -> None:
        for _ in range(10):
            found.append(torch.cat([converted.encode([text], "document") for text in TEXTS]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    for rows in found:
        torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


def test_loading_says_nothing_to_anybody(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder, backend="openvino")
    assert capfd.readouterr() == ("", "")
    assert "openvino" in sys.modules
    assert [name for name in sys.modules if name.startswith("openvino_telemetry")] == []


def test_a_model_that_is_no_transformer(tmp_path: Path) -> None:
    static = StaticEmbedding(tiny_tokenizer().backend_tokenizer, embedding_dim=DIM)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path))
    with pytest.raises(ModelError, match="not a transformer, which OpenVINO needs; expected backend = torch"):
        load(tmp_path, backend="openvino")
