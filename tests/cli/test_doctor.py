"""What doctor finds: extras that are complete or not, and libraries that fail in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from packaging.version import Version

from jepakit.cli.installed import extras, parts, parts_of
from jepakit.cli.main import main
from jepakit.cli.self_tests import CHECKS, run_check

PYTHON = [sys.executable, "-c"]


def test_requirements_are_compared_with_what_is_installed() -> None:
    newer = Version(version("numpy")).major + 1
    listed = [
        "numpy>=1",
        "no-such-package>=2; extra == 'a'",
        f"numpy>={newer}; extra == 'b'",
        "numpy; python_version < '3' and extra == 'a'",
        "no-such-package; python_version < '3'",
    ]
    found = {extra: {part.name: part.problem for part in parts_of(listed, extra)} for extra in ("", "a", "b")}
    assert found == {
        "": {"numpy": ""},
        "a": {"no-such-package": "missing"},
        "b": {"numpy": f"{version('numpy')}, not >={newer}"},
    }


def test_the_requirements_are_those_of_jepakit() -> None:
    assert {"graph", "retrieval", "kgqa", "lp", "guard", "chem"} <= {*extras()}
    assert {"torch", "numpy", "rich"} <= {part.name for part in parts()}
    assert "rdkit" in {part.name for part in parts("chem")}
    required = {part.name for extra in extras() for part in parts(extra)} | {part.name for part in parts()}
    assert CHECKS.keys() <= required | {"tokenizers"}


@pytest.mark.parametrize("name", CHECKS)
def test_a_library_that_works_passes(name: str) -> None:
    CHECKS[name]()
    assert "openvino_telemetry" not in sys.modules


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it ended its process (SIGSEGV)"),
        ("raise ArithmeticError('its answer is wrong')", "ArithmeticError: its answer is wrong"),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import time; time.sleep(60)", "no end after 0.5 s"),
        ("print('two words')", ""),
    ],
)
def test_a_library_that_does_not_is_reported(code: str, problem: str) -> None:
    check = run_check("library", [*PYTHON, code], limit=0.5 if "sleep" in code else 60)
    assert (check.problem, check.detail) == (problem, "" if problem else "two words")


def test_the_command_line_has_a_document_and_a_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["doctor", "lp", "--json", "--test", "false"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [group["extra"] for group in found["extras"]] == ["", "lp"]
    assert found["versions"]["jepakit"] == version("jepakit")
    monkeypatch.setitem(CHECKS, "highspy", CHECKS["highspy"])
    for name in [name for name in CHECKS if name != "highspy"]:
        monkeypatch.delitem(CHECKS, name)
    assert main(["doctor", "lp", "--seconds", "0.001"]) == 2
    said = capsys.readouterr()
    assert "no end after 0.001 s" in said.out
    assert said.err.endswith("error: highspy: its self-test failed\n")
    assert main(["doctor", "lpp"]) == 2
    assert "did you mean 'lp'?" in capsys.readouterr().err


def test_doctor_needs_nothing_that_an_extra_brings() -> None:
    blocked = "{'jsonargparse', 'yaml', 'pydantic', 'pytorch_lightning', 'torch', 'huggingface_hub', 'shtab'}"
    code = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocker())
from jepakit.cli.main import main
named = main(["doctor", "minilm", "--test", "false", "--seconds", "5", "--json"])
sys.exit(main(["doctor", "--help"]) or main(["graph"]) or named or main(["demo"]) - 2)
"""
    done = subprocess.run([*PYTHON, code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--seconds" in done.stdout
    assert "pip install 'jepakit[graph,kgqa,lp,guard,minilm,report]'" in done.stderr
