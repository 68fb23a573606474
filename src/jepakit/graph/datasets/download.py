"""Public graph sets by name: their folders, and how they are fetched once, into the user's cache folder."""

from pathlib import Path

from jepakit.datasets.download import fetch_archive, fetch_files
from jepakit.datasets.folders import cache_folder
from jepakit.errors import DataError

PLANETOID_NAMES = ("Cora", "CiteSeer", "PubMed")
_PLANETOID_URL = "https://github.com/kimiyoung/planetoid/raw/af6abf468a772cc055bec88c52e4d6f51b7c37e3/data"

_TU = """
AIDS alchemy_full BZR BZR_MD COIL-DEL COIL-RAG COLLAB COLORS-3 COX2 COX2_MD Cuneiform DBLP_v1 DD deezer_ego_nets DHFR
DHFR_MD ENZYMES ER_MD Fingerprint FIRSTMM_DB FRANKENSTEIN github_stargazers IMDB-BINARY IMDB-MULTI KKI Letter-high
Letter-low Letter-med MCF-7 MCF-7H MOLT-4 MOLT-4H MSRC_21 MSRC_21C MSRC_9 Mutagenicity MUTAG NCI-H23 NCI-H23H NCI1
NCI109 OHSU OVCAR-8 OVCAR-8H P388 P388H PC-3 PC-3H Peking_1 PROTEINS PROTEINS_full PTC_FM PTC_FR PTC_MM PTC_MR QM9
REDDIT-BINARY REDDIT-MULTI-12K REDDIT-MULTI-5K reddit_threads SF-295 SF-295H SN12C SN12CH SW-620 SW-620H SYNTHETIC
SYNTHETICnew Synthie TRIANGLES TWITTER-Real-Graph-Partial twitch_egos UACC257 UACC257H Yeast YeastH ZINC_full ZINC_test
ZINC_train ZINC_val
"""
_TOX21_ASSAYS = "AhR AR AR-LBD ARE aromatase ATAD5 ER ER-LBD HSE MMP p53 PPAR-gamma"
_TOX21_PARTS = ("training", "testing", "evaluation")

TU_NAMES = (*_TU.split(), *(f"Tox21_{assay}_{part}" for assay in _TOX21_ASSAYS.split() for part in _TOX21_PARTS))
"""Sets of the TU collection that are fetched when they are named; any other set can be given as a folder."""


def named_set(path: Path, prefix: str, suffix: str) -> tuple[Path, str]:
    """The folder, ``path`` or ``path/raw``, that holds a file ``{prefix}NAME{suffix}``, and the name.

    Raises:
        DataError: there is no such file, or more than one.
    """
    for folder in (path, path / "raw"):
        names = sorted(file.name[len(prefix) : -len(suffix)] for file in folder.glob(f"{prefix}*{suffix}"))
        if len(names) > 1:
            raise DataError("more than one dataset in a folder", file=folder, value=names, expected="a folder for each")
        if names:
            return folder, names[0]
    expected = f"{prefix}NAME{suffix} in it or in its folder raw"
    raise DataError("no file that names the dataset", file=path, expected=expected)


def download_tu(name: str) -> Path:
    """The folder of a TU set in the cache, fetched if it is not there.

    Raises:
        DataError: it cannot be fetched.
        ModelError: the cache cannot be written.
    """
    # This import takes seconds.
    from torch_geometric.datasets import TUDataset

    return fetch_archive(f"{TUDataset.url}/{name}.zip", cache_folder() / "tu" / name / "raw")


def download_planetoid(name: str) -> Path:
    """As `download_tu`, for Cora, CiteSeer and PubMed."""
    parts = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
    files = [f"ind.{name.lower()}.{part}" for part in parts]
    return fetch_files(_PLANETOID_URL, files, cache_folder() / "planetoid" / name / "raw")
