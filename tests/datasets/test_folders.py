"""Where data are looked up: an argument, then the environment; a folder that is missing is an error."""

from pathlib import Path

import pytest

from jepakit.datasets.folders import cache_folder, data_folder
from jepakit.errors import ConfigError


def test_without_the_variable_the_cache_is_below_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "jepakit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "jepakit"


def test_an_argument_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JEPAKIT_DATA", raising=False)
    assert data_folder() is None
    (tmp_path / "a").mkdir()
    monkeypatch.setenv("JEPAKIT_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert data_folder(tmp_path / "a") == tmp_path / "a"


def test_a_missing_folder_is_named_with_where_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    monkeypatch.setenv("JEPAKIT_DATA", gone)
    for given, field in ((None, "JEPAKIT_DATA"), (gone, "data_dir")):
        with pytest.raises(ConfigError) as caught:
            data_folder(given)
        assert (caught.value.field, caught.value.value) == (field, gone)
