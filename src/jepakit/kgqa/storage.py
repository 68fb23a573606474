"""A knowledge graph on disk: a folder whose files are mapped into memory, so that opening it reads almost nothing.

====================  ==============================================================================
``graph.json``        name, counts, relations, fingerprint, and size and SHA-256 of the other files
``entities.arrow``    the table of entities as an Arrow IPC file, not compressed
``ptr.npy``           ``[N + 1]`` int64, see `jepakit.kgqa.data.KnowledgeGraph`
``step.npy``          ``[2T]`` int32
``neighbour.npy``     ``[2T]`` int32
====================  ==============================================================================

The entities are Arrow IPC and not Parquet because Parquet packs its pages: one row of it costs the unpacking of many,
and nothing of it can be mapped. An IPC file has the layout of the table in memory, so a row is read from its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jepakit.errors import DataError, ModelError
from jepakit.files import digest_of, read_json, reading, whole_folder, write_json
from jepakit.files.arrays import map_array, write_array
from jepakit.kgqa.data import ENTITY_COLUMNS, KnowledgeGraph, Relation

MANIFEST = "graph.json"
"""The file that makes a folder a graph folder."""

_FORMAT = "jepakit knowledge graph"
_VERSION = 1
_ENTITIES = "entities.arrow"
_ARRAYS = {"ptr": np.dtype(np.int64), "step": np.dtype(np.int32), "neighbour": np.dtype(np.int32)}
_SCHEMA = pa.schema([(name, pa.large_utf8()) for name in ENTITY_COLUMNS])
_CHECKED_BYTES = 1 << 26
"""Up to this size all files are compared with their digests when a graph is opened: that takes less than .2 s."""
_WAY_OUT = "a folder that write_graph has written; build the graph again"


def write_graph(folder: Path, graph: KnowledgeGraph) -> None:
    """Writes a graph to a new folder, whole or not at all.

    Args:
        folder: where to; it must not exist, or be empty.
        graph: in memory or mapped.

    Raises:
        ModelError: the folder holds something, or cannot be written.
    """
    with whole_folder(folder) as unfinished:
        with (
            (unfinished / _ENTITIES).open("wb") as stream,
            pa.ipc.new_file(stream, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression=None)) as writer,
        ):
            # One record batch: to take rows out of several, Arrow copies all of them.
            writer.write_table(graph.entities.select(ENTITY_COLUMNS).cast(_SCHEMA).combine_chunks())
        for name in _ARRAYS:
            write_array(unfinished / f"{name}.npy", getattr(graph, name))
        files = sorted(unfinished.iterdir())
        manifest = {
            "format": _FORMAT,
            "version": _VERSION,
            "name": graph.name,
            "entities": graph.num_entities,
            "triples": graph.num_triples,
            "relations": [{"name": one.name, "inverse": one.inverse} for one in graph.relations],
            "fingerprint": graph.fingerprint,
            "sizes": {file.name: file.stat().st_size for file in files},
            "digests": {file.name: digest_of(file) for file in files},
        }
        write_json(unfinished / MANIFEST, manifest)


def open_graph(folder: Path) -> KnowledgeGraph:
    """The graph in a folder, mapped into memory.

    Sizes, types and counts are compared with the manifest, and the digests where all files together have at most
    64 MiB. Of a larger graph that would read what is only mapped; ``jepakit verify FOLDER`` does it. The fingerprint is
    the one that was stored.

    Raises:
        ModelError: a file is missing, cut off, damaged, or not of this graph; names the file.
    """
    manifest = read_json(folder / MANIFEST, ModelError, expected=_WAY_OUT)
    with reading(folder / MANIFEST, ModelError, expected=_WAY_OUT):
        if manifest.get("format") != _FORMAT or manifest.get("version") != _VERSION:
            value = f"{manifest.get('format')} {manifest.get('version')}"
            raise DataError("another format", value=value, expected=f"{_FORMAT} {_VERSION}")
        name, fingerprint = str(manifest["name"]), str(manifest["fingerprint"])
        size, triples = int(manifest["entities"]), int(manifest["triples"])
        relations = tuple(Relation(str(one["name"]), str(one["inverse"])) for one in manifest["relations"])
        digests = dict[str, str](manifest["digests"])
        sizes = {file: int(manifest["sizes"][file]) for file in (_ENTITIES, *(f"{one}.npy" for one in _ARRAYS))}
    for file, stated in sizes.items():
        with reading(folder / file, ModelError, expected=_WAY_OUT):
            if (found := (folder / file).stat().st_size) != stated:
                raise DataError("not as large as when it was written", value=found, expected=f"{stated} bytes")
            if sum(sizes.values()) <= _CHECKED_BYTES and digest_of(folder / file) != digests[file]:
                raise DataError("not the bytes that were written")
    entities = _entities(folder / _ENTITIES, size)
    arrays = {one: map_array(folder / f"{one}.npy", dtype) for one, dtype in _ARRAYS.items()}
    _require_counts(folder, arrays, {"ptr": size + 1, "step": 2 * triples, "neighbour": 2 * triples})
    return KnowledgeGraph(name, entities, relations, **arrays, stored_fingerprint=fingerprint)


def _entities(file: Path, size: int) -> pa.Table:
    with reading(file, ModelError, expected=_WAY_OUT):
        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        if table.schema != _SCHEMA:
            raise DataError("another table", field="columns", value=table.column_names, expected=str(ENTITY_COLUMNS))
        if len(table) != size:
            raise DataError("another number of entities", value=len(table), expected=str(size))
        # The ends of the buffers, not the bytes between: without it a damaged file could be read beyond its end.
        table.validate()
        return table


def _require_counts(folder: Path, arrays: Mapping[str, NDArray[Any]], lengths: Mapping[str, int]) -> None:
    for name, length in lengths.items():
        with reading(folder / f"{name}.npy", ModelError, expected=_WAY_OUT):
            if len(arrays[name]) != length:
                raise DataError("another number of entries", value=len(arrays[name]), expected=str(length))
    with reading(folder / "ptr.npy", ModelError, expected=_WAY_OUT):
        ends = [int(arrays["ptr"][0]), int(arrays["ptr"][-1])]
        if ends != [0, lengths["step"]]:
            raise DataError("not the rows of this graph", value=ends, expected=str([0, lengths["step"]]))
