"""The options of the commands that running agents wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

from jepakit.cli.command import parse
from jepakit.cli.guard_live import COMMANDS
from jepakit.cli.main import main
from jepakit.guard import GuardModel
from jepakit.guard.audit import Thresholds
from jepakit.training.storage.encoder_folder import save_encoder

SIZES = {"latent_dim": 16, "hidden": 16, "layers": 1, "heads": 2, "text_dim": 8}


def test_policy_model_and_thresholds_make_the_auditor(tmp_path: Path) -> None:
    model = GuardModel(SIZES)
    save_encoder(model, tmp_path / "model", config=model.arguments)
    Thresholds(deny_risk=0.0, ask_risk=0.0).write(tmp_path / "thresholds.json")
    words = ["--policy", "agentdojo/banking", "--model", str(tmp_path / "model"), "--mode", "record"]
    options = parse(COMMANDS["serve"], "serve", [*words, "--thresholds", str(tmp_path / "thresholds.json")])
    auditor = options.auditor()
    assert isinstance(auditor.scorer, GuardModel)
    assert (auditor.mode, auditor.thresholds.deny_risk) == ("record", 0.0)


@pytest.mark.parametrize(
    ("verb", "words", "problem"),
    [
        ("serve", [], "policy = "),
        ("serve", ["--policy", "nothing"], "nothing"),
        ("serve", ["--policy", "agentdojo/banking", "--model", "nowhere"], "nowhere"),
        ("serve", ["--policy", "agentdojo/banking", "--host", "0.0.0.0"], "host = "),
        ("serve", ["--policy", "agentdojo/banking", "--trusts-callers"], "callers = True"),
        ("proxy", ["--", "true"], "policy = "),
        ("proxy", ["--policy", "agentdojo/banking"], "url = "),
        ("proxy", ["--policy", "agentdojo/banking", "--url", "file:///x"], "url = "),
        ("proxy", ["--policy", "agentdojo/banking", "--pins", "bad.json", "--", "true"], "bad.json"),
        ("proxy", ["--policy", "agentdojo/banking", "--url", "http://127.0.0.1:1/mcp", "--port", "0"], "127.0.0.1:1"),
        ("pin", ["--", "true"], "pins = "),
        ("pin", ["--pins", "new.json", "--", "/nowhere/server"], "/nowhere/server"),
        ("approve", [], "approvals = "),
        ("approve", ["nowhere"], "approvals = "),
    ],
)
def test_what_cannot_be_used_is_named(
    verb: str,
    words: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.json").write_text("{}")
    assert main(["guard", verb, *words]) == 2
    printed = capsys.readouterr()
    assert problem in printed.err
    assert not Path("new.json").exists()
