"""Export to sentence-transformers: the written model gives the same vectors, or is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from toy_collection import collection
from word_model import write_word_model

from jepakit.errors import ConfigError, ModelError
from jepakit.retrieval.static.config import StaticConfig
from jepakit.retrieval.static.export import export_static
from jepakit.retrieval.static.stage import train_static
from jepakit.search.static.encoder import StaticEncoder
from jepakit.text import SentenceEncoder, TextConfig, load_text_encoder

Trained = tuple[StaticEncoder, SentenceEncoder]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    prompts = {"query": "query : ", "document": "water "}
    folder = write_word_model(tmp_path_factory.mktemp("base"), prompts=prompts)
    base = load_text_encoder(TextConfig(base=str(folder), device="cpu"))
    dataset = collection(40, foreign=False)
    config = StaticConfig(pairs=False, hidden=0, width=20, texts=100, epochs=1)
    return train_static(dataset.documents, dataset, base, config).network.numpy(), base


def test_the_written_model_gives_the_same_vectors(trained: Trained, tmp_path: Path) -> None:
    static, base = trained
    texts = ["d1 d2", "d7 d3 d3 unheard", "d1"]
    model = SentenceTransformer(str(export_static(static, base, tmp_path / "model")), device="cpu")
    np.testing.assert_allclose(model.encode_query(texts), static.encode(texts), atol=1e-5)
    np.testing.assert_allclose(model.encode_document(texts), base.encode(texts, "document"), atol=1e-5)


def test_what_the_module_cannot_express_is_refused(trained: Trained, tmp_path: Path) -> None:
    static, base = trained
    layer = (np.eye(32, dtype=np.float32), np.zeros(32, np.float32))
    for changed, error, told in (
        (replace(static, layers=(layer,)), ConfigError, "hidden"),
        (replace(static, features=replace(static.features, pairs=np.array([1]))), ConfigError, "pairs"),
        (replace(static, documents="other"), ModelError, "other vectors"),
    ):
        with pytest.raises(error, match=told):
            export_static(changed, base, tmp_path / "model")
    assert not (tmp_path / "model").exists()
