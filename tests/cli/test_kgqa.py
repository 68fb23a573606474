"""``jepakit kgqa``: all steps in one command, questions asked and served, and what it says of bad input."""

from __future__ import annotations

import io
import json
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from toy_runs import files_of, rows_but_seconds
from training_inputs import questions

import jepakit
from jepakit.cli.command import parse
from jepakit.cli.kgqa import COMMANDS
from jepakit.cli.kgqa_train import NAMES, TrainOptions
from jepakit.cli.main import main
from jepakit.files import read_json
from jepakit.files.verify import verify
from jepakit.kgqa import Asker, KnowledgeRun, pipeline
from jepakit.training import RunFolder
from processes import LIMIT, start_command
from tiny_llama import write_tiny_llama

STEPS = (pipeline.PRETRAIN, pipeline.RETRIEVER, pipeline.FINETUNE)
#: What a killed writer leaves, until the next one removes it.
LEFTOVER = re.compile(r"/\.[^/]+\.(partial|previous)/")
KNOWN = (
    "--dataset python --pretrain-epochs 7 --pretrain-batch-size 8 --pretrain-lr 0.01 --hidden-dim 24 --num-layers 3 "
    "--num-heads 6 --dropout 0.2 --encoder-type gat --masking subgraph --mask-ratio 0.4 --k-hops 3 --finetune-epochs 9 "
    "--finetune-lr 0.02 --finetune-batch-size 5 --llm-model some/model --freeze-gnn --num-hops 1 --k-nodes 11 "
    "--fanout 13 --encoder-path encoder --skip-pretrain --skip-finetune --output-dir out"
)


@dataclass(frozen=True)
class Trained:
    """A finished run of all steps, and the words of its command but for its folder."""

    words: list[str]
    run: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("all")
    given = questions(folder).partition(" --epochs")[0].split()
    model = write_tiny_llama(folder / "llama", ["the year of film 1990", "directed by person", "Question facts answer"])
    sizes = (
        "--pretrain-epochs 1 --pretrain-batch-size 4 --pretrain.subgraphs 8 --hidden-dim 8 --num-layers 1 --num-heads 2"
    )
    steps = (
        "--num-hops 2 --retriever.epochs 3 --retriever.matcher.hidden 8 --finetune-epochs 1 --finetune.fusion.hidden 8"
    )
    words = ["kgqa", "train", *given, *sizes.split(), *steps.split(), "--llm-model", str(model), "--k-nodes", "4"]
    words += ["--accelerator", "cpu", "--evaluate.retrievers", "[bm25]"]
    run = folder / "run"
    assert main([*words, "--output-dir", str(run)]) == 0
    return Trained(words, run)


def test_every_part_of_a_run_is_loaded(trained: Trained) -> None:
    whole, finetuned, retriever = (jepakit.load(trained.run / part) for part in ("", "finetune", "retriever"))
    assert isinstance(whole, Asker)
    assert (whole.answerer is None, finetuned.answerer is None, retriever.answerer is None) == (False, False, True)
    assert whole.candidates == 4
    replies = [asker.ask("the year of film 3") for asker in (whole, finetuned)]
    assert replies[0].as_json(whole.graph) == replies[1].as_json(finetuned.graph)
    assert isinstance(jepakit.load(trained.run / "pretrain"), KnowledgeRun)


def test_the_names_that_people_know() -> None:
    options: TrainOptions = parse(COMMANDS["train"], "jepakit kgqa train", KNOWN.split())
    first, last = options.pretrain, options.finetune
    assert options.graph == "python"
    assert (first.epochs, first.batch_size, first.learning_rate) == (7, 8, 0.01)
    network = (first.encoder.hidden, first.encoder.layers, first.encoder.heads, first.encoder.dropout)
    assert network == (24, 3, 6, 0.2)
    assert last.encoder == first.encoder
    masking = first.masking
    assert (first.encoder.conv, masking.strategy, masking.ratio, masking.hops) == ("gat", "walk", 0.4, 3)
    assert (last.epochs, last.learning_rate, last.batch_size, last.llm_model) == (9, 0.02, 5, "some/model")
    assert (last.freeze_gnn, last.encoder_path, last.candidates) == (True, Path("encoder"), 11)
    assert (options.retriever.hops, first.sampling.fanout) == (1, 13)
    assert (options.skip_pretrain, options.skip_finetune, options.run) == (True, True, Path("out"))
    given = {word.removeprefix("--").replace("-", "_") for word in KNOWN.split() if word.startswith("--")}
    assert given == {*NAMES, "skip_pretrain", "skip_finetune"}


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("--masking hop", "masking"),
        ("--mask-ratio 1", "mask-ratio"),
        ("--num-heads 5 --encoder-type gat", "num-heads"),
        ("--finetune-epochs 0", "finetune-epochs"),
        ("--pretrain.devices 2", "pretrain.devices"),
        ("--finetune.encoder.hidden 3", "finetune.encoder.hidden"),
    ],
)
def test_a_bad_option_is_named_as_it_was_written(
    words: str, field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["kgqa", "train", "--output-dir", str(run), *words.split()]) == 2
    assert f"error: {field} = " in capsys.readouterr().err
    assert not run.exists()


