"""Damaged files of every format: read, or refused by one error that names the file; never anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from attack import READERS, attack, replay

CORPUS = Path(__file__).parent / "corpus"
"""Damaged files that were answered wrongly once: ``READER/CASE/FILE``."""


@pytest.mark.parametrize("count", [25, pytest.param(3000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("reader", READERS)
def test_damaged_files_are_read_or_refused(reader: str, count: int, tmp_path: Path) -> None:
    faults, refused = attack(reader, count, seed=count, folder=tmp_path)
    assert not faults, f"{len(faults)} faults:\n\n" + "\n\n".join(map(str, faults[:10]))
    assert refused


@pytest.mark.parametrize("reader", sorted(path.name for path in CORPUS.iterdir()))
def test_damage_that_was_answered_wrongly_once(reader: str, tmp_path: Path) -> None:
    assert not [str(fault) for fault in replay(reader, CORPUS / reader, tmp_path)]
