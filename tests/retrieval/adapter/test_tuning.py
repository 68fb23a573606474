"""Training the base: what changes, by how much, and when it is given back as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tiny_model import tiny_tokenizer
from torch import Tensor, nn
from toy_collection import WordEncoder, collection
from word_model import DIM, NOISE, WORDS, noisy, write_word_model

from jepakit.errors import ConfigError, DataError, MissingExtraError, ModelError
from jepakit.retrieval import (
    Adapter,
    EvaluateConfig,
    Pairs,
    PretrainConfig,
    SearchSettings,
    SelectionConfig,
    Tuned,
    TuningConfig,
    evaluate,
    pretrain,
    save_base,
    tune,
    with_training_pairs,
)
from jepakit.retrieval.adapter import tuning
from jepakit.retrieval.adapter.tuning import Strategy, TrainedBase
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.datasets.splits import train_and_dev
from jepakit.retrieval.encoder import Side
from jepakit.retrieval.measuring.metrics import ndcg, top_documents
from jepakit.text import SentenceEncoder, TextConfig, TextEncoder, load_text_encoder
from jepakit.text.fingerprint import model_fingerprint
from jepakit.training import RunFolder
from jepakit.training.storage.checkpoint import read_checkpoint

CONFIG = PretrainConfig(progress=False, accelerator="cpu")
#: Much faster than real bases bear: this one knows nothing that could be lost.
FAST = TuningConfig(epochs=8, base_rate=1e-2)
STRATEGIES: tuple[Strategy, ...] = ("two-phase", "full", "lora")


def by(strategy: Strategy, tuning: TuningConfig = FAST, **options: Any) -> PretrainConfig:
    return replace(CONFIG, strategy=strategy, tuning=tuning, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_word_model(tmp_path_factory.mktemp("base"), prompts={"query": "query : ", "document": ""})


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SentenceEncoder:
    return load_text_encoder(TextConfig(base=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def dataset() -> RetrievalDataset:
    return with_training_pairs(noisy())


@pytest.fixture(scope="module")
def tuned(dataset: RetrievalDataset, encoder: SentenceEncoder) -> dict[Strategy, Tuned]:
    """At full strength."""
    config = replace(FAST, strengths=[1.0], rank=2)
    two_phase = replace(FAST, strengths=[1.0], epochs=16)
    return {
        strategy: tune(dataset, encoder, by(strategy, two_phase if strategy == "two-phase" else config))
        for strategy in STRATEGIES
    }


def weights(encoder: SentenceEncoder) -> dict[str, Tensor]:
    return encoder.model.state_dict()


def held_out(dataset: RetrievalDataset, encoder: TextEncoder) -> float:
    """NDCG@10 of the test queries."""
    pairs = dataset.splits["test"]
    texts = [dataset.queries.texts[row] for row in pairs.queries.tolist()]
    queries, documents = encoder.encode(texts, "query"), encoder.encode(dataset.documents.passages, "document")
    return float(ndcg(top_documents(queries, documents, 10)[1], pairs.queries, pairs).mean())


class Watched(TrainedBase):
    """Notes a weight at every step, and is interrupted at one."""

    seen: list[Tensor]
    last: int | None

    def forward(self, side: Side) -> Tensor:
        if side.kind == "query":
            self.seen.append(self.model[0].get_submodule("model").embeddings.word_embeddings.weight.detach().clone())
            if len(self.seen) == self.last:
                raise KeyboardInterrupt
        return super().forward(side)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Watched]]:
    Watched.seen, Watched.last = [], None
    monkeypatch.setattr(tuning, "TrainedBase", Watched)
    yield Watched
    Watched.seen = []


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_base_that_can_learn_finds_what_it_has_not_seen(
    strategy: Strategy, tuned: dict[Strategy, Tuned], dataset: RetrievalDataset, encoder: SentenceEncoder
) -> None:
    result = tuned[strategy]
    assert result.strength == 1.0
    assert result.queries == len(dataset.splits["dev"])
    assert result.interval[0] > 0
    assert held_out(dataset, encoder) < 0.2
    assert held_out(dataset, result.encoder) > held_out(dataset, encoder) + 0.2
    assert result.sentence.endswith("tuned weights at strength 1")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_base_that_was_given_stays_as_it_is(
    strategy: Strategy, tuned: dict[Strategy, Tuned], encoder: SentenceEncoder
) -> None:
    model = tuned[strategy].encoder.model
    assert model is not encoder.model
    assert model_fingerprint(encoder.model) == encoder.fingerprint != tuned[strategy].encoder.fingerprint
    for one in (model, encoder.model):
        assert not one.training
        assert not any(weight.requires_grad for weight in one.parameters())
    assert weights(encoder).keys() == model.state_dict().keys()


def test_where_nothing_can_be_learned_the_very_base_comes_back(encoder: SentenceEncoder) -> None:
    result = tune(with_training_pairs(noisy(answers=False)), encoder, by("full"))
    assert result.encoder is encoder
    assert result.strength == 0
    assert result.interval[0] <= 0
    assert "base is kept" in result.sentence
    assert model_fingerprint(encoder.model) == encoder.fingerprint


def test_low_rank_additions_change_linear_maps_alone_and_by_no_more_than_their_rank(
    tuned: dict[Strategy, Tuned], encoder: SentenceEncoder
) -> None:
    before, after = weights(encoder), weights(tuned["lora"].encoder)
    maps = {f"{name}.weight" for name, part in encoder.model.named_modules() if isinstance(part, nn.Linear)}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    # Nothing is read from the pooler, so nothing comes back to it.
    assert changed == {name for name in maps if "pooler" not in name}
    for name in changed:
        singular = torch.linalg.svdvals(after[name].double() - before[name].double())
        assert singular[0] > 1e-3
        assert singular[2] < 1e-5 * singular[0]
    embedding = "0.model.embeddings.word_embeddings.weight"
    assert not torch.equal(weights(tuned["full"].encoder)[embedding], before[embedding])


def test_in_the_first_of_two_phases_the_base_stands_still(
    dataset: RetrievalDataset, encoder: SentenceEncoder, watched: type[Watched]
) -> None:
    config = TuningConfig(epochs=5, base_rate=1e-3, strengths=[1.0])
    tune(dataset, encoder, by("two-phase", config))
    before = weights(encoder)["0.model.embeddings.word_embeddings.weight"]
    steps = len(watched.seen) // 5
    # The first step of the second phase still sees what was.
    assert all(torch.equal(seen, before) for seen in watched.seen[: 2 * steps + 1])
    assert all(not torch.equal(seen, before) for seen in watched.seen[2 * steps + 1 :])
    assert steps > 1


@pytest.mark.parametrize(("strategy", "default"), [("full", 2e-5), ("lora", 2e-4), ("two-phase", 1e-6)])
@pytest.mark.parametrize("rate", [None, 3e-4])
def test_base_and_predictor_learn_at_their_own_rates(
    strategy: Strategy,
    default: float,
    rate: float | None,
    dataset: RetrievalDataset,
    encoder: SentenceEncoder,
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path / "run")
    config = TuningConfig(epochs=2, batch_size=200, base_rate=rate, strengths=[1.0])
    tune(dataset, encoder, by(strategy, config, learning_rate=2e-3), run=run)
    checkpoint = read_checkpoint(run.checkpoint)
    (optimizer,) = checkpoint["optimizer_states"]
    assert {group["initial_lr"] for group in optimizer["param_groups"]} == {2e-3, rate or default}
    # Adam's first step is as long as its rate, and the second, after the cosine, half of it.
    moved = checkpoint["state_dict"]["jepa.predictor.layers.0.weight"].abs().max()
    assert 1e-3 < float(moved) <= 3.1e-3
    if strategy == "full":
        name = "jepa.context_encoder.base.model.0.model.embeddings.word_embeddings.weight"
        difference = checkpoint["state_dict"][name] - weights(encoder)["0.model.embeddings.word_embeddings.weight"]
        assert 0.9 * (rate or default) < float(difference.abs().max()) <= 1.6 * (rate or default)


def test_strengths_are_interpolated_weights(
    dataset: RetrievalDataset, encoder: SentenceEncoder, tuned: dict[Strategy, Tuned]
) -> None:
    half = tune(dataset, encoder, by("full", replace(FAST, strengths=[0.5], rank=2)))
    assert half.strength == 0.5
    before, after = weights(encoder), weights(tuned["full"].encoder)
    for name, weight in weights(half.encoder).items():
        expected = before[name].lerp(after[name], 0.5) if weight.is_floating_point() else before[name]
        assert torch.equal(weight, expected)


def test_of_strengths_that_cannot_be_told_apart_the_smallest_is_taken(
    dataset: RetrievalDataset, encoder: SentenceEncoder
) -> None:
    config = replace(FAST, strengths=[1.0, 0.999, 0.998])
    assert tune(dataset, encoder, by("full", config)).strength == 0.998


def test_a_large_collection_is_compared_on_a_part_of_it(
    dataset: RetrievalDataset, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_COMPARED_QUERIES", 10), ("_RANKED_DOCUMENTS", 4), ("_COMPARED_DOCUMENTS", 60)):
        monkeypatch.setattr(tuning, name, value)
    encoded: list[int] = []
    encode = SentenceEncoder.encode

    def counted(self: SentenceEncoder, texts: Any, kind: Any) -> Tensor:
        encoded.append(len(texts))
        return encode(self, texts, kind)

    monkeypatch.setattr(SentenceEncoder, "encode", counted)
    result = tune(dataset, encoder, by("full"))
    # Everything by the base, then ten queries and sixty documents at each strength.
    assert encoded == [150, 150, 10, 60, 10, 60]
    assert (result.queries, result.strength > 0) == (10, True)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_base_that_was_saved_is_the_base_that_was_tuned(
    strategy: Strategy, tuned: dict[Strategy, Tuned], tmp_path: Path
) -> None:
    result = tuned[strategy].encoder
    save_base(result, tmp_path / "base")
    loaded = load_text_encoder(TextConfig(base=str(tmp_path / "base"), device="cpu"))
    texts = ["d1 d2 n3", "justice d4"]
    for kind in ("query", "document"):
        assert torch.equal(loaded.encode(texts, kind), result.encode(texts, kind))
    assert loaded.fingerprint == result.fingerprint
    plain = SentenceTransformer(str(tmp_path / "base"), device="cpu")
    torch.testing.assert_close(torch.from_numpy(plain.encode_query(texts)), result.encode(texts, "query"))
    with pytest.raises(ModelError, match="is there already; give a new folder"):
        save_base(result, tmp_path / "base")


def test_a_base_of_half_precision_is_tuned_in_single(
    folder: Path, dataset: RetrievalDataset, tuned: dict[Strategy, Tuned], tmp_path: Path
) -> None:
    half = load_text_encoder(TextConfig(base=str(folder), precision="bfloat16", device="cpu"))
    result = tune(dataset, half, by("full", replace(FAST, strengths=[1.0])))
    assert result.strength == 1.0
    assert half.model.dtype == torch.bfloat16
    assert result.encoder.model.dtype == torch.float32
    save_base(result.encoder, tmp_path / "base")
    assert load_text_encoder(TextConfig(base=str(tmp_path / "base"))).fingerprint == result.encoder.fingerprint


def flipped(part: nn.Module, given: object, found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**found, "sentence_embedding": found["sentence_embedding"].flip(1)}


def test_cut_vectors_are_kept_and_what_does_not_survive_saving_is_refused(folder: Path, tmp_path: Path) -> None:
    cut = SentenceEncoder(SentenceTransformer(str(folder), device="cpu", truncate_dim=12).eval(), name="cut")
    save_base(cut, tmp_path / "base")
    assert load_text_encoder(TextConfig(base=str(tmp_path / "base"), device="cpu")).fingerprint == cut.fingerprint
    model = SentenceTransformer(str(folder), device="cpu").eval()
    model[2].register_forward_hook(flipped)
    with pytest.raises(ModelError, match="gives other vectors"):
        save_base(SentenceEncoder(model, name="hooked"), tmp_path / "hooked")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


MODELS: dict[str, dict[str, Any]] = {
    "prompts": {"prompts": {"query": "query : ", "document": "water : "}},
    "another name": {"prompts": {"query": "query : ", "passage": "water : ", "document": ""}},
    "default prompt": {"prompts": {"given": "justice : "}, "default_prompt_name": "given"},
    "cut vectors": {"truncate_dim": 12},
}


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("kind", ["query", "document"])
def test_training_sees_the_vectors_that_searching_does(
    options: dict[str, Any], kind: Any, folder: Path, tmp_path: Path
) -> None:
    encoder = SentenceEncoder(SentenceTransformer(str(folder), device="cpu", **options).eval(), name="tiny")
    texts = ("d1 d2 n3", "justice", "d4 \ud800 d5", "d1 " * 500)
    vectors = TrainedBase(encoder.model, 128)(Side(kind, texts))
    assert vectors.requires_grad
    torch.testing.assert_close(vectors.detach(), encoder.encode(texts, kind))


def test_pooling_that_leaves_the_prompt_out_does_so_in_training(folder: Path) -> None:
    model = SentenceTransformer(str(folder), device="cpu").eval()
    without = SentenceTransformer(modules=[model[0], Pooling(DIM, include_prompt=False)], device="cpu")
    without.prompts = {"query": "query : ", "document": ""}
    texts = ("d1 d2 n3", "justice")
    encoder = SentenceEncoder(without.eval(), name="tiny")
    assert (encoder.encode(texts, "query") - encoder.encode(texts, "document")).abs().max() > 1e-3
    torch.testing.assert_close(TrainedBase(without, 128)(Side("query", texts)).detach(), encoder.encode(texts, "query"))


def test_training_reads_no_more_tokens_than_it_is_told(folder: Path) -> None:
    long = ("d1 d2 d3 d4 d5 d6 d7 d8",)
    model = SentenceTransformer(str(folder), device="cpu").eval()
    fingerprint = model_fingerprint(model)
    cut = TrainedBase(model, 5)(Side("document", long)).detach()
    whole = TrainedBase(model, 128)(Side("document", long)).detach()
    encoder = SentenceEncoder(model, name="tiny")
    torch.testing.assert_close(cut, encoder.encode(["d1 d2 d3"], "document"))
    torch.testing.assert_close(whole, encoder.encode(long, "document"))
    assert model_fingerprint(model) == fingerprint


def test_a_base_without_a_transformer_is_tuned_whole_but_not_by_low_rank(dataset: RetrievalDataset) -> None:
    vectors = torch.randn(len(WORDS) + 4, DIM, generator=torch.Generator().manual_seed(0))
    words = StaticEmbedding(tiny_tokenizer(WORDS).backend_tokenizer, embedding_weights=vectors.numpy())
    encoder = SentenceEncoder(SentenceTransformer(modules=[words], device="cpu"), name="static")
    result = tune(dataset, encoder, by("full", replace(FAST, base_rate=0.1)))
    assert result.strength > 0
    # What says nothing has become short beside the rest, so that it weighs less in the sum.
    ids = words.tokenizer.encode(" ".join(NOISE), add_special_tokens=False).ids
    grown = weights(result.encoder)["0.embedding.weight"].norm(dim=1) / vectors.norm(dim=1)
    assert grown[ids].max() < 0.9
    assert grown[10:].mean() > 0.95
    with pytest.raises(ConfigError, match="strategy = 'lora': expected full or two-phase: this base has no transf"):
        tune(dataset, encoder, by("lora"))


def test_what_training_shares_with_development_is_left_out_and_the_test_is_not_looked_at(
    dataset: RetrievalDataset, encoder: SentenceEncoder
) -> None:
    train_pairs, dev = dataset.splits["train"], dataset.splits["dev"]
    shared = Pairs(dataset.splits["test"].query[:10], dev.document[:10], dev.grade[:10])
    leaky = replace(dataset, splits={"train": train_pairs, "dev": shared}).training
    kept, _ = train_and_dev(replace(dataset, splits={"train": leaky, "dev": dev}))
    assert torch.equal(kept.query, train_pairs.query)
    first = tune(dataset, encoder, by("full"))
    second = tune(replace(dataset, splits={"train": leaky, "dev": dev}), encoder, by("full"))
    assert replace(second, encoder=first.encoder) == first
    assert first.encoder.fingerprint == second.encoder.fingerprint


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_interrupted_stage_goes_on_as_if_nothing_had_been(
    strategy: Strategy,
    dataset: RetrievalDataset,
    encoder: SentenceEncoder,
    watched: type[Watched],
    tmp_path: Path,
) -> None:
    config = replace(FAST, epochs=4, strengths=[1.0])
    whole = tune(dataset, encoder, by(strategy, config))
    steps, watched.seen = len(watched.seen), []
    watched.last = steps * 3 // 4
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        tune(dataset, encoder, by(strategy, config), run=run)
    watched.seen, watched.last = [], None
    resumed = tune(dataset, encoder, by(strategy, config), run=run, resume=True)
    assert 0 < len(watched.seen) < steps
    assert resumed.encoder.fingerprint == whole.encoder.fingerprint
    assert replace(resumed, encoder=whole.encoder) == whole
    assert [row["epoch"] for row in run.read_metrics()] == ["0", "1", "2", "3"]


def test_the_callers_generator_is_left_alone(dataset: RetrievalDataset, encoder: SentenceEncoder) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    tune(dataset, encoder, by("lora", replace(FAST, epochs=1)))
    assert torch.equal(torch.rand(1), expected)


def test_after_tuning_the_development_pairs_are_held_out_and_no_others(dataset: RetrievalDataset) -> None:
    data = with_training_pairs(collection(60))
    config = PretrainConfig(epochs=2, progress=False, selection=SelectionConfig(folds=3))
    assert pretrain(data, WordEncoder(), config, tuned=True).choice.queries == len(data.splits["dev"])
    assert pretrain(data, WordEncoder(), config, tuned=False).choice.queries == len(data.training)
    with pytest.raises(ConfigError, match=r"strategy = 'lora': expected frozen; or call jepakit.retrieval.tune first"):
        pretrain(data, WordEncoder(), replace(config, strategy="lora"))


def test_a_report_compares_with_the_base_as_it_was(
    dataset: RetrievalDataset, encoder: SentenceEncoder, tuned: dict[Strategy, Tuned]
) -> None:
    now = tuned["full"].encoder
    adapter = Adapter(now.dim, base=now.name, fingerprint=now.fingerprint).eval()
    measured = evaluate(dataset, now, adapter, SearchSettings(), EvaluateConfig(bm25=False), floor=encoder)
    assert measured is not None
    values = {row.method: row.value for row in measured.rows if row.metric == "NDCG@10"}
    assert values["base model"] == pytest.approx(held_out(dataset, encoder), abs=1e-6)
    assert values["jepakit: full search"] == pytest.approx(held_out(dataset, now), abs=1e-6)


def test_what_cannot_be_tuned_is_refused_before_anything_is_encoded(
    dataset: RetrievalDataset, encoder: SentenceEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unasked:
        name, dim, fingerprint = encoder.name, encoder.dim, encoder.fingerprint

        def encode(self, texts: object, kind: object) -> Tensor:
            raise AssertionError(kind)

    def refused(
        strategy: Any, data: RetrievalDataset = dataset, base: SentenceEncoder = encoder, **options: Any
    ) -> None:
        tune(data, base, by(strategy, TuningConfig(**options)), cached=Unasked())

    with pytest.raises(ConfigError, match="strategy = 'frozen': expected one of full, lora, two-phase"):
        refused("frozen")
    with pytest.raises(ConfigError, match="epochs = 1: expected at least 2 for two-phase"):
        refused("two-phase", epochs=1)
    with pytest.raises(DataError, match=r"splits: no dev pairs \(found 'train'\); expected splits train and dev"):
        refused("full", replace(dataset, splits={"train": dataset.splits["train"]}))
    with pytest.raises(DataError, match=r"nothing can be held out \(found '0 for training, 15 for development'\)"):
        refused("full", replace(dataset, splits=dict.fromkeys(("train", "dev"), dataset.splits["dev"])))
    with pytest.raises(ConfigError, match=r"backend = .*: expected torch"):
        refused("full", base=load_text_encoder(TextConfig(base=str(folder), backend="openvino")))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"^peft is not installed; .*'jepakit\[lora\]'$"):
        refused("lora")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs = 0: expected at least 1"),
        ({"rank": 0}, "rank = 0: expected at least 1"),
        ({"max_tokens": 0}, "max_tokens = 0: expected at least 1"),
        ({"base_rate": 0.0}, "base_rate = 0.0: expected a number above 0, or null"),
        ({"base_rate": float("nan")}, "base_rate = nan: expected a number above 0, or null"),
        ({"strengths": []}, "strengths = []: expected numbers above 0 and up to 1"),
        ({"strengths": [0.0]}, "strengths = [0.0]: expected numbers above 0 and up to 1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TuningConfig(**options)
    assert message in str(caught.value)
