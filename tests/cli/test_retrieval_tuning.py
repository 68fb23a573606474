"""``jepakit retrieval train --strategy ...``: a run with a base of its own, from training to its export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from word_model import noisy, write_word_model

from jepakit.cli.main import main
from jepakit.retrieval import Index, pipeline
from jepakit.retrieval.adapter.tuning import TrainedBase
from jepakit.retrieval.data import RetrievalDataset
from jepakit.retrieval.encoder import Adapter, Side
from jepakit.training import load_encoder_as

QUICK = ["--epochs", "2", "--progress", "false", "--accelerator", "cpu"]
TUNED = ["--strategy", "lora", "--tuning.epochs", "8", "--tuning.base_rate", "1e-2"]


@dataclass(frozen=True)
class Home:
    """A collection, a base, and the options that name them; a finished run."""

    folder: Path
    words: list[str]
    run: Path


def written(data: RetrievalDataset, folder: Path) -> list[str]:
    """The options that name a collection, which is written as files."""
    pairs = data.splits["all"]
    asked = zip(pairs.query.tolist(), pairs.document.tolist(), strict=True)
    rows = [{"query": data.queries.texts[query], "document": data.documents.ids[document]} for query, document in asked]
    found = [{"id": name, "text": text} for name, text in zip(data.documents.ids, data.documents.texts, strict=True)]
    for name, lines in (("corpus", found), ("pairs", rows)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ["--corpus", str(folder / "corpus.jsonl"), "--pairs", str(folder / "pairs.jsonl")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    base = write_word_model(folder, prompts={"query": "query : ", "document": ""})
    words = [*written(noisy(), folder), "--text.base", str(base), "--text.device", "cpu", *QUICK]
    run = folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["retrieval", "train", "--run", str(run), *words, *TUNED]) == 0
    return Home(folder, words, run)


@pytest.fixture(autouse=True)
def _cache(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(home.folder / "cache"))


def interrupted_at(step: int) -> Callable[[TrainedBase, Side], torch.Tensor]:
    forward, steps = TrainedBase.forward, iter(range(1, 10**6))

    def counted(self: TrainedBase, side: Side) -> torch.Tensor:
        if next(steps) == step:
            raise KeyboardInterrupt
        return forward(self, side)

    return counted


def interrupted(*things: object, **named: object) -> None:
    raise KeyboardInterrupt


def never(*things: object, **named: object) -> None:
    raise AssertionError(things)


def test_a_run_with_a_base_of_its_own_searches_measures_grows_and_is_exported(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(home.run, tmp_path / "elsewhere"))
    assert load_encoder_as(Adapter, run / "encoder").fingerprint == Index.open(run / "index").manifest.fingerprint
    assert main(["retrieval", "search", "d1 d2 d3 n1 n2 n3", "--run", str(run), "--k", "1"]) == 0
    assert "d1" in capsys.readouterr().out
    assert main(["retrieval", "evaluate", "--run", str(run)]) == 0
    rows = json.loads((run / "results.json").read_text())["rows"]
    values = {row["method"]: row["value"] for row in rows if row["metric"] == "NDCG@10"}
    # The floor is the base that was given, not the one that was made of it.
    assert values["base model"] < 0.2
    assert values["jepakit: full search"] > values["base model"] + 0.3
    (tmp_path / "more.jsonl").write_text('{"id": "new", "text": "justice justice water justice"}\n')
    added = ["retrieval", "index", "--run", str(run), "--add", "--corpus", str(tmp_path / "more.jsonl")]
    assert main(added) == 0
    assert main(["retrieval", "search", "justice justice", "--run", str(run), "--k", "1", "--mode", "dense"]) == 0
    assert " new\n" in capsys.readouterr().out
    assert main(["retrieval", "export", "--run", str(run), "--out", str(tmp_path / "model")]) == 0
    exported = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    query = torch.from_numpy(exported.encode_query(["justice justice"]))
    index = Index.open(run / "index")
    assert index.documents(index.search_vectors(query, 1).rows[0]).ids == ("new",)


def test_the_stage_says_what_came_of_it_and_leaves_no_checkpoint(home: Home) -> None:
    verdict = json.loads((home.run / "tuning" / "tuned.json").read_text())
    assert verdict["strength"] > 0
    assert verdict["interval"][0] > 0
    assert {path.name for path in (home.run / "tuning").iterdir()} == {"metrics.csv", "tuned.json"}
    assert not list(home.run.rglob("*.partial"))


def test_tuning_that_was_interrupted_goes_on_to_the_same_end(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["retrieval", "train", "--run", str(run), *home.words, *TUNED]
    with monkeypatch.context() as patch:
        patch.setattr(TrainedBase, "forward", interrupted_at(30))
        assert main(words) == 130
    assert f"add --resume; or: --config {run}/config.yaml" in capsys.readouterr().out
    assert (run / "tuning" / "checkpoints" / "last.safetensors").exists()
    assert not (run / "base").exists()
    assert main([*words, "--resume"]) == 0
    for name in ("base/model.safetensors", "encoder/model.safetensors"):
        ours, theirs = load_file(run / name), load_file(home.run / name)
        assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys() | theirs.keys())
    assert (run / "results.json").read_text() == (home.run / "results.json").read_text()


def test_an_interruption_before_the_first_epoch_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(TrainedBase, "forward", interrupted_at(1))
    assert main(["retrieval", "train", "--run", str(run), *home.words, *TUNED]) == 130
    assert "--resume" not in capsys.readouterr().out
    assert not run.exists()


@pytest.mark.parametrize("answers", [True, False])
def test_what_was_tuned_is_not_tuned_again(
    answers: bool, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = tmp_path / "run", tmp_path / "other"
    folder.mkdir()
    words = ["retrieval", "train", "--run", str(run), *home.words, *TUNED]
    words += [] if answers else written(noisy(answers=False), folder)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "pretrain", interrupted)
        assert main(words) == 130
    out = capsys.readouterr().out
    assert "add --resume; or: --config" in out
    verdict = next(line for line in out.splitlines() if line.startswith("development NDCG"))
    assert ("so the original base is kept" in verdict) != answers
    assert (run / "base").exists() == answers
    monkeypatch.setattr(TrainedBase, "forward", never)
    assert main([*words, "--resume"]) == 0
    assert verdict in capsys.readouterr().out
    assert (run / "encoder").exists()


def test_a_base_that_a_killed_run_did_not_write_is_tuned_again(home: Home, tmp_path: Path) -> None:
    run = Path(shutil.copytree(home.run, tmp_path / "run"))
    shutil.rmtree(run / "base")
    words = ["retrieval", "train", "--run", str(run), *home.words, *TUNED, "--resume", "--index", "true"]
    assert main(words) == 0
    ours, theirs = (load_file(where / "base" / "model.safetensors") for where in (run, home.run))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys() | theirs.keys())


def test_faults_are_told_in_one_line(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        assert main(["retrieval", "train", *words]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    new = ["--run", str(tmp_path / "new"), *home.words]
    assert "did you mean 'lora'?" in refused(*new, "--strategy", "lora1")
    assert "epochs = 1: expected at least 2 for two-ph" in refused(
        *new, "--strategy", "two-phase", "--tuning.epochs", "1"
    )
    assert "strengths = [2.0]: expected numbers above 0" in refused(*new, "--tuning.strengths", "[2]")
    assert not (tmp_path / "new").exists()
    run = Path(shutil.copytree(home.run, tmp_path / "run"))
    (run / "tuning" / "tuned.json").write_text("{}")
    again = ["--run", str(run), *home.words, *TUNED, "--resume"]
    assert refused(*again).startswith(f"error: {run}/tuning/tuned.json: ")
