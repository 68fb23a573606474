"""From whatever the user names to a `KnowledgeGraph`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jepakit.errors import ConfigError, DataError, MissingExtraError
from jepakit.files import reading
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets.named import FILES, STARK_NAMES, named_file, unknown_name
from jepakit.kgqa.storage import MANIFEST, open_graph

_Kind = Literal["python", "folder", "table", "rdf", "sparql", "node-link", "ladybug", "neo4j", "stark"]

_SUFFIXES: dict[_Kind, tuple[str, ...]] = {
    "table": (".tsv", ".csv", ".txt", ".parquet"),
    "rdf": (".nt", ".ttl", ".rdf", ".owl"),
    "node-link": (".graphml", ".json"),
    "ladybug": (".lbug",),
}
"""What is in a file -> its suffixes."""
_SCHEMES: dict[_Kind, tuple[str, ...]] = {
    "sparql": ("http", "https"),
    "neo4j": ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"),
}
"""What is behind an address -> its schemes."""


def load_graph(
    source: str | Path,
    *,
    data_dir: str | Path | None = None,
    texts: str | Path | None = None,
    literals: bool = False,
) -> KnowledgeGraph:
    """Loads a knowledge graph.

    ``source`` is a name or a place:

    - ``python``: the standard library of the running interpreter, see
      `jepakit.kgqa.datasets.python.graph.load_python_graph`; needs no files;
    - ``metaqa``, ``pathquestion-2h``, ``pathquestion-3h``, ``primekg``: looked up in ``data_dir``;
    - a folder that `jepakit.kgqa.storage.write_graph` has written: opened without reading it;
    - ``.tsv``, ``.csv``, ``.txt`` (also packed, ``.gz``) or ``.parquet``: triples, see
      `jepakit.kgqa.datasets.triples.load_triples`;
    - ``.nt``, ``.ttl``, ``.rdf``, ``.owl`` (also packed, ``.gz``): RDF, see `jepakit.kgqa.datasets.rdf.files.load_rdf`;
    - ``http://...``, ``https://...``: a SPARQL endpoint, see `jepakit.kgqa.datasets.rdf.sparql.load_sparql`;
    - ``.graphml``, ``.json``: nodes and edges with attributes, see
      `jepakit.kgqa.datasets.property_graphs.node_link.load_node_link`;
    - a database of ladybug, and ``neo4j://...``, ``bolt://...``: see `jepakit.kgqa.datasets.property_graphs.databases`;
    - ``prime``, ``mag``, ``amazon``: the knowledge bases of STaRK, in ``data_dir/kgqa/stark/skb/NAME`` or fetched into
      the user's cache folder; or a folder of one, see `jepakit.kgqa.datasets.stark.load_stark`.

    A string that is a name is not taken for a path: write ``./metaqa`` for a file of that name.

    Args:
        source: name or place.
        data_dir: where to look for names; by default the folder that the environment variable JEPAKIT_DATA names.
        texts: for triples, the table with the texts of the entities.
        literals: for RDF, whether values such as dates are entities too.

    Raises:
        ConfigError: ``source`` is neither a known name nor a place, or an option is given for data that do not have it.
        DataError: the data cannot be read.
        ModelError: a graph folder is damaged.
        MissingExtraError: a package that the data need is not installed.
    """
    kind, place, name = _locate(source, data_dir)
    if texts is not None and kind != "table":
        raise ConfigError("texts", texts, f"nothing, since {source} is not a table of triples")
    if literals and kind not in ("rdf", "sparql"):
        raise ConfigError("literals", literals, f"nothing, since {source} is not RDF")
    try:
        return _load(kind, place, name, None if texts is None else Path(texts), literals)
    except ModuleNotFoundError as error:
        package = error.name or str(error)
        if package.startswith("jepakit"):
            raise
        raise MissingExtraError(package, _EXTRAS.get(package, "kgqa")) from error


#: How a database of ladybug begins, whatever its file is called.
_LADYBUG = b"LBUG"
_EXTRAS = {"pyoxigraph": "rdf", "ladybug": "ladybug", "neo4j": "neo4j"}
"""Module -> the extra that brings it, where that is not kgqa."""


def _load(kind: _Kind, place: str, name: str | None, texts: Path | None, literals: bool) -> KnowledgeGraph:
    # Imported one by one: each kind needs packages of its own, which need not all be installed.
    path = Path(place)
    match kind:
        case "python":
            from jepakit.kgqa.datasets.python.graph import load_python_graph

            return load_python_graph()
        case "folder":
            return open_graph(path)
        case "table":
            from jepakit.kgqa.datasets.triples import load_triples

            return load_triples(path, texts=texts, name=name)
        case "rdf":
            from jepakit.kgqa.datasets.rdf.files import load_rdf

            return load_rdf(path, literals=literals)
        case "sparql":
            from jepakit.kgqa.datasets.rdf.sparql import load_sparql

            return load_sparql(place, literals=literals)
        case "node-link":
            from jepakit.kgqa.datasets.property_graphs.node_link import load_node_link

            return load_node_link(path)
        case "ladybug":
            from jepakit.kgqa.datasets.property_graphs.databases import load_ladybug

            return load_ladybug(path)
        case "neo4j":
            from jepakit.kgqa.datasets.property_graphs.databases import load_neo4j

            return load_neo4j(place)
        case "stark":
            from jepakit.kgqa.datasets.stark.load import load_stark

            return load_stark(path, name=name)


def _locate(source: str | Path, data_dir: str | Path | None) -> tuple[_Kind, str, str | None]:
    """What kind of data ``source`` is, where it is, and the name of the graph if that is not the place's."""
    if source == "python":
        return "python", "", None
    if isinstance(source, str) and source in FILES:
        return "table", str(named_file(source, FILES[source], data_dir)), source
    if isinstance(source, str) and source in STARK_NAMES:
        from jepakit.kgqa.datasets.stark.load import find_stark

        return "stark", str(find_stark(source, data_dir)), source
    if isinstance(source, str) and "://" in source:
        return _scheme_of(source), source, None
    path = Path(source)
    if path.exists():
        return _kind_of(path), str(path), None
    if isinstance(source, Path) or path.name != source:
        raise DataError("no such file or folder", file=path, expected="a graph, or the name of one")
    raise unknown_name("graph", source, "a path that exists")


def _scheme_of(url: str) -> _Kind:
    given = url.partition("://")[0].lower()
    for kind, schemes in _SCHEMES.items():
        if given in schemes:
            return kind
    known = ", ".join(scheme for schemes in _SCHEMES.values() for scheme in schemes)
    raise ConfigError("graph", url, f"an address that begins with one of {known}")


def _kind_of(path: Path) -> _Kind:
    if (path / MANIFEST).exists():
        return "folder"
    if path.is_dir() and any((path / place / "node_info.pkl").exists() for place in (".", "processed")):
        return "stark"
    suffix = (path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix).lower()
    for kind, suffixes in _SUFFIXES.items():
        if path.is_file() and suffix in suffixes:
            return kind
    if path.is_file() and _begins_with(path, _LADYBUG):
        return "ladybug"
    known = ", ".join(one for suffixes in _SUFFIXES.values() for one in suffixes)
    expected = f"a graph folder (with {MANIFEST}), a folder of STaRK, or a file {known}"
    raise DataError("no knowledge graph that can be read", file=path, expected=expected)


def _begins_with(file: Path, magic: bytes) -> bool:
    with reading(file), file.open("rb") as stream:
        return stream.read(len(magic)) == magic
