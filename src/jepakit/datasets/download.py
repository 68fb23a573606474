"""Files from the web, fetched once into a folder that is complete or not there."""

import http.client
import logging
import shutil
import tempfile
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jepakit.errors import DataError
from jepakit.files import whole_folder
from jepakit.files.web import fetch_url

_LOG = logging.getLogger(__name__)


def fetch_archive(url: str, folder: Path) -> Path:
    """Fetches a zip archive and puts the files in it, without their folders, into ``folder``.

    Raises:
        DataError: it cannot be fetched, or is no zip archive.
        ModelError: ``folder`` cannot be written.
    """
    with _filled(folder, url) as unfinished, tempfile.TemporaryFile() as archive:
        _fetch(url, archive)
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if not member.is_dir():
                    target = unfinished / Path(member.filename).name
                    with opened.open(member) as content, target.open("wb") as file:
                        shutil.copyfileobj(content, file)
    return folder


def fetch_files(url: str, names: Sequence[str], folder: Path) -> Path:
    """Fetches ``url/NAME`` for each name into ``folder``; raises as `fetch_archive` does."""
    with _filled(folder, url) as unfinished:
        for name in names:
            with (unfinished / name).open("wb") as file:
                _fetch(f"{url}/{name}", file)
    return folder


def _fetch(url: str, file: IO[bytes]) -> None:
    _LOG.info("fetching %s", url)
    fetch_url(url, file)


@contextmanager
def _filled(folder: Path, url: str) -> Generator[Path]:
    # Another process may have filled the folder meanwhile, with the same files.
    with whole_folder(folder, replace=True) as unfinished:
        try:
            yield unfinished
        except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
            raise DataError(
                f"{url} could not be fetched: {error}",
                file=folder,
                expected="a network connection, or the files in this folder or one that JEPAKIT_DATA names",
            ) from None
