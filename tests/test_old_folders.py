"""Folders that an earlier jepakit wrote still open, and give what they gave then.

``old_folders`` holds them; its README says what wrote them. ``expected.json`` beside them holds what that version's
commands gave.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from jepakit.cli.main import main
from jepakit.training import load_encoder

FOLDERS = Path(__file__).parent / "old_folders"
EXPECTED: dict[str, Any] = json.loads((FOLDERS / "expected.json").read_text("utf-8"))

GRAPH_RUNS = ["graph-run", "graph-gps-run"]
RETRIEVAL_RUNS = ["retrieval-run", "retrieval-hnsw-run"]
QUERIES = ["d8 d14 d22", "d5 d6 n1 n2", "d0 d23"]
LP_RUNS = {"lp-run": "lp-new-covers", "lp-days-run": "lp-new-days", "lp-timed-run": "lp-new-covers"}
QUESTIONS = ["d1 d2 of film 3", "d8 d9 of film 7"]


@pytest.fixture(autouse=True)
def _in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands may write into the folders, and the paths in their configuration are relative."""
    shutil.copytree(FOLDERS, tmp_path / "folders")
    monkeypatch.chdir(tmp_path / "folders")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*words: str) -> None:
    assert main(list(words)) == 0


def embeddings(folder: str, *options: str) -> Any:
    run("graph", "embed", folder, "--out", "embeddings.parquet", *options)
    return pq.read_table("embeddings.parquet")["embedding"].to_pylist()


def predictions() -> Any:
    run("graph", "predict", "graph-run", "--predictor", "graph-predictor", "--out", "predictions.parquet")
    table = pq.read_table("predictions.parquet")
    return [table["prediction"].to_pylist(), table["probability"].to_pylist()]


def replies() -> list[Any]:
    """What the whole run answers, and what its retriever alone does."""
    from jepakit.kgqa import Asker

    askers = [Asker.open(Path("kgqa-run") / part) for part in ("", "retriever")]
    return [asker.ask(question).as_json(asker.graph) for asker in askers for question in QUESTIONS]


def judgements() -> list[dict[str, Any]]:
    words = "--policy guard-policy.yaml --model guard-run --thresholds guard-thresholds.json --show none"
    run("guard", "audit", "guard-traces.jsonl", *words.split(), "--timeout", "60", "--out", "judged.jsonl")
    return [json.loads(line) for line in Path("judged.jsonl").read_text("utf-8").splitlines()]


def adapted(folder: str) -> list[Any]:
    """What the adapter makes of six base vectors, as queries and as documents."""
    adapter: Any = load_encoder(Path(folder) / "encoder")
    base = torch.nn.functional.normalize(torch.linspace(-1, 1, 6 * adapter.dim).sin().view(6, -1), dim=-1)
    with torch.no_grad():
        return [adapter.queries(base).tolist(), adapter.documents(base).tolist()]


def hits(folder: str, shown: pytest.CaptureFixture[str], *options: str) -> list[list[tuple[str, float]]]:
    """Identifiers and scores that the command prints, best first, for each query."""
    answers = []
    for query in QUERIES:
        shown.readouterr()
        run("retrieval", "search", query, "--run", folder, "--k", "4", *options)
        found = re.findall(r"(-?\d+\.\d{3})\s+([DE]\d+)$", shown.readouterr().out, re.MULTILINE)
        answers.append([(identifier, float(score)) for score, identifier in found])
    return answers


def guesses(folder: str) -> list[Any]:
    """x, y and the basis that the network guesses for the first new problem."""
    from jepakit.lp.formats.files import problem_files, read_problem

    model: Any = load_encoder(Path(folder) / "encoder")
    (start,) = model.starts([read_problem(problem_files(Path(LP_RUNS[folder]))[0], relax=True)])
    return [start.x.tolist(), start.y.tolist(), start.basis.columns.tolist(), start.basis.rows.tolist()]


def solutions(folder: str) -> list[dict[str, Any]]:
    run("lp", "solve", LP_RUNS[folder], "--family", folder, "--relax", "true", "--out", "solved")
    lines = map(json.loads, Path("solved/solutions.jsonl").read_text("utf-8").splitlines())
    return [{name: line[name] for name in ("problem", "status", "objective", "source", "pivots")} for line in lines]


