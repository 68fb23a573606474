"""What the command says: help, versions, one line for each mistake, and nothing to a reader that has gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from jepakit.cli.command import parse
from jepakit.cli.graph import COMMANDS, PretrainOptions
from jepakit.cli.main import main
from jepakit.errors import ConfigError

Start = Callable[..., "subprocess.Popen[str]"]


def pretrain(*words: str) -> PretrainOptions:
    return parse(COMMANDS["pretrain"], "jepakit graph pretrain", words)[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("grap", "system = 'grap': expected one of graph (did you mean 'graph'?)"),
        ("graph pretran", "verb = 'pretran': expected one of embed, evaluate, pretrain (did you mean 'pretrain'?)"),
        (
            "graph pretrain --encoder.conv gon",
            "encoder.conv = 'gon': expected one of gat, gcn, gin, gps (did you mean 'gin'?)",
        ),
        (
            "graph pretrain --encoder.con gin",
            "option = 'encoder.con': expected what `jepakit graph pretrain --help` lists (did you mean 'encoder.conv'?)",
        ),
        (
            # An abbreviation is a mistake: it would mean something else once there is another option like it.
            "graph pretrain --epoch 1",
            "option = 'epoch': expected what `jepakit graph pretrain --help` lists (did you mean 'epochs'?)",
        ),
        ("graph pretrain --zzz=1", "option = 'zzz': expected what `jepakit graph pretrain --help` lists"),
        ("graph pretrain --epochs x", "epochs = 'x': expected a whole number"),
        ("graph pretrain --epochs 1.5", "epochs = '1.5': expected a whole number"),
        ("graph pretrain --epochs", "epochs = None: expected a whole number"),
        ("graph pretrain --epochs --seed 1", "epochs = None: expected a whole number"),
        ("graph pretrain --epochs 0", "epochs = 0: expected at least 1"),
        ("graph pretrain --seed -1", "seed = -1: expected at least 0"),
        ("graph pretrain --patience soon", "patience = 'soon': expected a whole number or null"),
        ("graph pretrain --learning-rate fast", "learning_rate = 'fast': expected a number"),
        ("graph pretrain --freeze a", "freeze = 'a': expected a list [..., ...], each text"),
        (
            "graph pretrain --learning-rates {encoder:fast}",
            "learning_rates = '{encoder:fast}': expected a mapping {name: value}, each value a number",
        ),
        (
            "graph pretrain --evaluate.floors [sand]",
            "evaluate.floors = 'sand': expected a list [..., ...], each one of no network, random, wl, wl-oa",
        ),
        ("graph pretrain --masking.ratio 1", "masking.ratio = 1.0: expected a number between 0 and 1, both excluded"),
        ("graph pretrain MUTAG", "argument = 'MUTAG': expected the name of its option before it: --NAME MUTAG"),
        ("graph pretrain --preset orignal", "(did you mean 'original'?)"),
        ("graph pretrain --dataset MUTG", "dataset = 'MUTG': expected a path that exists, python, Cora"),
        ("graph pretrain --dataset ./nowhere", "nowhere: no such file or folder"),
        ("graph pretrain --data-dir nowhere --dataset MUTAG", "data_dir = 'nowhere': expected an existing folder"),
        ("graph evaluate", "run = None: expected the folder of a finished run"),
        ("graph evaluate nowhere", "nowhere: there is no run folder here"),
        ("graph embed . --out x.parquet", ".: not a run folder (no config.yaml)"),
        ("graph embed . --level edge", "level = 'edge': expected one of graph, node"),
        ("graph embed . another", "argument = 'another': expected the name of its option before it: --NAME another"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    words: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "option = 'epoch': expected what `jepakit graph pretrain --help` lists (did you mean 'epochs'?)"),
        ("encoder:\n  con: gin", "option = 'encoder.con': expected"),
        ("encoder:\n  conv: gon", "encoder.conv = 'gon': expected one of gat, gcn"),
        ("encoder: 3", "encoder = 3: expected a mapping of options to values"),
        ("epochs: [", "config = 'c.yaml': expected a YAML file of options and values (while parsing a flow node"),
        ("- 1", "config = 'c.yaml': expected a YAML file of options and values"),
        ("preset: orignal", "preset = 'orignal': expected one of"),
        ("evaluate:\n  folds: 1", "folds = 1: expected at least 2"),
        (None, "config = 'c.yaml': expected a YAML file of options and values (File does not exist"),
    ],
)
def test_a_mistake_in_yaml_is_one_line_too(
    text: str | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("c.yaml").write_text(text)
    assert main(["graph", "pretrain", "--config", "c.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str], toy: object) -> None:
    words = ["graph", "pretrain", *toy.options, "--run", "/proc/nowhere/run"]  # type: ignore[attr-defined]
    assert main(words) == 2
    assert capsys.readouterr().err == "error: /proc/nowhere: No such file or directory\n"


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["graph"], ["graph", "--help"]])
def test_help_tells_what_there_is(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said = capsys.readouterr().out
    assert ("pretrain" in said and "evaluate" in said and "embed" in said) if "graph" in words else "graph" in said


@pytest.mark.parametrize("verb", list(COMMANDS))
def test_help_tells_every_option_and_what_it_does(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: jepakit graph {verb} {'' if verb == 'pretrain' else 'RUN '}[--option value ...]")
    blocks = said.split("\n  --")[1:]
    described = {block.split()[0].rstrip(","): " ".join(block.split()) for block in blocks}
    wanted = set(flat(yaml.safe_load(parse(COMMANDS[verb], "jepakit", [])[1])))
    assert wanted - {"config"} <= described.keys()
    for name in wanted - {"config", "preset"}:
        # NAME METAVAR text (type: ..., default: ...)
        text = described[name].partition(" (type:")[0]
        assert len(text.split()) >= 3, described[name]


def flat(config: dict[str, object], prefix: str = "") -> list[str]:
    return [
        name
        for key, value in config.items()
        for name in (flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"])
    ]


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    assert capsys.readouterr().out == version("jepakit") + "\n"


def test_dashes_and_underscores_values_and_flags() -> None:
    options = pretrain("--batch-size", "7", "--encoder.position-size=3", "--resume", "--run", "a-b", "--probe", "false")
    assert (options.batch_size, options.encoder.position_size) == (7, 3)
    assert (options.resume, options.probe, options.run) == (True, False, Path("a-b"))
    assert pretrain("--resume", "true").resume
    assert pretrain("--seed", "3", "--encoder.residual").encoder.residual
    assert pretrain("--freeze", "[a-b, c]", "--learning-rates", "{a-b: 1e-5}").learning_rates == {"a-b": 1e-5}


def test_a_place_may_stand_before_and_after_options() -> None:
    command = COMMANDS["embed"]
    for words in (["run", "--level", "node"], ["--level", "node", "run"], ["--run", "run", "--level=node"]):
        options, _ = parse(command, "jepakit", words)
        assert (options.run, options.level) == (Path("run"), "node")


def test_later_beats_earlier_and_a_preset_is_only_other_defaults(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("preset: original\nepochs: 7\nencoder:\n  hidden: 24\n")
    options = pretrain("--config", str(config), "--encoder.layers", "3")
    assert (options.epochs, options.encoder.hidden, options.encoder.layers) == (7, 24, 3)
    assert options.views.context == "drop"
    assert pretrain("--epochs", "5", "--config", str(config), "--epochs", "9").epochs == 9
    assert pretrain("--config", str(config), "--preset", "best").views.context == "token"
    assert pretrain("--preset=original", "--encoder.hidden=8").encoder.hidden == 8


@pytest.mark.parametrize("preset", list(COMMANDS["pretrain"].presets or {}))
def test_what_is_printed_is_what_is_read(preset: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--preset", preset, "--learning-rate", "1e-5", "--freeze", "[encoder]", "--patience", "4"]
    assert main(["graph", "pretrain", *words, "--print-config"]) == 0
    config = tmp_path / "c.yaml"
    config.write_text(capsys.readouterr().out)
    assert pretrain("--config", str(config)) == pretrain(*words)


def test_a_class_that_refuses_an_option_names_it() -> None:
    with pytest.raises(ConfigError, match=r"^objective.predictor = 'mlp': expected cross_attention"):
        pretrain("--views.context", "drop")


def test_importing_the_package_loads_no_torch_and_is_quick() -> None:
    began = time.perf_counter()
    code = "import jepakit, sys; print(sorted({'torch', 'numpy', 'rich'} & set(sys.modules)), jepakit.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[] {version('jepakit')}\n"
    assert time.perf_counter() - began < 2


def test_a_reader_that_has_gone_ends_it_quietly(start: Start) -> None:
    def status(*words: str) -> tuple[int, str]:
        reading, writing = os.pipe()
        os.close(reading)
        process = start(*words, stdout=writing)
        os.close(writing)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    assert status() == (141, "")
    assert status("graph", "pretrain", "--help") == (141, "")


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from jepakit.cli.main import main
sys.exit(main({words!r}))
"""


def test_a_package_that_is_not_installed_names_its_extra(toy: object, tmp_path: Path) -> None:
    data, options = toy.data, toy.options  # type: ignore[attr-defined]
    run = ["--run", str(tmp_path / "run")]
    commands = {
        "pyarrow": ["graph"],
        "sklearn": ["graph", "evaluate", str(toy.run)],  # type: ignore[attr-defined]
        "torch_geometric": ["graph", "pretrain", *options, "--encoder.conv", "gat", *run],
    }
    processes = {
        package: subprocess.Popen(
            [sys.executable, "-c", BLOCKED.format(package=package, words=words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for package, words in commands.items()
    }
    for package, process in processes.items():
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 2, errors
        assert errors == f"error: {package} is not installed; install it with: pip install 'jepakit[graph]'\n"
    assert data.exists()
    assert not (tmp_path / "run").exists()
