"""A folder of Markdown, text and HTML files as a corpus: one document for each piece of a section."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jepakit.errors import DataError
from jepakit.retrieval.data import Queries, RetrievalDataset
from jepakit.retrieval.datasets.chunks import ChunkConfig, chunk
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
"""Which files are read, and how."""


@dataclass(frozen=True)
class _Piece:
    id: str
    title: str
    headings: tuple[str, ...]
    text: str


def load_folder(folder: Path, chunks: ChunkConfig | None = None) -> RetrievalDataset:
    """Loads every Markdown, text and HTML file below a folder, cut along its headings, then its paragraphs.

    Hidden files and folders (``.git``) are skipped, links are followed, and what can be reached twice is read once.

    - ``id``: ``relative/path.md#heading/subheading``, for the second piece of a section ``...#heading/subheading:2``.
      It depends on the path, the headings above it and the place within the section, so that editing one section
      leaves the ids of the others. Sections with the same headings get ``-2``, ``-3``.
    - ``title``: the document's title (its only heading of level 1, else the title its head gives, else the file's
      name), then the headings, with `HEADING_SEPARATOR` between.
    - ``metadata``: ``path``, ``title`` of the document, ``heading`` (the section's own, ``""`` where there is none).
    - ``source``: the relative path, so that no file is in two splits.

    Files without text are skipped; one warning names them.

    Args:
        folder: where the files are.
        chunks: how long the pieces are.

    Raises:
        DataError: no such files, no text in any of them, or a file that cannot be read or is no UTF-8.
        MissingExtraError: an HTML file, and no beautifulsoup4.
    """
    files = sorted((file.relative_to(folder).as_posix(), file) for file in _files(folder))
    if not files:
        raise DataError("no files that can be read", file=folder, expected=f"{', '.join(SUFFIXES)}, or corpus.jsonl")
    found = [(path, _pieces(path, file, chunks or ChunkConfig())) for path, file in files]
    blank = [path for path, pieces in found if not pieces]
    if len(blank) == len(files):
        raise DataError("no text in any of the files", file=folder, value=blank)
    if blank:
        _LOG.warning("%s: %d files without text are skipped: %s", folder, len(blank), ", ".join(blank[:5]))
    rows = [(path, piece) for path, pieces in found for piece in pieces]
    documents = Documents(
        ids=tuple(piece.id for _, piece in rows),
        texts=tuple(piece.text for _, piece in rows),
        titles=tuple(HEADING_SEPARATOR.join(filter(None, (piece.title, *piece.headings))) for _, piece in rows),
        metadata=tuple(
            {"path": path, "title": piece.title, "heading": piece.headings[-1] if piece.headings else ""}
            for path, piece in rows
        ),
        source=tuple(path for path, _ in rows),
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
    """Links last, so that what has a place of its own is found there."""
    entries = [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot be read ({error.strerror})", file=error.filename) from None


def _pieces(path: str, file: Path, chunks: ChunkConfig) -> list[_Piece]:
    outline = SUFFIXES[file.suffix.lower()](_text(file))
    title = outline.title or file.stem
    taken: set[str] = set()
    pieces: list[_Piece] = []
    for section in outline.sections:
        anchor = _free("/".join(map(_slug, section.headings)), taken)
        taken.add(anchor)
        name = f"{path}#{anchor}" if anchor else path
        for place, text in enumerate(chunk(section.blocks, chunks), 1):
            pieces.append(_Piece(name if place == 1 else f"{name}:{place}", title, section.headings, text))
    return pieces


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 text ({error.reason} at byte {error.start})"
        raise DataError(problem, file=file, expected="a file saved as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", file=file) from None


def _slug(heading: str) -> str:
    """As GitHub makes anchors: small letters, digits and hyphens, in any script."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) or "section"


def _free(anchor: str, taken: set[str]) -> str:
    """The anchor, with a counter where it is taken."""
    if anchor not in taken:
        return anchor
    count = 2
    while f"{anchor}-{count}" in taken:
        count += 1
    return f"{anchor}-{count}"
