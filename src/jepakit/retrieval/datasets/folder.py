"""A folder of Markdown, text and HTML files as a corpus: one document for each piece of a section."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from jepakit.errors import DataError
from jepakit.files import read_text
from jepakit.retrieval.data import Queries, RetrievalDataset
from jepakit.retrieval.datasets.chunks import chunk
from jepakit.retrieval.datasets.outline import Outline, html_outline, markdown_outline, plain_outline
from jepakit.search.documents import Documents

_LOG = logging.getLogger(__name__)

HEADING_SEPARATOR = " › "
"""Between the parts of a title: the document's, then the headings from the outermost to the section's own."""

SUFFIXES: dict[str, Callable[[str], Outline]] = {
    ".md": markdown_outline,
    ".markdown": markdown_outline,
    ".txt": plain_outline,
    ".rst": plain_outline,
    ".html": html_outline,
    ".htm": html_outline,
}
"""The files that are read, and their readers."""


@dataclass(frozen=True)
class _Piece:
    id: str
    title: str
    text: str
    metadata: dict[str, str]


def load_folder(folder: Path, *, words: int = 180, overlap: int = 30) -> RetrievalDataset:
    """Loads every Markdown, text and HTML file below a folder, cut along its headings, then its paragraphs.

    Hidden files and folders (``.git``) are skipped, links are followed, and a file with several paths is read once.

    - ``id``: ``relative/path.md#heading/subheading``, for the second piece of a section ``...#heading/subheading:2``.
      It depends on the path, the headings above it and the place within the section, so that editing one section
      leaves the ids of the others. Sections with the same headings get ``-2``, ``-3``.
    - ``title``: the document's title (its only heading of level 1, else the title its head gives, else the file's
      name), then the headings, with `HEADING_SEPARATOR` between.
    - ``metadata``: ``path``, ``title`` of the document, ``heading`` (the section's own, ``""`` without one).
    - ``source``: the relative path, so that no file is in two splits.

    Files without text are skipped; one warning names them. For ``words`` and ``overlap`` see
    `jepakit.retrieval.datasets.chunks.chunk`.

    Raises:
        DataError: no such files, no text in any of them, or a file that cannot be read or is no UTF-8.
        MissingExtraError: an HTML file, and no beautifulsoup4.
    """
    files = sorted((file.relative_to(folder).as_posix(), file) for file in _files(folder))
    if not files:
        raise DataError("no files that can be read", file=folder, expected=f"{', '.join(SUFFIXES)}, or corpus.jsonl")
    by_file = {path: _pieces(path, file, words, overlap) for path, file in files}
    blank = [path for path, pieces in by_file.items() if not pieces]
    if len(blank) == len(files):
        raise DataError("no text in any of the files", file=folder, value=blank)
    if blank:
        _LOG.warning("%s: %d files without text are skipped: %s", folder, len(blank), ", ".join(blank[:5]))
    pieces = list(chain.from_iterable(by_file.values()))
    documents = Documents(
        ids=tuple(piece.id for piece in pieces),
        texts=tuple(piece.text for piece in pieces),
        titles=tuple(piece.title for piece in pieces),
        metadata=tuple(piece.metadata for piece in pieces),
        source=tuple(piece.metadata["path"] for piece in pieces),
    )
    name = folder.resolve().name
    return RetrievalDataset(name, documents, Queries((), ()), {}, f"{len(files) - len(blank)} files of {name}", False)


def _files(folder: Path) -> Iterator[Path]:
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = Path(place).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [entry.name for entry in _visible(place, folders)]
        for file in _visible(place, names):
            if file.suffix.lower() in SUFFIXES and file.is_file() and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _visible(place: str, names: list[str]) -> list[Path]:
    """Links last, so that a file in the folder is read under its own path."""
    entries = [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot be read ({error.strerror})", file=error.filename) from None


def _pieces(path: str, file: Path, words: int, overlap: int) -> list[_Piece]:
    outline = SUFFIXES[file.suffix.lower()](read_text(file))
    title = outline.title or file.stem
    anchors: set[str] = set()
    pieces: list[_Piece] = []
    for section in outline.sections:
        plain = "/".join(map(_slug, section.headings))
        numbered = (f"{plain}-{number}" for number in count(2))
        anchor = next(name for name in chain([plain], numbered) if name not in anchors)
        anchors.add(anchor)
        name = f"{path}#{anchor}" if anchor else path
        full_title = HEADING_SEPARATOR.join(filter(None, (title, *section.headings)))
        metadata = {"path": path, "title": title, "heading": section.headings[-1] if section.headings else ""}
        for place, text in enumerate(chunk(section.blocks, words=words, overlap=overlap), 1):
            pieces.append(_Piece(name if place == 1 else f"{name}:{place}", full_title, text, metadata))
    return pieces


def _slug(heading: str) -> str:
    """As GitHub makes anchors: small letters, digits and hyphens, in any script."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) or "section"
