"""What the command says: help, versions, one line for each mistake, and nothing to a reader that has gone."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from toy_runs import Toy, environment

from commands import every_command, every_verb
from jepakit.cli.command import parse
from jepakit.cli.graph import COMMANDS, PretrainOptions
from jepakit.cli.main import main
from jepakit.cli.reading import option_types
from jepakit.cli.verbs import SYSTEMS
from jepakit.errors import ConfigError
from processes import LIMIT, start_command

TESTS = Path(__file__).parents[1]
MODULES = {"scikit-learn": "sklearn"}
QUICKLY = ["--classifier", "logistic", "--folds", "2", "--seeds", "[0]", "--floors", "[random]"]
WORDS = [["graph", "--help"], ["graph", "embed", "--help"], ["graph", "embed", "run"]]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a command runs in; no data folder is set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)
    return tmp_path


def pretrain(*words: str) -> PretrainOptions:
    return parse(COMMANDS["pretrain"], "jepakit graph pretrain", words)


@pytest.mark.parametrize(
    ("words", "field", "value", "hint"),
    [
        ("grap", "command", "'grap'", "did you mean 'graph'?"),
        ("graph pretran", "verb", "'pretran'", "did you mean 'pretrain'?"),
        ("graph pretrain --encoder.conv gon", "encoder.conv", "'gon'", "gat, gcn, gin, gps (did you mean 'gin'?)"),
        ("graph pretrain --encoder.con gin", "option", "'encoder.con'", "did you mean 'encoder.conv'?"),
        # An abbreviation is a mistake: it would mean something else once there is another option like it.
        ("graph pretrain --epoch 1", "option", "'epoch'", "did you mean 'epochs'?"),
        ("graph pretrain --zzz=1", "option", "'zzz'", "`jepakit graph pretrain --help`"),
        ("graph pretrain -z", "option", "'-z'", "`jepakit graph pretrain --help`"),
        ("graph pretrain --epochs x", "epochs", "'x'", "a whole number"),
        ("graph pretrain --epochs 1.5", "epochs", "'1.5'", "a whole number"),
        ("graph pretrain --epochs", "epochs", "None", "a whole number"),
        ("graph pretrain --epochs null", "epochs", "'null'", "a whole number"),
        ("graph pretrain --epochs --seed 1", "epochs", "None", "a whole number"),
        ("graph pretrain --epochs 0", "epochs", "0", "at least 1"),
        ("graph pretrain --seed -1", "seed", "-1", "[0, "),
        ("graph pretrain --patience soon", "patience", "'soon'", "a whole number or null"),
        # As the user wrote it: with a dash, where there was one.
        ("graph pretrain --learning-rate fast", "learning-rate", "'fast'", "a number"),
        ("graph pretrain --learning-rate -1", "learning-rate", "-1.0", "(0, inf)"),
        ("graph pretrain --learning_rates {encoder:fast}", "learning_rates", "'{encoder:fast}'", "a number"),
        ('graph pretrain --learning_rates {"encoder":-1}', "learning_rates.encoder", "-1.0", "(0, inf)"),
        ("graph pretrain --evaluate.seeds a", "evaluate.seeds", "['a']", "a list"),
        ("graph pretrain --evaluate.floors [sand]", "evaluate.floors", "'[sand]'", "no network, random, wl, wl-oa"),
        ("graph pretrain --evaluate.floors randm", "evaluate.floors", "['randm']", "did you mean 'random'?"),
        # A dataclass in the options says `ratio`; the command adds the rest.
        ("graph pretrain --masking.ratio 1", "masking.ratio", "1.0", "(0, 1)"),
        ("graph pretrain --evaluate.folds 1", "evaluate.folds", "1", "at least 2"),
        ("graph pretrain --encoder nowhere.yaml", "encoder", "'nowhere.yaml'", "a YAML file"),
        ("graph pretrain MUTAG another", "argument", "'another'", "--NAME another"),
        ("graph pretrain --preset orignal", "preset", "'orignal'", "did you mean 'original'?"),
        ("graph pretrain --dataset MUTG", "dataset", "'MUTG'", "a path that exists, python, Cora"),
        ("graph pretrain --data-dir nowhere --dataset MUTAG", "data-dir", "'nowhere'", "an existing folder"),
        ("graph evaluate", "run", "None", "finished run"),
        ("graph evaluate nowhere", "run", "'nowhere'", "shipped encoder (molecules)"),
        ("graph embed . --level edge", "level", "'edge'", "graph, node"),
        ("graph embed . data another", "argument", "'another'", "--NAME another"),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(
    words: str, field: str, value: str, hint: str, capsys: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {field} = {value}: ")
    assert hint in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("graph pretrain --dataset ./nowhere", "nowhere: no such file or folder"),
        ("graph evaluate ./nowhere", "nowhere does not exist"),
        ("graph embed . --out x.parquet", ".: not a run folder (no config.yaml)"),
    ],
)
def test_a_bad_place_is_one_line_that_names_it(
    words: str, message: str, capsys: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "c.yaml: option = 'epoch': "),
        ("encoder:\n  con: gin", "c.yaml: option = 'encoder.con': "),
        ("encoder:\n  conv: gon", "c.yaml: encoder.conv = 'gon': "),
        ("encoder: 3", "c.yaml: encoder = 3: "),
        ("epochs: null", "c.yaml: epochs = None: "),
        ("epochs: 1.5", "c.yaml: epochs = 1.5: "),
        ("freeze: a", "c.yaml: freeze = 'a': "),
        ("epochs: [", "config = 'c.yaml': "),
        ("- 1", "config = 'c.yaml': "),
        ("preset: orignal", "c.yaml: preset = 'orignal': "),
        ("evaluate:\n  folds: 1", "c.yaml: evaluate.folds = 1: "),
        ("1: 2", "c.yaml: option = '1': "),
        (None, "config = 'c.yaml': "),
    ],
)
def test_a_mistake_in_yaml_names_the_file_and_the_key(
    text: str | None, message: str, capsys: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    if text is not None:
        (empty_folder / "c.yaml").write_text(text)
    assert main(["graph", "pretrain", "--config", "c.yaml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str], toy: Toy) -> None:
    words = ["graph", "pretrain", *toy.options, "--run", "/proc/nowhere/run"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: /proc/nowhere")
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["graph"], ["graph", "--help"]])
def test_help_tells_what_there_is(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    said = capsys.readouterr().out
    assert ("pretrain" in said and "evaluate" in said and "embed" in said) if "graph" in words else "graph" in said


@pytest.mark.parametrize("words", every_verb())
def test_help_tells_every_option_and_what_it_does(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words.split(), "--help-all"]) == 0
    said = capsys.readouterr().out
    blocks = said.split("\n  --")[1:]
    described = {block.split()[0].replace("-", "_"): " ".join(block.split()) for block in blocks}
    wanted = {name for name, _ in option_types(every_command()[words].options)}
    assert wanted <= described.keys()
    for name in wanted:
        # NAME VALUE text (default: ...)
        text = described[name].partition(" (")[0]
        assert len(text.split()) >= 3, described[name]
    assert not re.search(r"[Ss]ee jepakit|``|\bNone\b|\bTrue\b|\bFalse\b|Path\b|Literal|list\[", said)


def test_the_exit_statuses_are_those_of_the_documentation() -> None:
    page = (TESTS.parent / "docs" / "training.md").read_text("utf-8")
    written = dict(re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE))
    said = dict(re.findall(r"^ *(\d+) +(.*)$", main.__doc__ or "", re.MULTILINE))
    assert len(said) == 7
    assert {status: meaning.replace("``", "`") for status, meaning in said.items()} == written


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
        options = parse(command, "jepakit", words)
        assert (options.run, options.level) == ("run", "node")


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
    with pytest.raises(ConfigError, match=r"^objective.predictor = 'mlp'"):
        pretrain("--views.context", "drop")


def test_verify_lists_the_damaged_files_of_a_run(toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy.run, run)
    files = len([path for path in run.rglob("*") if path.is_file()])
    assert main(["verify", str(run)]) == 0
    assert capsys.readouterr().out.startswith(f"{run}: {files} files can be read; ")
    weights, results = run / "encoder" / "model.safetensors", run / "results.json"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 4
    weights.write_bytes(content)
    results.write_text(results.read_text().replace('"value": ', '"value": 1', 1))
    assert main(["verify", str(run)]) == 2
    said = capsys.readouterr()
    named = {line.partition(": ")[0] for line in said.out.splitlines()}
    assert named == {str(weights), str(results)}
    # The weights are named twice: by their own digest, and by that in config.json.
    assert re.match(rf"error: {run}: [23] of {files} files ", said.err)


@pytest.mark.parametrize("words", [[], ["a", "b"]])
def test_verify_takes_one_folder(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *words]) == 2
    assert capsys.readouterr().err.startswith(f"error: {'argument' if words else 'folder'} = ")


def test_verify_of_no_folder(capsys: pytest.CaptureFixture[str], empty_folder: Path) -> None:
    assert main(["verify", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: nowhere: ")
    assert main(["verify", "--help"]) == 0
    assert "jepakit verify FOLDER" in capsys.readouterr().out


def test_importing_the_package_loads_no_torch_and_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "import jepakit, sys; print(sorted({'torch', 'numpy', 'rich'} & set(sys.modules)), jepakit.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"[] {version('jepakit')}\n"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Seconds of the processor: a busy machine does not change them.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_help_of_systems_waits_for_no_package() -> None:
    code = f"""
