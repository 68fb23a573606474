"""Loading a `RetrievalDataset`: public sets by name, the user's own files by path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jepakit.datasets.folders import data_folder
from jepakit.errors import ConfigError, DataError, did_you_mean
from jepakit.retrieval.data import Queries, RetrievalDataset
from jepakit.retrieval.datasets.beir import load_beir, read_documents, read_queries
from jepakit.retrieval.datasets.folder import load_folder
from jepakit.retrieval.datasets.pairs import names_queries_by_id, read_pairs
from jepakit.retrieval.datasets.python_docs import load_python_docs
from jepakit.retrieval.datasets.rows import TABLES

__all__ = ["load_dataset"]


def load_dataset(
    corpus: str | Path,
    *,
    pairs: str | Path | None = None,
    queries: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> RetrievalDataset:
    """Loads a corpus and, if given, the pairs that say which document answers which query.

    ``corpus`` is one of

    - ``python``: docstrings of the standard library; needs no files, see
      `jepakit.retrieval.datasets.python_docs.load_python_docs`;
    - the name of a BEIR folder in ``data_dir/retrieval``;
    - the path of a BEIR folder, see `jepakit.retrieval.datasets.beir.load_beir`;
    - the path of a folder of Markdown, text and HTML files, see `jepakit.retrieval.datasets.folder.load_folder`;
    - the path of a ``.jsonl``, ``.csv`` or ``.tsv`` file, see `jepakit.retrieval.datasets.beir.read_documents`.

    A string that is a name is not taken for a path: write ``./scifact`` for a folder of that name.

    Args:
        corpus: name or path.
        pairs: which document answers which query, see `jepakit.retrieval.datasets.pairs.read_pairs`. They replace those
            of the corpus. Without a column ``split`` they are the one split ``all``.
        queries: the queries that ``pairs`` refers to, see `jepakit.retrieval.datasets.beir.read_queries`; None: the
            texts in ``pairs``, or the corpus's own queries where ``pairs`` holds ids.
        data_dir: where names are looked up; by default the folder that the environment variable JEPAKIT_DATA names.

    Raises:
        ConfigError: ``corpus`` is neither a known name nor a path, ``data_dir`` is no folder, or there are ``queries``
            without ``pairs``.
        DataError: the data cannot be read; the message names file, line, field and value.
        MissingExtraError: an HTML file, and no beautifulsoup4.
    """
    if queries is not None and pairs is None:
        raise ConfigError("queries", str(queries), "a file, and pairs beside it, which say what answers them")
    dataset = _load(corpus, data_dir)
    if pairs is None:
        return dataset
    pairs = Path(pairs)
    given = None if queries is None else read_queries(Path(queries))
    if given is None and len(dataset.queries) and names_queries_by_id(pairs):
        given = dataset.queries
    paired, splits = read_pairs(pairs, dataset.documents, given)
    origin = f"{dataset.origin}; pairs of {pairs.name}"
    return replace(dataset, queries=paired, splits=splits, origin=origin, labelled=True)


def _load(corpus: str | Path, data_dir: str | Path | None) -> RetrievalDataset:
    path = Path(corpus)
    if isinstance(corpus, str) and path.name == corpus:
        if corpus == "python":
            return load_python_docs()
        folder = data_folder(data_dir)
        root = None if folder is None else folder / "retrieval"
        if root is not None and (root / corpus / "corpus.jsonl").exists():
            return load_beir(root / corpus)
        if not corpus or not path.exists():
            raise _unknown(corpus, root)
    if not path.exists():
        raise DataError("no such file or folder", file=path, expected="a path that exists, or the name of a data set")
    if (path / "corpus.jsonl").exists():
        return load_beir(path)
    if path.is_dir():
        return load_folder(path)
    if path.suffix.lower() not in TABLES:
        expected = f"a folder, or a file {', '.join(TABLES)}"
        raise DataError("not a corpus", file=path, value=path.suffix, expected=expected)
    documents = read_documents(path)
    return RetrievalDataset(path.stem, documents, Queries((), ()), {}, f"documents of {path.name}", False)


def _unknown(name: str, root: Path | None) -> ConfigError:
    local = [] if root is None else sorted(file.parent.name for file in root.glob("*/corpus.jsonl"))
    place = "set JEPAKIT_DATA to a folder of data for more names"
    if root is not None:
        place = f"or of data in {root} (there: {', '.join(local) or 'nothing'})"
    return ConfigError("corpus", name, f"a path that exists, python, {place}{did_you_mean(name, ('python', *local))}")
