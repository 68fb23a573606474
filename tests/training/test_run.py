"""The run folder: who may write into it, what is read back, what a damaged one says."""

from pathlib import Path

import pytest

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.training import RunFolder, is_first_process

CONFIG = """\
epochs: 3
learning_rates:
  encoder: 0.001
  predictor: 0.01
seeds:
- 0
- 1
masking:
  ratio: 0.5
views:
  ratio: 0.3
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "deep" / "run")
    run.start(CONFIG, resume=False)
    return run


def test_an_existing_run_is_not_begun_again(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match=r"^run = .*run'.*--resume"):
        run.start(CONFIG, resume=False)
    run.start(CONFIG, resume=True)
    assert run.read_config() == {
        "epochs": 3,
        "learning_rates": {"encoder": 0.001, "predictor": 0.01},
        "seeds": [0, 1],
        "masking": {"ratio": 0.5},
        "views": {"ratio": 0.3},
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 3", "epochs: 4", r"^epochs = 4: expected 3 to resume .*run$"),
        # The same line stands elsewhere in the file.
        ("masking:\n  ratio: 0.5", "masking:\n  ratio: 0.3", r"^masking.ratio = 0.3: expected 0.5 "),
        ("  predictor: 0.01\n", "", r"^learning_rates.predictor = None: expected 0.01 "),
        ("- 1\n", "", r"^seeds = \[0\]: expected \[0, 1\] "),
        ("epochs: 3\n", "epochs: 4\nnew: 1\n", r"changed too: new$"),
    ],
)
def test_resuming_with_another_configuration_names_what_changed(
    run: RunFolder, old: str, new: str, message: str
) -> None:
    assert old in CONFIG
    with pytest.raises(ConfigError, match=message):
        run.start(CONFIG.replace(old, new), resume=True)
    assert run.config.read_text() == CONFIG


def test_the_order_of_options_is_no_change(run: RunFolder) -> None:
    first, rest = CONFIG.split("\n", 1)
    run.start(rest + first + "\n", resume=True)


def test_a_run_that_came_to_nothing_gives_the_folder_back(run: RunFolder) -> None:
    run.withdraw()
    assert not run.path.exists()
    run.start(CONFIG, resume=False)
    (run.path / "notes.txt").write_text("mine")
    run.withdraw()
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]
    run.start(CONFIG, resume=False)
    run.write_metrics([{"epoch": 0}])
    run.withdraw()
    assert run.config.exists()


def test_a_run_is_replaced_once_an_epoch_is_complete(run: RunFolder) -> None:
    run.write_metrics([{"epoch": 0}])
    (run.path / "encoder").mkdir()
    (run.path / "encoder" / "weights").write_text("old")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"^run = .*--overwrite"):
        run.start(CONFIG, resume=False)
    with pytest.raises(ConfigError, match=r"^overwrite = True"):
        run.start(CONFIG, resume=True, overwrite=True)
    # Refused, or killed before an epoch was complete.
    for settle in (run.withdraw, lambda: None):
        run.start("epochs: 4\n", resume=False, overwrite=True)
        assert [path.name for path in run.path.iterdir()] == ["config.yaml"]
        (run.path / "partial").write_text("")
        settle()
    run.withdraw()
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    # Killed after one.
    run.start("epochs: 4\n", resume=False, overwrite=True)
    run.write_metrics([{"epoch": 0}])
    run.start("epochs: 4\n", resume=True)
    run.withdraw()
    assert sorted(path.name for path in run.path.parent.rglob("*")) == ["config.yaml", "metrics.csv", "run"]
    assert run.read_config() == {"epochs": 4}


def test_what_is_no_run_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    run = RunFolder(tmp_path)
    run.start(CONFIG, resume=False, overwrite=True)
    run.withdraw()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="expected a folder, not a file"):
        RunFolder(tmp_path / "file").start(CONFIG, resume=True)


def test_metrics_are_what_was_written_with_empty_cells_for_what_was_not(run: RunFolder) -> None:
    assert run.read_metrics() == []
    run.write_metrics([{"epoch": 0, "a": 1.5}, {"epoch": 1, "b": "x"}])
    assert run.metrics.read_text().splitlines() == ["epoch,a,b", "0,1.5,", "1,,x"]
    assert run.read_metrics() == [{"epoch": "0", "a": "1.5", "b": ""}, {"epoch": "1", "a": "", "b": "x"}]
    assert not list(run.path.glob("*.partial"))


def test_a_writer_that_fails_half_way_leaves_the_old_metrics(run: RunFolder) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise OSError("disk full")

    run.write_metrics([{"epoch": 0}])
    with pytest.raises(ModelError, match=r"metrics\.csv: could not be written \(disk full\); what was there stays"):
        run.write_metrics([{"epoch": 0}, {"epoch": Unprintable()}])
    assert run.read_metrics() == [{"epoch": "0"}]
    assert not list(run.path.glob("*.partial"))


def test_damaged_files_are_named(run: RunFolder) -> None:
    run.metrics.write_text("epoch,a\n0,1\none,2\n")
    with pytest.raises(DataError, match=r"metrics.csv:3: epoch: not an epoch \(found 'one'\)"):
        run.read_metrics()
    run.config.write_text("a: [")
    with pytest.raises(DataError, match=r"config.yaml:1: "):
        run.read_config()
    run.config.write_text("")
    with pytest.raises(DataError, match=r"config.yaml: no options"):
        run.start(CONFIG, resume=True)


def test_what_is_missing_from_an_unfinished_run_is_said(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"the run did not finish: encoder/ is missing; .*--config .*--resume"):
        run.require_trained()
    with pytest.raises(ModelError, match="there is no run folder here"):
        RunFolder(tmp_path / "nowhere").require_trained()
    with pytest.raises(ModelError, match=r"not a run folder \(no config.yaml\)"):
        RunFolder(tmp_path).require_trained()


def test_one_device_is_always_the_first_process() -> None:
    assert is_first_process(1)


def test_a_run_of_an_earlier_version_had_the_defaults_of_options_that_came_later(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    earlier = {"defaults": "objective: {target: simsiam, loss: cosine}", "renamed": {"jepa_mode": "objective.target"}}
    run.start("jepa_mode: ema\n", resume=False)
    for now, field in (
        ("objective: {target: simsiam, loss: cosine}", "objective.target"),
        ("objective: {target: ema, loss: mse}", "objective.loss"),
    ):
        with pytest.raises(ConfigError) as caught:
            run.start(now, resume=True, **earlier)
        assert caught.value.field == field
    now = "objective: {target: ema, loss: cosine}"
    run.start(now, resume=True, **earlier)
    assert run.config.read_text("utf-8") == now