def test_each_step_is_a_run_of_its_own(trained: Trained) -> None:
    for step in STEPS:
        run = RunFolder(trained.run / step)
        run.require_trained()
        assert run.report.exists()
        assert not run.checkpoint.exists()
    methods = {row["method"] for row in rows_of(trained.run)}
    assert {"jepakit: path matcher", "jepakit: answerer"} <= methods
    assert (trained.run / "report.html").exists()
    finetuned = yaml.safe_load((trained.run / "finetune" / "config.yaml").read_text())
    assert finetuned["encoder_path"] == str(trained.run / "pretrain")
    assert finetuned["retriever"] == str(trained.run / "retriever")


def test_a_run_that_is_killed_in_each_step_keeps_the_finished_ones(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(time.time_ns())

    run = tmp_path / "run"

    def in_step(name: str, process: BaseProcess) -> None:
        until = time.monotonic() + LIMIT
        while not (run / name / "metrics.csv").exists():
            assert process.is_alive()
            assert time.monotonic() < until, "the run does not get on"
            time.sleep(0.002)
        process.join(draw.uniform(0, 0.2))

    resume_until_it_ends(trained, run, [partial(in_step, name) for name in STEPS])
    assert main([*trained.words, "--run", str(run), "--resume", "--finetune-lr", "0.5"]) == 2
    assert "error: finetune-lr = 0.5: " in capsys.readouterr().err


@pytest.mark.torture
def test_a_run_that_is_killed_at_any_moment_keeps_the_finished_steps(trained: Trained, tmp_path: Path) -> None:
    draw = random.Random(time.time_ns())
    # From before the first line is written to after the report.
    resume_until_it_ends(trained, tmp_path / "run", [lambda process: process.join(draw.uniform(0.3, 12))] * 40)


def resume_until_it_ends(trained: Trained, run: Path, deaths: Sequence[Callable[[BaseProcess], object]]) -> None:
    """Kills the command after each wait of ``deaths``, then lets it end: with the files of the run without deaths."""
    words, log = [*trained.words, "--run", str(run), "--resume"], run.parent / "log"
    finished: dict[Path, int] = {}
    for wait in deaths:
        process = start_command(words, log)
        wait(process)
        process.kill()
        process.join()
        if run.exists():
            assert [fault for fault in verify(run).faults if not LEFTOVER.search(fault)] == []
        done = [step for step in STEPS if (run / step / "finished.json").exists()]
        assert [name for name in different_files(run, trained.run) if name.startswith(tuple(done))] == []
        for step in done:
            file = run / step / "encoder" / "model.safetensors"
            finished.setdefault(file, file.stat().st_mtime_ns)
    process = start_command(words, log)
    process.join(LIMIT)
    said = log.read_text()
    assert process.exitcode == 0, said
    assert "Traceback" not in said
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    assert files_of(run).keys() == files_of(trained.run).keys()
    assert different_files(run, trained.run) == set()
    for step in STEPS:
        assert rows_but_seconds(run / step) == rows_but_seconds(trained.run / step)


def different_files(run: Path, reference: Path) -> set[str]:
    """What ``run`` lacks or has otherwise, but for options, pages and times; a run may name its own folder."""
    ours, theirs = (
        {name: content.replace(str(folder).encode(), b"RUN") for name, content in files_of(folder).items()}
        for folder in (run, reference)
    )
    names = {name for name in theirs if Path(name).name not in ("config.yaml", "report.html", "metrics.csv")}
    return {name for name in names if ours.get(name) != theirs[name]}


def test_a_step_is_measured_again(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    before = {row["metric"]: row["value"] for row in rows_of(trained.run) if row["method"] == "jepakit: answerer"}
    assert main(["kgqa", "evaluate", str(trained.run / "finetune")]) == 0
    assert "jepakit: answerer" in capsys.readouterr().out
    again = rows_of(trained.run / "finetune")
    assert {row["metric"]: row["value"] for row in again if row["method"] == "jepakit: answerer"} == before


def rows_of(run: Path) -> list[dict[str, Any]]:
    return read_json(run / "results.json")["rows"]


def test_ask_with_a_run_of_all_steps_and_with_single_ones(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*words: str) -> str:
        assert main(["kgqa", "ask", "the year of film 3", *words]) == 0
        return capsys.readouterr().out

    whole = asked("--run", str(trained.run))
    single = asked("--run", str(trained.run / "retriever"), "--answerer", str(trained.run / "finetune"))
    alone = asked("--run", str(trained.run / "retriever"), "--page", str(tmp_path / "page.html"))
    assert whole == single
    assert "film 3 -- year -> 1993" in alone
    assert '<svg class="diagram"' in (tmp_path / "page.html").read_text("utf-8")
    assert "written by" in asked("--run", str(trained.run), "--free")
    assert main(["kgqa", "ask", "the year of film 3", "--run", str(trained.run / "retriever"), "--free"]) == 2
    assert "error: free = True" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("the year of film 3\nthe year of film 4\n"))
    assert main(["kgqa", "ask", str(trained.run), "--interactive", "--json"]) == 0
    third, fourth = json.loads(capsys.readouterr().out)["answers"]
    assert (third["answers"][0]["name"], fourth["answers"][0]["name"]) == ("1993", "1990")
    for words, error in (([" "], "question = "), (["the year of film 3", "--beam", "0"], "beam = 0")):
        assert main(["kgqa", "ask", *words, "--run", str(trained.run)]) == 2
        assert f"error: {error}" in capsys.readouterr().err


def test_a_question_that_names_no_entity_is_answered_by_text(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*words: str) -> list[str]:
        assert main(["kgqa", "ask", *words]) == 0
        return capsys.readouterr().out.splitlines()

    retriever, page = ["--run", str(trained.run / "retriever")], tmp_path / "page.html"
    found = asked("some films", *retriever, "--page", str(page))
    assert found[0].startswith("found by text")
    assert sum(" film " in line and "--" not in line for line in found) == 5
    assert any(" -- " in line for line in found)
    assert '<svg class="diagram"' in page.read_text("utf-8")
    assert asked("some films", "--run", str(trained.run))[0] == found[0]
    assert len(asked("whatever", *retriever)) == len(asked("whatever", "--run", str(trained.run))) == 2
    assert len(asked("whatever", *retriever, "--page", str(page))) == 3


def test_runs_of_another_graph_and_models_that_are_not_there(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = Path(trained.words[trained.words.index("--graph") + 1])
    other = tmp_path / "other.tsv"
    other.write_text(graph.read_text() + "film 0\tyear\t2000\n")
    words = [*trained.words]
    words[words.index("--graph") + 1] = str(other)
    start = words.index("--pretrain-epochs")
    finetune = ["kgqa", "finetune", *words[2:start], "--retriever", str(trained.run / "retriever")]
    run = tmp_path / "run"
    assert main([*finetune, "--run", str(run)]) == 2
    assert "retriever.json: graph: trained with another graph" in capsys.readouterr().err
    assert not run.exists()
    assert main([*finetune, "--retriever", "bm25", "--llm-model", str(tmp_path / "nothing"), "--run", str(run)]) == 2
    assert f"error: {tmp_path / 'nothing'}: there is no such folder" in capsys.readouterr().err
    assert not run.exists()


def test_a_server_answers_and_ends_with_sigterm(
    trained: Trained, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "token").write_text("secret\n")
    words = ["--port", str(port), "--token-file", str(tmp_path / "token")]
    server = start("kgqa", "serve", str(trained.run), *words)
    headers = {"authorization": "Bearer secret"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=LIMIT) as client:
        until = time.monotonic() + LIMIT
        while True:
            assert server.poll() is None
            assert time.monotonic() < until
            try:
                health = client.get("/health").json()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        assert health["answerer"] is not None
        reply = client.post("/ask", json={"question": "the year of film 3", "free": True}).json()
        assert reply["topics"] == [{"id": "film 3", "name": "film 3"}]
        assert len(reply["answers"]) == 4
        assert isinstance(reply["written"], str)
        server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=LIMIT)
    assert "Finished server process" in errors
    assert "Traceback" not in errors
