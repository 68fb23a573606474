"""Requests for approval in a folder that two processes share."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from jepakit.errors import ConfigError, DataError
from jepakit.guard.live import Request, RequestFolder

REQUEST = Request("a1", "bank", "send_money", {"to": "UK12", "amount": 700}, "digest", "approval")


def test_one_process_asks_another_grants_the_first_redeems(tmp_path: Path) -> None:
    asking, granting = RequestFolder(tmp_path / "asks"), RequestFolder(tmp_path / "asks")
    asking.ask(REQUEST)
    assert asking.take("a1") is None
    assert granting.waiting() == [REQUEST]
    assert granting.grant("a1") == REQUEST
    assert granting.waiting() == []
    token = asking.take("a1")
    assert token is not None
    assert asking.take("a1") is None
    assert not asking.approvals.redeem(token, "a1", "another digest")
    assert asking.approvals.redeem(token, "a1", "digest")
    with pytest.raises(DataError):
        granting.grant("a1")


def test_what_was_not_asked_cannot_be_granted(tmp_path: Path) -> None:
    folder = RequestFolder(tmp_path / "asks")
    for call in ("a2", "../a1", "", "a/b", "é"):
        with pytest.raises(DataError):
            folder.grant(call)
    with pytest.raises(DataError):
        folder.ask(replace(REQUEST, call="../outside"))
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["asks", "key"]


def test_a_token_that_someone_writes_is_none(tmp_path: Path) -> None:
    folder = RequestFolder(tmp_path / "asks")
    folder.ask(REQUEST)
    token = RequestFolder(tmp_path / "own").approvals.grant("a1", "digest")
    (tmp_path / "asks" / "a1.token").write_text(token)
    taken = folder.take("a1")
    assert taken == token
    assert not folder.approvals.redeem(taken, "a1", "digest")


def test_requests_end_and_are_bounded(tmp_path: Path) -> None:
    folder = RequestFolder(tmp_path / "asks", seconds=60)
    folder.ask(REQUEST)
    os.utime(tmp_path / "asks" / "a1.json", (0, 0))
    assert folder.waiting() == []
    with pytest.raises(DataError):
        folder.grant("a1")
    for number in range(200):
        (tmp_path / "asks" / f"r{number}.json").touch()
    with pytest.raises(ConfigError) as refused:
        folder.ask(REQUEST)
    assert refused.value.field == "approvals"


def test_a_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(ConfigError) as refused:
        RequestFolder(tmp_path / "open")
    assert refused.value.field == "approvals"
    RequestFolder(tmp_path / "own")
    assert (tmp_path / "own").stat().st_mode & 0o077 == 0


def test_a_damaged_key_is_refused(tmp_path: Path) -> None:
    RequestFolder(tmp_path / "asks")
    (tmp_path / "asks" / "key").write_text("00")
    with pytest.raises(DataError) as refused:
        RequestFolder(tmp_path / "asks")
    assert refused.value.file == tmp_path / "asks" / "key"