def assert_near(found: Sequence[Any], expected: Sequence[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("folder", GRAPH_RUNS)
def test_a_graph_encoder_embeds_as_it_did(folder: str) -> None:
    assert_near(embeddings(folder), EXPECTED["embeddings"][folder])


def test_a_fine_tuned_graph_encoder_predicts_as_it_did() -> None:
    (labels, probabilities), expected = predictions(), EXPECTED["predictions"]
    assert labels == expected[0]
    assert_near(probabilities, expected[1])


def test_a_store_is_embedded_by_the_run_on_it_as_it_was() -> None:
    assert_near(embeddings("graph-store-run", "--level", "node"), EXPECTED["embeddings"]["graph-store-run"])


def test_a_graph_run_is_probed_to_the_same_scores() -> None:
    run("graph", "evaluate", "graph-run", "--classifier", "logistic", "--folds", "2", "--seeds", "[0,1]")
    rows = json.loads((Path("graph-run") / "results.json").read_text("utf-8"))["rows"]
    # There are more kernels now, and more random encoders.
    kept = [row for row in rows if row["method"] not in ("the same encoder, random", "WL optimal assignment kernel")]
    assert len(kept) == 3
    for row in kept:
        expected = EXPECTED["scores"]["graph-run"][f"{row['dataset']}, {row['metric']}"]
        assert min(abs(row["value"] - value) for value in expected) < 1e-6, row


def test_an_interrupted_graph_run_goes_on_to_the_same_encoder() -> None:
    folder = "graph-stopped-run"
    run("graph", "pretrain", "--config", f"{folder}/config.yaml", "--run", folder, "--resume", "true")
    assert len((Path(folder) / "metrics.csv").read_text("utf-8").splitlines()) == 1 + 6
    assert_near(embeddings(folder), EXPECTED["embeddings"]["graph-run"])


@pytest.mark.parametrize("folder", RETRIEVAL_RUNS)
def test_an_adapter_maps_as_it_did(folder: str) -> None:
    assert_near(adapted(folder), EXPECTED["adapted"][folder])


@pytest.mark.parametrize("folder", RETRIEVAL_RUNS)
@pytest.mark.parametrize("mode", ["fused", "dense", "words"])
def test_an_index_gives_the_same_hits(folder: str, mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = hits(folder, capsys, "--mode", mode)
    for some, expected in zip(found, EXPECTED["hits"][folder][mode], strict=True):
        assert [identifier for identifier, _ in some] == [identifier for identifier, _ in expected]
        assert [score for _, score in some] == pytest.approx([score for _, score in expected], abs=0.0011)


def test_static_queries_give_the_same_hits(capsys: pytest.CaptureFixture[str]) -> None:
    for some, expected in zip(hits("retrieval-static-run", capsys), EXPECTED["static"], strict=True):
        assert [identifier for identifier, _ in some] == [identifier for identifier, _ in expected]
        assert [score for _, score in some] == pytest.approx([score for _, score in expected], abs=0.0011)


def test_an_index_is_filtered_extended_and_thinned_out(capsys: pytest.CaptureFixture[str]) -> None:
    expected = EXPECTED["filtered"]
    assert hits("retrieval-run", capsys, "--where", "[part>=2]") == [[tuple(hit) for hit in some] for some in expected]
    run("retrieval", "index", "--run", "retrieval-run", "--delete", "[E0,E1]")
    run("retrieval", "index", "--run", "retrieval-run", "--add", "true", "--corpus", "./retrieval-more.jsonl")
    assert hits("retrieval-run", capsys, "--where", "[part>=2]") == [[tuple(hit) for hit in some] for some in expected]


@pytest.mark.parametrize("folder", RETRIEVAL_RUNS)
def test_a_retrieval_run_is_measured_to_the_same_scores(folder: str) -> None:
    run("retrieval", "evaluate", "--run", folder)
    rows = json.loads((Path(folder) / "results.json").read_text("utf-8"))["rows"]
    # More is measured now than was then.
    kept = [row for row in rows if row["method"] in ("jepakit: full search", "base model", "BM25")]
    assert len(kept) >= 9
    for row in kept:
        expected = EXPECTED["scores"][folder][f"{row['dataset']}, {row['metric']}"]
        assert min(abs(row["value"] - value) for value in expected) < 1e-6, row


@pytest.mark.parametrize("folder", LP_RUNS)
def test_a_model_of_linear_programs_guesses_as_it_did(folder: str) -> None:
    assert_near(guesses(folder), EXPECTED["guesses"][folder])


@pytest.mark.parametrize("folder", LP_RUNS)
def test_problems_are_solved_with_an_old_family(folder: str) -> None:
    found, expected = solutions(folder), EXPECTED["solutions"][folder]
    # Another HiGHS may take another path to the optimum.
    exact = ("problem", "status", "source", *(["pivots"] if version("highspy") == EXPECTED["highspy"] else []))
    assert [[line[name] for name in exact] for line in found] == [[line[name] for name in exact] for line in expected]
    assert [line["objective"] for line in found] == pytest.approx([line["objective"] for line in expected], rel=1e-6)


def test_a_finished_run_of_linear_programs_is_resumed_by_its_old_option_names() -> None:
    run("lp", "train", "--config", "lp-run/config.yaml", "--run", "lp-run", "--resume", "true")
    assert_near(guesses("lp-run"), EXPECTED["guesses"]["lp-run"])
    words = ["lp", "train", "--config", "lp-run/config.yaml", "--run", "lp-run", "--resume", "true", "--jepa-mode"]
    assert main([*words, "simsiam"]) != 0


def test_a_finished_retrieval_run_is_resumed() -> None:
    run("retrieval", "train", "--config", "retrieval-run/config.yaml", "--run", "retrieval-run", "--resume", "true")
    assert_near(adapted("retrieval-run"), EXPECTED["adapted"]["retrieval-run"])


def test_questions_get_the_same_answers() -> None:
    for found, expected in zip(replies(), EXPECTED["replies"], strict=True):
        for answers in (found["answers"], expected["answers"]):
            answers.sort(key=lambda answer: answer["id"])
        assert [one["id"] for one in found["answers"]] == [one["id"] for one in expected["answers"]]
        assert_near([one["score"] for one in found["answers"]], [one["score"] for one in expected["answers"]])
        assert [list(triple) for triple in found["triples"]] == expected["triples"]


def test_calls_are_judged_as_they_were() -> None:
    found, expected = judgements(), EXPECTED["judgements"]
    for name in ("run", "call", "decision", "effective", "code"):
        assert [line[name] for line in found] == [line[name] for line in expected]
    for name in ("energies", "score"):
        assert_near(*([_numbers(line[name]) for line in lines] for lines in (found, expected)))


def _numbers(judged: dict[str, Any]) -> list[float]:
    return [value for value in judged.values() if isinstance(value, float)]


def test_pinned_tools_are_still_the_pinned_ones() -> None:
    from jepakit.guard.live.pins import Pins
    from jepakit.guard.sources.loading import load_traces

    pins = Pins.load(Path("guard-pins.json"))
    tools = next(iter(load_traces("guard-traces.jsonl"))).context.tools
    assert not pins.listed("mail", tools)