import sys
from jepakit.cli.main import main
from jepakit.cli.verbs import SYSTEMS
status = main([]), *(main([system]) for system in {list(SYSTEMS)}), main(["nothing"])
print(status, sorted({{"torch", "numpy", "jsonargparse", "yaml", "pydantic"}} & {{*sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{(0,) * 6 + (2,)} []"


def test_a_reader_that_has_gone_ends_it_quietly(start: Start) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start("--help", stdout=writing)
    os.close(writing)
    assert process.communicate(timeout=LIMIT)[1] == ""
    assert process.returncode == 141


def test_a_package_that_is_not_installed_names_its_extra(toy: Toy, tmp_path: Path) -> None:
    run, finished = tmp_path / "run", tmp_path / "finished"
    shutil.copytree(toy.run, finished)
    commands = {
        "scikit-learn": ["evaluate", str(finished), *QUICKLY],
        "torch_geometric": ["pretrain", *toy.options, "--encoder.conv", "gat", "--run", str(run)],
    }
    for package, words in commands.items():
        log = tmp_path / package
        process = start_command(["graph", *words], log, without=MODULES.get(package, package))
        process.join(LIMIT)
        said = log.read_text()
        assert process.exitcode == 2, said
        assert (
            said.splitlines()[-1] == f"error: {package} is not installed; install it with: pip install 'jepakit[graph]'"
        )
        assert "Traceback" not in said
    # What was never begun is not in the way.
    assert not run.exists()


def test_help_needs_nothing_that_an_extra_brings() -> None:
    blocker = "import sys; from processes import _Blocker; sys.meta_path.insert(0, _Blocker('pyarrow'))"
    code = f"{blocker}; from jepakit.cli.main import main; print([main(words) for words in {WORDS}])"
    env = environment(PYTHONPATH=f"{TESTS}:{TESTS.parent / 'src'}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 2]"
    assert "pretrain    pre-train an encoder" in done.stdout
    assert "usage: jepakit graph embed" in done.stdout
    advice = "pyarrow is not installed; install it with: pip install 'jepakit[graph]'"
    assert advice in " ".join(done.stdout.split())
    # On a busy machine a line of progress stands before it.
    assert done.stderr.endswith(f"error: {advice}\n")
