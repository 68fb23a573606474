"""``jepakit retrieval train --query_encoder static``: from training to a search that imports no torch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_retrieval_tuning import QUICK, never, written
from toy_collection import collection
from word_model import noisy, write_word_model

from jepakit.cli.main import main
from jepakit.retrieval.static import stage
from jepakit.search.static.encoder import STATIC, StaticEncoder

QUERY = "d1 d2 d3"
STATIC_WORDS = ["--query_encoder", "static", "--static.epochs", "2", "--static.texts", "300"]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options of a finished run."""
    folder = tmp_path_factory.mktemp("home")
    base = write_word_model(folder)
    words = [*written(noisy(), folder), "--text.base", str(base), "--text.device", "cpu", *QUICK, *STATIC_WORDS]
    words = ["--run", str(folder / "run"), *words]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["retrieval", "train", *words]) == 0
    return words


@pytest.fixture(autouse=True)
def _cache(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(words[1]).parent / "cache"))


def test_a_search_imports_no_torch(words: list[str]) -> None:
    command = ["retrieval", "search", QUERY, "--run", words[1], "--k", "2"]
    code = f"import sys; from jepakit.cli.main import main; s = main({command!r}); print(s, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
    assert done.stdout.startswith(" 1. D")


def test_it_finds_what_the_search_with_torch_finds(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["retrieval", "search", QUERY, "--run", words[1], "--k", "5"]
    assert main(command) == 0
    quick = capsys.readouterr().out
    assert main([*command, "--index", str(Path(words[1]) / "index")]) == 0
    assert capsys.readouterr().out == quick


def test_lines_are_answered_one_after_another(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = ["retrieval", "search", words[1], "--k", "2", "--json"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUERY}\n\n{QUERY}\n"))
    assert main([*search, "--interactive"]) == 0
    first, second = json.loads(capsys.readouterr().out)["answers"]
    assert first == second
    assert main([*search[:3], QUERY, *search[3:]]) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert [hit["id"][0] for hit in first["hits"]] == ["D", "D"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    for line in (search, [*search, QUERY, "--interactive"]):
        assert main(line) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "--interactive" in said.err


def test_an_unfamiliar_query_is_encoded_by_the_base(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrieval", "search", "justice", "--run", words[1], "--k", "1"]) == 0
    assert capsys.readouterr().out.startswith("an unfamiliar query: it is encoded by the base model\n 1. D")


def test_the_base_model_answers_all_where_that_is_wanted(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["retrieval", "search", "justice", "--run", words[1], "--k", "1"]
    assert main([*command, "--query_encoder", "transformer"]) == 0
    assert capsys.readouterr().out.startswith(" 1. D")


def test_a_static_encoder_that_loses_on_held_out_questions_answers_nothing(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    known = written(collection(150, foreign=False), tmp_path)
    assert main(["retrieval", "train", *words, *known, "--run", str(run), "--static.epochs", "0"]) == 0
    assert "on held-out questions: the base answers all" in capsys.readouterr().out
    assert StaticEncoder.load(run / STATIC).gate.closed
    methods = {row["method"] for row in json.loads((run / "results.json").read_text())["rows"]}
    assert "jepakit: full search" in methods
    assert "jepakit: full search, static queries" not in methods
    found = []
    for more in ([], ["--query_encoder", "transformer"]):
        assert main(["retrieval", "search", QUERY, "--run", str(run), *more]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
    assert found[0].startswith(" 1. ")


def test_the_table_has_a_row_for_it_and_says_how_many_queries_are_unfamiliar(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    results = json.loads((Path(words[1]) / "results.json").read_text())
    row = next(row for row in results["rows"] if row["method"] == "jepakit: full search, static queries")
    assert row["ours"]
    assert any("queries are unfamiliar" in sentence for sentence in results["summary"])
    before = row["value"]
    assert main(["retrieval", "evaluate", "--run", words[1]]) == 0
    rows = json.loads((Path(words[1]) / "results.json").read_text())["rows"]
    assert next(row for row in rows if row["method"] == "jepakit: full search, static queries")["value"] == before


def test_a_resumed_run_does_not_train_it_again(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = (Path(words[1]) / STATIC / "model.safetensors").read_bytes()
    monkeypatch.setattr(stage, "train_static", never)
    assert main(["retrieval", "train", *words, "--resume"]) == 0
    assert (Path(words[1]) / STATIC / "model.safetensors").read_bytes() == before


def test_an_export_says_which_parts_of_the_encoder_it_cannot_hold(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["retrieval", "export", "--run", words[1], "--out", str(tmp_path / "model")]
    assert main([*command, "--query_encoder", "static"]) == 2
    assert "static.pairs" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
