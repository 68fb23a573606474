"""An exported model: the adapter's vectors to the last digit, with nothing of jepakit around."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module
from sentence_transformers.sentence_transformer.modules import Dense
from tiny_models import sentence_transformer
from torch import Tensor

from jepakit.errors import ConfigError, ModelError
from jepakit.retrieval.encoder import Adapter
from jepakit.retrieval.ranking import SearchSettings
from jepakit.retrieval.serving.export import export_sentence_transformer
from jepakit.text import SentenceEncoder, load_text_encoder
from jepakit.text.fingerprint import model_fingerprint

QUERIES = ["how do i read a file", "sort the list", "open"]
DOCUMENTS = ["open the file : read a line", "list sort", "the socket"]

NETWORKS: list[dict[str, Any]] = [
    {},
    {"predictor_depth": 2},
    {"predictor_depth": 4, "width_factor": 0.5},
    {"predictor_depth": 3, "start": "random"},
    {"projection_depth": 1, "predictor_depth": 0},
    {"projection_depth": 1, "predictor_depth": 1},
    {"projection_depth": 2, "predictor_depth": 3, "separate_projections": True},
    {"projection_depth": 3, "predictor_depth": 2, "start": "random"},
    {"direction": "document", "predictor_depth": 2},
    {"output_dim": 7, "predictor_depth": 2},
    {"output_dim": 24, "projection_depth": 2, "predictor_depth": 2},
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    return SentenceEncoder(sentence_transformer(tmp_path_factory.mktemp("base") / "bert"), name="tiny")


def trained(encoder: SentenceEncoder, strength: float = 0.6, **network: Any) -> Adapter:
    """As training leaves it: no parameter is where it began."""
    adapter = Adapter(encoder.dim, base=encoder.name, fingerprint=encoder.fingerprint, **network).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in adapter.parameters():
        parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator) / encoder.dim**0.5
    adapter.strength.fill_(strength)
    return adapter


def expected(adapter: Adapter, encoder: SentenceEncoder) -> tuple[Tensor, Tensor]:
    queries, documents = encoder.encode(QUERIES, "query"), encoder.encode(DOCUMENTS, "document")
    return adapter.queries(queries), adapter.documents(documents)


def exported(adapter: Adapter, encoder: SentenceEncoder, folder: Path) -> SentenceTransformer:
    assert export_sentence_transformer(adapter, encoder, folder) == folder
    return SentenceTransformer(str(folder), device="cpu")


def assert_same(model: SentenceTransformer, queries: Tensor, documents: Tensor, atol: float = 1e-5) -> None:
    found = torch.from_numpy(model.encode_query(QUERIES)), torch.from_numpy(model.encode_document(DOCUMENTS))
    torch.testing.assert_close(found[0], queries, atol=atol, rtol=0)
    torch.testing.assert_close(found[1], documents, atol=atol, rtol=0)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_exported_model_gives_the_adapters_vectors(
    tmp_path: Path, encoder: SentenceEncoder, network: dict[str, Any]
) -> None:
    adapter = trained(encoder, **network)
    queries, documents = expected(adapter, encoder)
    # Otherwise a model that forgot the adapter would pass.
    changed = queries if network.get("direction") != "document" else documents
    assert changed.shape[1] != encoder.dim or (changed - encoder.encode(QUERIES, "query")).abs().max() > 0.05
    model = exported(adapter, encoder, tmp_path / "model")
    assert_same(model, queries, documents)
    assert model.get_embedding_dimension() == adapter.out_dim


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_strength_is_part_of_it(tmp_path: Path, encoder: SentenceEncoder, strength: float) -> None:
    adapter = trained(encoder, strength, predictor_depth=2)
    assert_same(exported(adapter, encoder, tmp_path / "model"), *expected(adapter, encoder))


def test_without_a_word_about_its_kind_a_text_is_a_document(tmp_path: Path, encoder: SentenceEncoder) -> None:
    model = exported(trained(encoder, predictor_depth=2), encoder, tmp_path / "model")
    plain = model.encode(DOCUMENTS, prompt_name=None)
    np.testing.assert_array_equal(plain, model.encode_document(DOCUMENTS))
    # A prompt does not choose the side.
    np.testing.assert_array_equal(model.encode(DOCUMENTS, prompt_name="query"), plain)
    assert np.abs(model.encode_query(DOCUMENTS) - plain).max() > 0.05


def test_the_packaged_model_is_stored_once_and_runs_where_jepakit_is_not(tmp_path: Path) -> None:
    minilm = load_text_encoder()
    adapter = trained(minilm, predictor_depth=2)
    settings = SearchSettings(words=0.3, sentences=0.5)
    folder = export_sentence_transformer(adapter, minilm, tmp_path / "model", dataset="my notes", settings=settings)
    minilm.model.save(str(tmp_path / "base"), create_model_card=False)
    layers = 4 * (3 * 768 * 384 + 2 * 768 + 384 * 2 * 768)
    assert bytes_in(tmp_path / "base") < bytes_in(folder) < bytes_in(tmp_path / "base") + layers

    card = (folder / "README.md").read_text("utf-8")
    assert "- **Base:** all-MiniLM-L6-v2\n- **Trained on:** my notes\n- **Strength of the adapter:** 0.6\n" in card
    assert "- Left out of jepakit's search: sentences (weight 0.5).\n" in card
    assert "- Left out of jepakit's search: BM25 (weight 0.3).\n" in card
    assert "feedback" not in card
    code = "import sys\nsys.modules['jepakit'] = None\n" + card.split("```python\n")[1].split("```")[0]
    code += "import json; print(json.dumps([queries.tolist(), documents.tolist(), scores.tolist()]))"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    queries, documents, scores = (torch.tensor(one) for one in json.loads(run.stdout))
    asked = adapter.queries(minilm.encode(["how do I read a file"], "query"))
    found = adapter.documents(minilm.encode(["open() returns a file object."], "document"))
    torch.testing.assert_close(queries, asked, atol=1e-5, rtol=0)
    torch.testing.assert_close(documents, found, atol=1e-5, rtol=0)
    torch.testing.assert_close(scores, asked @ found.T, atol=1e-5, rtol=0)


def test_prompts_truncation_and_the_longest_input_of_the_base_stay(tmp_path: Path) -> None:
    prompts = {"query": "query : ", "document": "the "}
    model = sentence_transformer(tmp_path / "bert", prompts=prompts, truncate_dim=10)
    model.max_seq_length = 6
    base = SentenceEncoder(model, name="prompted")
    assert base.dim == 10
    adapter = trained(base, predictor_depth=2)
    loaded = exported(adapter, base, tmp_path / "model")
    assert_same(loaded, *expected(adapter, base))
    assert loaded.prompts == prompts
    long = ["sort the list read a file", "sort the list socket socket socket"]
    assert np.ptp(loaded.encode_query(long), axis=0).max() < 1e-6


def test_a_base_in_half_precision_is_written_in_single(tmp_path: Path) -> None:
    model = sentence_transformer(tmp_path / "bert")
    whole = SentenceEncoder(model, name="tiny")
    half = SentenceEncoder(sentence_transformer(tmp_path / "again").bfloat16(), name="tiny")
    adapter = trained(half, predictor_depth=2)
    loaded = exported(adapter, half, tmp_path / "model")
    assert loaded.dtype == torch.float32
    assert half.model.dtype == torch.bfloat16
    # The weights themselves were rounded.
    assert_same(loaded, *expected(adapter, whole), atol=3e-2)


def test_an_export_changes_neither_the_encoder_nor_the_callers_random_numbers(
    tmp_path: Path, encoder: SentenceEncoder
) -> None:
    adapter = trained(encoder, predictor_depth=2)
    before, state = encoder.encode(QUERIES, "query"), torch.random.get_rng_state()
    export_sentence_transformer(adapter, encoder, tmp_path / "model")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(encoder.encode(QUERIES, "query"), before)
    assert model_fingerprint(encoder.model) == encoder.fingerprint


def test_whoever_may_read_the_card_may_read_the_weights(tmp_path: Path, encoder: SentenceEncoder) -> None:
    folder = export_sentence_transformer(trained(encoder), encoder, tmp_path / "model")
    modes = {file.stat().st_mode for file in folder.rglob("*") if file.is_file()}
    assert modes == {(folder / "README.md").stat().st_mode}


def test_both_directions_are_refused_with_the_way_out(tmp_path: Path, encoder: SentenceEncoder) -> None:
    with pytest.raises(ConfigError, match=r"direction = 'both': expected query or document .*retrieval\.Searcher"):
        export_sentence_transformer(trained(encoder, direction="both"), encoder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_another_base_is_refused(tmp_path: Path, encoder: SentenceEncoder) -> None:
    other = Adapter(encoder.dim, base="other", fingerprint="0123")
    with pytest.raises(ModelError, match="the adapter was trained on other with fingerprint 0123"):
        export_sentence_transformer(other, encoder, tmp_path / "model")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_is_left_alone(tmp_path: Path, encoder: SentenceEncoder, kind: Literal["folder", "file"]) -> None:
    target = tmp_path / "model"
    kept = target if kind == "file" else target / "thesis.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("years of work")
    with pytest.raises(ModelError, match=r"model: is there already; give a new folder, or remove it first"):
        export_sentence_transformer(trained(encoder), encoder, target)
    assert kept.read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_an_empty_folder_is_taken(tmp_path: Path, encoder: SentenceEncoder) -> None:
    (tmp_path / "model").mkdir()
    adapter = trained(encoder)
    assert_same(exported(adapter, encoder, tmp_path / "model"), *expected(adapter, encoder))


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, encoder: SentenceEncoder) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"file/model: could not be written"):
        export_sentence_transformer(trained(encoder), encoder, tmp_path / "file" / "model")


class Foreign(Module):
    """A module of a base that only its author has."""

    def forward(self, features: dict[str, Tensor], **options: Any) -> dict[str, Tensor]:
        return features

    def save(self, output_path: str, *args: Any, **options: Any) -> None:
        self.save_config(output_path)


class Full(Foreign):
    def save(self, output_path: str, *args: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Foreign(), r"tiny: the written model cannot be loaded \(.*not part of Sentence Transformers"),
        (Full(), r"model: could not be written \(.*No space left on device"),
    ],
    ids=["foreign", "full"],
)
def test_what_cannot_be_written_or_loaded_leaves_nothing_behind(tmp_path: Path, module: Module, message: str) -> None:
    parts = sentence_transformer(tmp_path / "bert").children()
    base = SentenceEncoder(SentenceTransformer(modules=[*parts, module], device="cpu"), name="tiny")
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match=message):
        export_sentence_transformer(trained(base), base, tmp_path / "out" / "model")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_module_that_is_another_when_it_is_loaded_again_is_noticed(tmp_path: Path) -> None:
    model = sentence_transformer(tmp_path / "bert")
    # Of an activation only the class is saved: the slope becomes 0.01.
    dense = Dense(16, 16, activation_function=torch.nn.LeakyReLU(0.7))
    base = SentenceEncoder(SentenceTransformer(modules=[*model.children(), dense], device="cpu"), name="tiny")
    with pytest.raises(ModelError, match="tiny: the written model gives other vectors"):
        export_sentence_transformer(trained(base), base, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_backend_without_weights_is_refused(tmp_path: Path) -> None:
    base = SentenceEncoder(sentence_transformer(tmp_path / "bert"), name="tiny")
    # What another backend leaves in the transformer's place: something that runs and has no weights.
    base.model[0].model = torch.nn.Identity()
    with pytest.raises(ConfigError, match="backend = 'Identity': expected torch"):
        export_sentence_transformer(trained(base), base, tmp_path / "model")
