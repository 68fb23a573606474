"""Off a terminal no command that works long is silent for more than five seconds, from its start to its end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

LONGEST = 5.0
COMMANDS = {
    "demo": "demo --run {folder}/demo",
    "graph": (
        "graph pretrain --dataset python --epochs 2 --encoder.hidden 32 --encoder.layers 2 --evaluate.classifier svm"
        " --evaluate.folds 3 --evaluate.seeds [0] --run {folder}/graph"
    ),
    "kgqa": "kgqa train --dataset python --pretrain-epochs 1 --skip-finetune --output-dir {folder}/kgqa",
    "retrieval": "retrieval train --corpus python --selection.folds 2 --run {folder}/retrieval",
    "guard": "guard train --generated 300 --epochs 3 --run {folder}/guard",
}


@pytest.mark.torture
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_silent_for_long(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Vectors that are cached already would hide how long encoding takes.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = COMMANDS[name].format(folder=tmp_path).split()
    code = f"from jepakit.cli.main import main; raise SystemExit(main({words}))"
    begin = last = time.monotonic()
    gaps: list[tuple[float, str]] = []
    with subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic()
            gaps.append((now - last, f"after {last - begin:.0f} s, before {line.strip()[:100]!r}"))
            last = now
    gaps.append((time.monotonic() - last, "at the end"))
    assert process.returncode == 0
    longest, where = max(gaps)
    assert longest <= LONGEST, where
