"""One graph on disk: mapped files of edges, features and classes, made in passes of bounded memory.

A store is a folder:

- ``features.npy``: ``[N, F]`` float32;
- ``edges.npy``: ``[2, E]`` int64, sources and targets of directed edges, sorted by target, then source;
- ``degree.npy``: ``[N]`` int64, the edges that end in each node: with ``edges.npy`` these are compressed rows;
- ``node_y.npy``: ``[N]`` int64, classes, -1 where there is none; only of labelled graphs;
- ``store.json``: sizes, names of the classes, and a digest of each file.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.errors import DataError
from jepakit.files import digest_of, read_json, whole_folder, write_json
from jepakit.files.arrays import map_array
from jepakit.graph.data import GraphDataset, Graphs

MANIFEST = "store.json"
_KIND, _VERSION = "graph store", 1
_FEATURES, _EDGES, _DEGREE, _CLASSES = "features.npy", "edges.npy", "degree.npy", "node_y.npy"
_EDGES_IN_MEMORY = 8_000_000
"""Edges that are sorted at once: about 0.5 GB."""
_ENTRIES_AT_ONCE = 1 << 22

Array = NDArray[Any]


def write_store(
    folder: str | Path,
    features: Iterable[Array],
    edges: Iterable[Array],
    *,
    node_y: Array | None = None,
    label_names: Sequence[str] = (),
    replace: bool = False,
) -> Path:
    """Writes a store, whole or not at all, from parts of any size.

    Beside the parts, there are 16 bytes for each node in memory and what sorting 8 million edges needs; on disk, for a
    while, three times the size of the edges.

    Args:
        folder: where to write.
        features: rows of the nodes in their order, ``[n, F]``, finite.
        edges: undirected pairs of node numbers from 0, ``[2, e]`` integers; each makes an edge in both directions. Self
            loops and repeats are left out, as everywhere.
        node_y: classes, ``[N]`` integers, -1 where there is none.
        label_names: of the classes.
        replace: take the place of a store that is there.

    Returns:
        ``folder``.

    Raises:
        DataError: parts have different widths, a feature is not finite, an edge names a missing node, or there is not
            a class for each node.
        ModelError: ``folder`` holds something, or cannot be written.
    """
    with whole_folder(Path(folder), replace=replace) as unfinished:
        nodes, width = _write_features(unfinished / _FEATURES, features)
        with tempfile.TemporaryDirectory(dir=unfinished.parent) as scratch:
            total = _write_edges(unfinished, _Buckets(Path(scratch), nodes), edges)
        files = [_FEATURES, _EDGES, _DEGREE]
        if node_y is not None:
            classes = np.asarray(node_y).astype(np.int64)
            if classes.shape != (nodes,):
                raise DataError("not a class for each node", field="node_y", value=classes.shape, expected=f"[{nodes}]")
            np.save(unfinished / _CLASSES, classes, allow_pickle=False)
            files.append(_CLASSES)
        about = {"kind": _KIND, "format_version": _VERSION, "nodes": nodes, "edges": total, "features": width}
        digests = {name: digest_of(unfinished / name) for name in files}
        write_json(unfinished / MANIFEST, {**about, "label_names": list(label_names), "digests": digests})
    return Path(folder)


def open_store(folder: str | Path) -> GraphDataset:
    """Opens a store without reading it: the tensors are mapped files, of which what is used is read.

    ``jepakit verify FOLDER`` compares the files with their digests.

    Raises:
        DataError: a file is missing, or of another kind or size than was written.
    """
    place = Path(folder)
    manifest = place / MANIFEST
    about = read_json(manifest)
    if about.get("kind") != _KIND or about.get("format_version") != _VERSION:
        found = f"{about.get('kind')!r}, version {about.get('format_version')!r}"
        raise DataError("not a graph store of this version", file=manifest, value=found, expected=f"version {_VERSION}")
    nodes, edges, width = (_count(manifest, about, name) for name in ("nodes", "edges", "features"))
    names = about.get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError("not names of classes", file=manifest, field="label_names", value=names)
    digests = about.get("digests")
    labelled = isinstance(digests, dict) and _CLASSES in digests
    graphs = Graphs(
        x=_mapped(place / _FEATURES, np.float32, (nodes, width)),
        edge_index=_mapped(place / _EDGES, np.int64, (2, edges)),
        node_ptr=torch.tensor([0, nodes]),
        edge_ptr=torch.tensor([0, edges]),
        node_y=_mapped(place / _CLASSES, np.int64, (nodes,)) if labelled else None,
        degree=_mapped(place / _DEGREE, np.int64, (nodes,)),
    )
    task = "node classification" if labelled else "none"
    return GraphDataset(place.resolve().name, graphs, task, tuple(names), source="a graph store")


def _count(manifest: Path, about: dict[str, Any], name: str) -> int:
    value = about.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise DataError("not a number of rows", file=manifest, field=name, value=value, expected="a whole number")
    return value


def _mapped(file: Path, dtype: Any, shape: tuple[int, ...]) -> Tensor:
    array = map_array(file, dtype, len(shape), error=DataError)
    if array.shape != shape:
        raise DataError(f"not the shape that {MANIFEST} states", file=file, value=array.shape, expected=str(shape))
    with warnings.catch_warnings():
        # torch warns of what cannot be written to; nothing writes to the tensors of a graph.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _write_features(file: Path, parts: Iterable[Array]) -> tuple[int, int]:
    """Writes rows; gives their number and width."""
    nodes, width = 0, None
    with file.open("wb") as stream:
        stream.write(_header((0, 0), np.float32))
        for part in parts:
            rows = np.ascontiguousarray(part, dtype=np.float32)
            width = rows.shape[-1] if width is None else width
            if rows.ndim != 2 or rows.shape[1] != width:
                raise DataError("not rows of one width", field="features", value=rows.shape, expected=f"[n, {width}]")
            if not (finite := np.isfinite(rows)).all():
                row, column = (int(place[0]) for place in np.nonzero(~finite))
                place = f"features[{nodes + row}, {column}]"
                raise DataError("a feature is not a finite number", field=place, value=float(rows[row, column]))
            stream.write(rows.data)
            nodes += len(rows)
        if width is None or not nodes:
            raise DataError("there are no nodes", field="features", expected="a row for each node")
        stream.seek(0)
        stream.write(_header((nodes, width), np.float32))
    return nodes, width


def _header(shape: tuple[int, ...], dtype: Any) -> bytes:
    """The header of a file of numpy; it has the same length for every shape of this many dimensions."""
    import io

    stream = io.BytesIO()
    about = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, about)
    return stream.getvalue()


class _Buckets:
    """Edges on disk, by ranges of their targets, each of which is sorted in memory."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder, self.nodes = folder, nodes

    def fill(self, parts: Iterable[Array]) -> Iterator[Array]:
        """Takes undirected edges; gives for each range of targets ``target * N + source``, ascending, each once.

        Raises:
            DataError: an edge names a missing node.
        """
        every, count = self.folder / "all", 0
        per_node = np.zeros(self.nodes, np.int64)
        with every.open("wb") as stream:
            for part in parts:
                source, target = self._checked(part, count)
                count += np.asarray(part).shape[1]
                for ends in (source, target):
                    per_node += np.bincount(ends, minlength=self.nodes)
                stream.write((target * self.nodes + source).data)
                stream.write((source * self.nodes + target).data)
        # Ranges of targets with at most so many edges, or of one node.
        before = np.cumsum(per_node)
        first_of = np.searchsorted(before, np.arange(0, before[-1] + 1, _EDGES_IN_MEMORY), side="left")
        bounds = np.unique(np.concatenate([[0], first_of + 1, [self.nodes]]).clip(max=self.nodes))
        self._distribute(every, bounds)
        for number in range(len(bounds) - 1):
            file = self.folder / str(number)
            if file.exists():
                yield np.unique(np.fromfile(file, np.int64))
                file.unlink()

    def _distribute(self, every: Path, bounds: Array) -> None:
        with every.open("rb") as stream:
            while len(keys := np.fromfile(stream, np.int64, _ENTRIES_AT_ONCE)):
                bucket = np.searchsorted(bounds, keys // self.nodes, side="right") - 1
                order = np.argsort(bucket, kind="stable")
                for number, run in zip(*_runs(bucket[order], keys[order]), strict=True):
                    with (self.folder / str(number)).open("ab") as out:
                        out.write(np.ascontiguousarray(run).data)
        every.unlink()

    def _checked(self, part: Array, before: int) -> tuple[Array, Array]:
        edges = np.asarray(part)
        if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype.kind not in "iu":
            expected = "[2, e] whole numbers"
            raise DataError("not edges", field="edges", value=f"{edges.dtype} {edges.shape}", expected=expected)
        edges = edges.astype(np.int64)
        outside = ((edges < 0) | (edges >= self.nodes)).any(axis=0)
        if outside.any():
            at = int(outside.argmax())
            field, expected = f"edges[:, {before + at}]", f"node numbers from 0 to {self.nodes - 1}"
            problem = "an edge names a node that does not exist"
            raise DataError(problem, field=field, value=edges[:, at].tolist(), expected=expected)
        source, target = edges[:, edges[0] != edges[1]]
        return source, target


def _runs(ascending: Array, values: Array) -> tuple[list[int], list[Array]]:
    """The values of each number."""
    if not len(ascending):
        return [], []
    first = np.flatnonzero(np.diff(ascending, prepend=ascending[0] - 1))
    return ascending[first].tolist(), np.split(values, first[1:])


def _write_edges(folder: Path, buckets: _Buckets, parts: Iterable[Array]) -> int:
    """Writes edges and degrees; gives the number of edges."""
    degree, total = np.zeros(buckets.nodes, np.int64), 0
    sources, targets = buckets.folder / "sources", buckets.folder / "targets"
    with sources.open("wb") as source_stream, targets.open("wb") as target_stream:
        for keys in buckets.fill(parts):
            target, source = np.divmod(keys, buckets.nodes)
            degree += np.bincount(target, minlength=buckets.nodes)
            source_stream.write(source.data)
            target_stream.write(target.data)
            total += len(keys)
    with (folder / _EDGES).open("wb") as stream:
        stream.write(_header((2, total), np.int64))
        for file in (sources, targets):
            with file.open("rb") as rows:
                while block := rows.read(8 * _ENTRIES_AT_ONCE):
                    stream.write(block)
            file.unlink()
    np.save(folder / _DEGREE, degree, allow_pickle=False)
    return total
