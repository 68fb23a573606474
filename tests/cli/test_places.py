"""Addresses of objects on the command line: the same results as from files, and nothing of the copies in them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from toy_runs import files_of, write_tu

from jepakit.cli.main import main
from jepakit.cli.places import LOCAL, READ, UPDATED, WRITTEN, with_copies
from jepakit.cli.reading import Given, option_types
from jepakit.cli.verbs import SYSTEMS, VERBS
from jepakit.errors import ConfigError
from jepakit.files.copies import Copies
from jepakit.guard import Call, Context, Trace


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    """The objects of this process, none at first; copies lie below the folder of the test."""
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "copies"))
    files = fsspec.filesystem("memory")
    yield files
    assert list((tmp_path / "copies").glob("jepakit-*")) == []
    assert [path for path in files.find("/") if b"/copies/jepakit-" in files.cat_file(path)] in (
        [],
        # A checkpoint of Lightning has its own place.
        ["/b/run/checkpoints/last.safetensors"],
    )
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def run(words: str) -> int:
    return main(shlex.split(words))


def _has(kind: Any, wanted: type) -> bool:
    return kind is wanted or any(_has(part, wanted) for part in get_args(kind))


def test_of_every_option_that_is_a_path_it_is_known_what_an_address_means() -> None:
    verbs = [verb for system in SYSTEMS.values() for verb in system.verbs.items()] + list(VERBS.items())
    options = {
        (name, option.rpartition(".")[2]): kind
        for name, verb in verbs
        for option, kind in option_types(import_module(verb.module).COMMANDS[name].options)
    }
    kinds = [READ, UPDATED, WRITTEN, LOCAL]
    paths = {option for (_, option), kind in options.items() if _has(kind, Path)}
    assert [option for option in paths if sum(option in names for names in kinds) != 1] == []
    assert {option for _, option in options} >= READ | UPDATED | WRITTEN | LOCAL


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("dataset", "s3://bucket/x.csv", "copy"),
        ("dataset", "https://host/x.csv", "copy"),
        ("dataset", "PROTEINS", "same"),
        ("graph", "s3://bucket/films.tsv", "copy"),
        ("graph", "https://host/sparql", "same"),
        ("graph", "bolt://host:7687", "same"),
        ("policy", "agentdojo/{suite}", "same"),
        ("index", "postgresql://user@host/db?table=docs", "same"),
        ("index", "s3://bucket/index", "same"),
        ("url", "https://host/mcp", "same"),
        ("out", "s3://bucket/x.csv", "copy"),
        ("out", "ftp://host/x.csv", "error"),
        ("approvals", "s3://bucket/approvals", "error"),
    ],
)
def test_an_address_of_objects_becomes_a_path_and_another_stays(option: str, value: str, expected: str) -> None:
    copies = Copies()
    kind = Path if option in ("out", "approvals") else str
    try:
        if expected == "error":
            with pytest.raises(ConfigError, match=f"{option} = '{value}': expected a path"):
                with_copies([Given(option, value, option)], {option: kind}, copies)
            return
        (changed,) = with_copies([Given(option, value, option)], {option: kind}, copies)
        assert (changed.value == value) == (expected == "same")
        assert [copy.address for copy in copies] == ([value] if expected == "copy" else [])
    finally:
        copies.remove()


def test_traces_are_judged_as_from_a_file(
    store: MemoryFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pay = Call(id="1", tool="send_money", arguments={"recipient": "US99", "amount": 20, "subject": "x", "date": "y"})
    traces = (Trace(context=Context(task="Pay 20 to US99"), calls=(pay,)).model_dump_json() + "\n").encode()
    (tmp_path / "traces.jsonl").write_bytes(traces)
    store.pipe_file("/b/traces.jsonl", traces)
    words = "guard audit --policy agentdojo/banking"
    assert run(f"{words} {tmp_path}/traces.jsonl --out {tmp_path}/out.jsonl") == 0
    assert run(f"{words} memory://b/traces.jsonl --out memory://b/out.jsonl --report memory://b/report") == 0
    assert "judgements: memory://b/out.jsonl" in capsys.readouterr().out
    assert store.cat_file("/b/out.jsonl") == (tmp_path / "out.jsonl").read_bytes()
    assert b"memory://b/traces.jsonl" in store.cat_file("/b/report/report.html")
    # What is there stays, unless it is to be replaced.
    store.pipe_file("/b/out.jsonl", b"theirs")
    again = f"{words} memory://b/traces.jsonl --out memory://b/out.jsonl"
    assert run(again) == 2
    assert "out = 'memory://b/out.jsonl': expected an address where nothing is" in capsys.readouterr().err
    assert store.cat_file("/b/out.jsonl") == b"theirs"
    assert run(f"{again} --overwrite --json") == 0
    assert json.loads(capsys.readouterr().out)["traces"] == "memory://b/traces.jsonl"
    assert store.cat_file("/b/out.jsonl") == (tmp_path / "out.jsonl").read_bytes()
    store.pipe_file("/b/traces.jsonl", traces + b"{,}\n")
    assert run(f"{again} --overwrite") == 2
    assert "error: memory://b/traces.jsonl:2: not JSON" in capsys.readouterr().err
    assert store.cat_file("/b/out.jsonl") == (tmp_path / "out.jsonl").read_bytes()


def test_labels_go_beside_the_problems(store: MemoryFileSystem, capsys: pytest.CaptureFixture[str]) -> None:
    size = """--size '{"rows": 8, "columns": 12, "density": 0.4}'"""
    assert run(f"lp generate set-cover --count 2 {size} --out memory://b/problems") == 0
    assert run("lp label memory://b/problems") == 0
    assert "optima of 2 problems in memory://b/problems/labels" in capsys.readouterr().out
    before = {path: store.info(path)["created"] for path in store.find("/b/problems")}
    assert sum("/labels/" in path for path in before) == 2
    assert run("lp label memory://b/problems") == 0
    assert before == {path: store.info(path)["created"] for path in store.find("/b/problems")}


def test_a_run_is_trained_kept_and_used(
    store: MemoryFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in files_of(write_tu(tmp_path / "TOY", "TOY", node_labels=3)).items():
        store.pipe_file(f"/b/TOY/{name}", content)
    options = "--encoder.hidden 8 --encoder.layers 1 --batch-size 8 --probe false"
    words = f"graph pretrain memory://b/TOY --run memory://b/run --epochs 1 {options}"
    assert run(words) == 0
    config = store.cat_file("/b/run/config.yaml").decode()
    assert "dataset: memory://b/TOY\n" in config
    assert run(words) == 2
    assert "--resume to continue its run, or --overwrite" in capsys.readouterr().err
    assert run(f"{words} --dry-run --resume") == 0
    assert "resumes the run in memory://b/run" in capsys.readouterr().out
    assert run("graph pretrain --config memory://b/run/config.yaml --print-config") == 0
    assert "dataset: memory://b/TOY\n" in capsys.readouterr().out
    # Its own data are those at the address in its configuration.
    assert run("graph embed memory://b/run --out memory://b/e.parquet") == 0
    assert " in memory://b/e.parquet" in capsys.readouterr().out
    with store.open("/b/e.parquet") as file:
        assert pq.read_table(file).num_rows == 24
    assert run(f"{words} --overwrite --devices 2 --accelerator cpu") == 2
    assert "run = 'memory://b/run': expected a folder that all processes see" in capsys.readouterr().err
