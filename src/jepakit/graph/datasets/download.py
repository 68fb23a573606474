"""Public graph sets by name: fetched once, into the user's cache folder."""

import logging
import shutil
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from jepakit.cache import cache_folder
from jepakit.errors import DataError

__all__ = ["PLANETOID_NAMES", "TU_NAMES", "download_planetoid", "download_tu", "fetch_archive", "fetch_files"]

_LOG = logging.getLogger(__name__)
_SECONDS = 60

PLANETOID_NAMES = ("Cora", "CiteSeer", "PubMed")

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
"""Sets of the TU collection that are fetched when they are named; any other one can be given as a folder."""


def download_tu(name: str) -> Path:
    """The folder of a TU set in the cache, fetched if it is not there.

    Raises:
        DataError: it cannot be fetched.
    """
    # Imported here because it takes seconds and most sets are at hand.
    from torch_geometric.datasets import TUDataset

    return fetch_archive(f"{TUDataset.url}/{name}.zip", cache_folder() / "tu" / name / "raw")


def download_planetoid(name: str) -> Path:
    """As `download_tu`, for Cora, CiteSeer and PubMed."""
    from torch_geometric.datasets import Planetoid

    parts = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
    files = [f"ind.{name.lower()}.{part}" for part in parts]
    return fetch_files(Planetoid.url, files, cache_folder() / "planetoid" / name / "raw")


def fetch_archive(url: str, folder: Path) -> Path:
    """Fetches a zip archive and puts the files in it, without their folders, into ``folder``."""

    def fill(unfinished: Path) -> None:
        with tempfile.TemporaryFile() as archive:
            _copy(url, archive.write)
            with zipfile.ZipFile(archive) as opened:
                for member in opened.infolist():
                    if not member.is_dir():
                        with (
                            opened.open(member) as content,
                            (unfinished / Path(member.filename).name).open("wb") as file,
                        ):
                            shutil.copyfileobj(content, file)

    return _filled(folder, url, fill)


def fetch_files(url: str, names: list[str], folder: Path) -> Path:
    """Fetches ``url/NAME`` for each name into ``folder``."""

    def fill(unfinished: Path) -> None:
        for name in names:
            with (unfinished / name).open("wb") as file:
                _copy(f"{url}/{name}", file.write)

    return _filled(folder, url, fill)


def _copy(url: str, write: Callable[[bytes], int]) -> None:
    _LOG.info("fetching %s", url)
    with urllib.request.urlopen(url, timeout=_SECONDS) as response:
        while block := response.read(1 << 20):
            write(block)


def _filled(folder: Path, url: str, fill: Callable[[Path], None]) -> Path:
    """Fills a folder beside the final one and moves it there, so that what exists is complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            unfinished = Path(scratch) / folder.name
            unfinished.mkdir()
            fill(unfinished)
            if not folder.exists():
                unfinished.rename(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{url} could not be fetched: {error}",
            file=folder,
            expected="a network connection, or the files in this folder or one that JEPAKIT_DATA names",
        ) from None
    return folder
