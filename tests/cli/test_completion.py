"""The script of a shell completes what the command line has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jepakit.cli.main import main

#: Words on the command line, of which the last is completed -> how it may end.
COMPLETED = {
    "g": "graph guard",
    "graph pre": "pretrain predict",
    "graph pretrain --encoder.co": "--encoder.conv",
    "graph pretrain --encoder.conv gi": "gin",
    "graph pretrain --preset mol": "molecules",
    "graph pretrain --probe t": "true",
    "lp solve pro": "problem.mps",
    "doctor --js": "--json",
    "completion z": "zsh",
}


def test_bash_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    (tmp_path / "problem.mps").touch()
    asked = "\n".join(f"ask jepakit {words}" for words in COMPLETED)
    ask = 'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _shtab_jepakit; echo "${COMPREPLY[*]}"; }'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}\n{asked}"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == list(COMPLETED.values())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "encoder.conv" in script
    assert "fit-retriever" in script
    assert "``" not in script
