"""`jepakit.load` gives for each folder the object that one works with, and says what is wrong with others."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import jepakit
from jepakit.graph import GraphEncoder, GraphRun
from jepakit.guard import GuardModel
from jepakit.guard.encoder import EncoderConfig
from jepakit.lp import Stream, read_problem
from jepakit.lp.formats.files import problem_files
from jepakit.retrieval import Searcher
from jepakit.training import TrainedRun, save_encoder

FOLDERS = Path(__file__).parent / "old_folders"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of finished runs; the paths in their configuration are relative to it."""
    shutil.copytree(FOLDERS, tmp_path / "folders")
    monkeypatch.chdir(tmp_path / "folders")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "folders"


def test_a_graph_run_gives_encoders_evaluation_and_diagnosis(folders: Path) -> None:
    run = jepakit.load("graph-run")
    assert isinstance(run, GraphRun)
    assert isinstance(run.encoder, GraphEncoder)
    assert isinstance(run.random_encoder, GraphEncoder)
    assert not torch.equal(run.encoder.mask_token, run.random_encoder.mask_token)
    assert run.evaluation is not None
    assert run.evaluation.rows
    assert run.diagnosis is not None
    assert run.report is None
    bare = jepakit.load("graph-gps-run")
    assert bare.evaluation is None


def test_what_has_no_run_around_it_is_its_encoder(folders: Path) -> None:
    assert isinstance(jepakit.load(folders / "graph-run" / "encoder"), GraphEncoder)
    assert isinstance(jepakit.load("molecules"), GraphEncoder)
    Path("molecules").mkdir()
    assert isinstance(jepakit.load("molecules"), GraphEncoder), "a folder of data takes the name away"


def test_a_retrieval_run_searches(folders: Path) -> None:
    searcher = jepakit.load("retrieval-run")
    assert isinstance(searcher, Searcher)
    assert len(searcher.search(["d8 d14 d22"], 3)[0]) == 3


def test_a_run_of_linear_programs_solves(folders: Path) -> None:
    stream = jepakit.load(Path("lp-run"))
    assert isinstance(stream, Stream)
    problem = read_problem(problem_files(Path("lp-new-covers"))[0], relax=True)
    assert stream.solve(problem).solution.certified


def saved_run(folder: Path, encoder: nn.Module, config: dict[str, object]) -> Path:
    """A run folder of which only the encoder is there."""
    folder.mkdir()
    (folder / "config.yaml").write_text("epochs: 1\n")
    save_encoder(encoder, folder / "encoder", config=config)
    return folder


def test_a_guard_run_judges(tmp_path: Path) -> None:
    config = asdict(EncoderConfig(latent_dim=8, hidden=8, heads=2, layers=1, text_dim=8))
    run = saved_run(tmp_path / "guard", GuardModel(config), {"encoder": config})
    assert isinstance(jepakit.load(run), GuardModel)


def test_faults_name_the_folder_and_the_way_out(folders: Path) -> None:
    with pytest.raises(jepakit.ModelError, match=r"graph-stopped-run.*did not finish.*--resume"):
        jepakit.load("graph-stopped-run")
    with pytest.raises(jepakit.ModelError, match=r"molecule: there is no such folder.*molecules"):
        jepakit.load("molecule")
    with pytest.raises(jepakit.ModelError, match=r"graph-rum: there is no such.*did you mean 'graph-run'"):
        jepakit.load("graph-rum")
    with pytest.raises(jepakit.ModelError, match=r"lp-covers: neither a run \(config.yaml\) nor an encoder"):
        jepakit.load("lp-covers")
    with pytest.raises(jepakit.ModelError, match=r"runs in it: graph-gps-run, graph-run"):
        jepakit.load(folders)
    with pytest.raises(jepakit.ModelError, match="holds an encoder of class Adapter, not GraphEncoder"):
        GraphRun.open("retrieval-run")


@pytest.mark.parametrize("text", [None, 5, [], {"base": 5}, {"device": True}, {"batch_size": "x"}, {"bsae": "x"}])
def test_a_configuration_that_was_changed_by_hand_names_the_option(folders: Path, text: object) -> None:
    config = yaml.safe_load(Path("retrieval-run/config.yaml").read_text())
    changed = {**config["text"], **text} if isinstance(text, dict) else text
    Path("retrieval-run/config.yaml").write_text(yaml.safe_dump({**config, "text": changed}))
    with pytest.raises(jepakit.JepakitError, match=r"retrieval-run/config\.yaml: .*(text|bsae)|batch_size"):
        jepakit.load("retrieval-run")


def test_an_encoder_of_ones_own_class_is_opened_by_that_class(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "own", nn.Linear(2, 3), {"in_features": 2, "out_features": 3})
    with pytest.raises(jepakit.ModelError, match=r"torch.nn.modules.linear:Linear.*encoder_class"):
        jepakit.load(run)
    with pytest.raises(jepakit.ModelError, match="encoder_class"):
        TrainedRun.open(run)


def test_packages_are_attributes() -> None:
    assert jepakit.core.JEPA.__name__ == "JEPA"
    assert {"core", "graph", "load", "sklearn"} <= set(dir(jepakit))
    with pytest.raises(AttributeError, match="grpah"):
        _ = jepakit.grpah
