"""``jepakit graph store``, and the embeddings of a graph larger than memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from jepakit.cli.runs import say
from jepakit.errors import ConfigError
from jepakit.graph.data import GraphDataset
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.large.embedding import embedded
from jepakit.graph.large.parquet import store_parquet
from jepakit.graph.large.store import open_store
from jepakit.graph.rows import write_nodes


@dataclass
class StoreOptions:
    """A large graph as files that are mapped into memory.

    Args:
        dataset: a folder with ``edges.parquet`` and ``nodes.parquet``, of a single graph; ids are whole numbers, and
            attributes are numbers or lists of numbers.
        out: folder of the store; give it to other commands as ``--dataset``.
    """

    dataset: Path | None = None
    out: Path = Path("store")


def run_store(options: StoreOptions, out: Console) -> None:
    """Makes a store of Parquet files."""
    if options.dataset is None:
        raise ConfigError("dataset", None, "a folder with edges.parquet and nodes.parquet")
    graphs = open_store(store_parquet(options.dataset, options.out)).graphs
    columns = graphs.x.shape[1]
    say(out, f"{graphs.num_nodes} nodes with {columns} features, {graphs.num_edges} edges in {options.out}")


def embed_large(encoder: GraphEncoder, dataset: GraphDataset, file: Path, level: str, out: Console) -> None:
    """Writes the embeddings of the nodes of a large graph."""
    if level != "node":
        raise ConfigError("level", level, "node for a graph of so many nodes")
    with embedded(encoder, dataset.graphs, scratch=file.parent) as node:
        write_nodes(file, dataset, node)
    say(out, f"{len(node)} embeddings of {node.shape[1]} dimensions in {file}")
