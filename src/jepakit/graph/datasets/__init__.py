"""From whatever the user names to a `GraphDataset`: public sets by name, the user's own files by path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jepakit.datasets.folders import cache_folder, data_folder
from jepakit.errors import ConfigError, DataError, MissingExtraError, did_you_mean
from jepakit.graph.data import GraphDataset
from jepakit.graph.datasets.download import PLANETOID_NAMES, TU_NAMES, download_planetoid, download_tu
from jepakit.graph.vocabulary import Vocabulary

__all__ = ["load_dataset"]

_Kind = Literal["python", "python-library", "planetoid", "tu", "molecules", "store", "files"]


def load_dataset(
    dataset: str | Path,
    *,
    data_dir: str | Path | None = None,
    smiles_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    descriptors: bool = False,
    fill_missing: bool = False,
    vocabulary: Vocabulary | None = None,
) -> GraphDataset:
    """Loads a set of graphs.

    ``dataset`` is

    - ``python``: syntax trees of the standard library's functions; needs no files;
    - ``python-library``: one graph of all that the standard library defines, for node classification, see
      `jepakit.graph.datasets.python_library.load_python_library`; needs no files;
    - ``Cora``, ``CiteSeer``, ``PubMed``: see `jepakit.graph.datasets.planetoid.load_planetoid`;
    - the name of a TU set such as ``MUTAG``: see `jepakit.graph.datasets.tu.load_tu`;
    - the name of a SMILES table in ``data_dir/moleculenet``;
    - a path: a store of one large graph (`jepakit.graph.large.store`), whose tensors are mapped files; a folder in TU
      or Planetoid format, a ``.csv`` or ``.csv.gz`` with SMILES (see
      `jepakit.graph.datasets.molecules.load.load_molecules`), or what
      `jepakit.graph.datasets.files.load_graph_files` reads.

    A name is looked up in ``data_dir`` (``tu/NAME/raw``, ``planetoid/NAME/raw``, ``moleculenet/NAME.csv[.gz]``), then
    in the user's cache folder, ``$XDG_CACHE_HOME/jepakit`` or ``~/.cache/jepakit``; a TU or Planetoid set that is in
    neither is fetched into the cache. Nothing is written to ``data_dir``. A string that is a name is not taken for a
    path: write ``./MUTAG`` for a folder of that name.

    Args:
        dataset: name or path.
        data_dir: where to look for names first; by default the folder that the environment variable JEPAKIT_DATA names.
        smiles_column: for a SMILES table, the column with the molecules; None: the column named "smiles".
        label_columns: for a SMILES table, the columns with the targets.
        descriptors: for a SMILES table, compute RDKit's descriptors too; other data have none.
        fill_missing: for node-link JSON, GraphML and Parquet, accept missing attributes, see
            `jepakit.graph.datasets.files.load_graph_files`.
        vocabulary: that of the encoder which is to read the graphs: what it names is a feature, and a category that is
            not in it is refused with its place.

    Raises:
        ConfigError: ``dataset`` is neither a known name nor a path, ``data_dir`` is no folder, or a column or
            ``fill_missing`` is given for data that do not have it.
        DataError: the data cannot be read or fetched.
        ModelError: fetched data cannot be written to the cache.
        MissingExtraError: a package that the format needs is not installed.
    """
    kind, path = _locate(dataset, [root for root in (data_folder(data_dir), cache_folder()) if root is not None])
    if kind != "molecules":
        for field, columns in (("smiles_column", smiles_column), ("label_columns", label_columns)):
            if columns:
                raise ConfigError(field, columns, f"nothing, since {dataset} is not a SMILES table")
    if fill_missing and kind != "files":
        expected = f"false, since {dataset} is not node-link JSON, GraphML or Parquet"
        raise ConfigError("fill_missing", fill_missing, expected)
    try:
        if kind == "files":
            from jepakit.graph.datasets.files import load_graph_files

            return load_graph_files(path, fill_missing=fill_missing, vocabulary=vocabulary)
        if kind == "tu":
            from jepakit.graph.datasets.tu import load_tu

            return load_tu(path, vocabulary=vocabulary)
        return _load(kind, path, smiles_column, label_columns, descriptors)
    except ModuleNotFoundError as error:
        package = error.name or str(error)
        if package.startswith("jepakit"):
            raise
        raise MissingExtraError(package, "chem" if kind == "molecules" else "graph") from error


def _load(
    kind: Literal["python", "python-library", "planetoid", "store", "molecules"],
    path: Path,
    smiles_column: str | None,
    label_columns: Sequence[str] | None,
    descriptors: bool,
) -> GraphDataset:
    # Imported one by one: each format needs packages of its own, which need not all be installed.
    match kind:
        case "python":
            from jepakit.graph.datasets.python_ast import load_python

            return load_python()
        case "python-library":
            from jepakit.graph.datasets.python_library import load_python_library

            return load_python_library()
        case "molecules":
            from jepakit.graph.datasets.molecules.load import load_molecules

            return load_molecules(
                path, smiles_column=smiles_column, label_columns=label_columns, descriptors=descriptors
            ).dataset
        case "store":
            from jepakit.graph.large.store import open_store

            return open_store(path)
        case "planetoid":
            from jepakit.graph.datasets.planetoid import load_planetoid

            return load_planetoid(path)


_PLACES: tuple[tuple[_Kind, str], ...] = (
    ("tu", "tu/{}/raw"),
    ("planetoid", "planetoid/{}/raw"),
    ("molecules", "moleculenet/{}.csv"),
    ("molecules", "moleculenet/{}.csv.gz"),
)
"""Where data of a name are in a folder of data."""
_ENTRIES = ("tu/*", "planetoid/*", "moleculenet/*.csv*")


def _locate(dataset: str | Path, roots: Sequence[Path]) -> tuple[_Kind, Path]:
    """What kind of data ``dataset`` is, and where."""
    path = Path(dataset)
    if isinstance(dataset, Path) or path.name != dataset:
        return _kind_of(path), path
    if dataset == "python":
        return "python", Path()
    if dataset == "python-library":
        return "python-library", Path()
    for root in roots:
        for kind, place in _PLACES:
            if (root / place.format(dataset)).exists():
                return kind, root / place.format(dataset)
    if dataset in PLANETOID_NAMES:
        return "planetoid", download_planetoid(dataset)
    if dataset in TU_NAMES:
        return "tu", download_tu(dataset)
    if dataset and path.exists():
        return _kind_of(path), path
    raise _unknown(dataset, roots)


def _kind_of(path: Path) -> _Kind:
    if not path.exists():
        raise DataError("no such file or folder", file=path, expected="a path that exists, or the name of a dataset")
    if path.is_file() and path.name.endswith((".csv", ".csv.gz")):
        return "molecules"
    if path.is_file() and path.suffix in (".json", ".graphml"):
        return "files"
    for kind, patterns in _FOLDERS.items():
        if any(any(path.glob(pattern)) for pattern in patterns):
            return kind
    raise DataError(
        "no graphs that can be read",
        file=path,
        expected="a .csv or .csv.gz with SMILES, a .json, a .graphml, or a folder with NAME_A.txt, edges.parquet, "
        ".json or .graphml files",
    )


_FOLDERS: dict[_Kind, tuple[str, ...]] = {
    "store": ("store.json",),
    "tu": ("*_A.txt", "raw/*_A.txt"),
    "planetoid": ("ind.*.graph", "raw/ind.*.graph"),
    "files": ("edges.parquet", "*.json", "*.graphml"),
}


def _unknown(name: str, roots: Sequence[Path]) -> ConfigError:
    entries = [entry.name for root in roots for pattern in _ENTRIES for entry in root.glob(pattern)]
    local = sorted({entry.removesuffix(".gz").removesuffix(".csv") for entry in entries})
    hint = did_you_mean(name, ("python", *PLANETOID_NAMES, *TU_NAMES, *local))
    places = ", ".join(map(str, roots))
    expected = f"a path that exists, python, {', '.join(PLANETOID_NAMES)}, the name of a TU set, or of data in {places}"
    return ConfigError("dataset", name, f"{expected} ({', '.join(local) or 'no data'}){hint}")
