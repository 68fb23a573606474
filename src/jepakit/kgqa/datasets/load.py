"""From whatever the user names to a `KnowledgeGraph`."""

from __future__ import annotations

from pathlib import Path

from jepakit.errors import ConfigError, DataError
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets.named import FILES, named_file, unknown_name
from jepakit.kgqa.datasets.triples import load_triples
from jepakit.kgqa.storage import MANIFEST, open_graph

_TABLES = (".tsv", ".csv", ".txt", ".parquet")


def load_graph(
    source: str | Path, *, data_dir: str | Path | None = None, texts: str | Path | None = None
) -> KnowledgeGraph:
    """Loads a knowledge graph.

    ``source`` is a name or a place:

    - ``python``: the standard library of the running interpreter, see
      `jepakit.kgqa.datasets.python_library.load_python_graph`; needs no files;
    - ``metaqa``, ``pathquestion-2h``, ``pathquestion-3h``, ``primekg``: looked up in ``data_dir``;
    - a folder that `jepakit.kgqa.storage.write_graph` has written: opened without reading it;
    - ``.tsv``, ``.csv``, ``.txt`` (also packed, ``.gz``) or ``.parquet``: see
      `jepakit.kgqa.datasets.triples.load_triples`.

    A string that is a name is not taken for a path: write ``./metaqa`` for a file of that name.

    Args:
        source: name or place.
        data_dir: where to look for names; by default the folder that the environment variable JEPAKIT_DATA names.
        texts: for a table of triples, the table with the texts of its entities.

    Raises:
        ConfigError: ``source`` is neither a known name nor a place, or texts are given for data that have their own.
        DataError: the data cannot be read.
        ModelError: a graph folder is damaged.
    """
    if isinstance(source, str) and source in FILES:
        file = named_file(source, FILES[source], data_dir)
        return load_triples(file, texts=_path(texts), name=source)
    if source == "python":
        from jepakit.kgqa.datasets.python_library import load_python_graph

        if texts is not None:
            raise ConfigError("texts", str(texts), "nothing, since python has texts of its own")
        return load_python_graph()
    path = Path(source)
    if not path.exists():
        if isinstance(source, Path) or path.name != source:
            raise DataError("no such file or folder", file=path, expected="a graph, or the name of one")
        raise unknown_name("graph", source, "a path that exists")
    return _load_place(path, _path(texts))


def _load_place(path: Path, texts: Path | None) -> KnowledgeGraph:
    kind = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    if path.is_file() and kind.lower() in _TABLES:
        return load_triples(path, texts=texts)
    if texts is not None:
        raise ConfigError("texts", texts, f"nothing, since {path} is not a table of triples")
    if (path / MANIFEST).exists():
        return open_graph(path)
    expected = f"a graph folder (with {MANIFEST}), or a file {', '.join(_TABLES)}"
    raise DataError("no knowledge graph that can be read", file=path, expected=expected)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
