"""Encoders that come with the package, so that they need not be trained."""

from __future__ import annotations

from pathlib import Path

from jepakit.errors import ConfigError
from jepakit.graph.encoder import GraphEncoder
from jepakit.training import load_encoder_as

_FOLDER = Path(__file__).parent / "encoders"


def shipped_encoders() -> tuple[str, ...]:
    """The names that `shipped_encoder` knows."""
    return tuple(sorted(folder.name for folder in _FOLDER.iterdir() if folder.is_dir()))


def shipped_encoder(name: str = "molecules") -> GraphEncoder:
    """A pre-trained encoder, in eval mode.

    ``molecules`` saw the 41,906 molecules of MoleculeNet's HIV.csv, without their labels, with the preset of that name.
    It is for graphs of `jepakit.graph.datasets.molecules.load` and `Graphs.from_smiles`, whose embeddings have 640
    dimensions. ``encoders/molecules/README.md`` beside this module is its card.

    Raises:
        ConfigError: there is no encoder of this name.
        ModelError: the files of the package are damaged.
    """
    if name not in shipped_encoders():
        raise ConfigError("name", name, f"one of {', '.join(shipped_encoders())}")
    return load_encoder_as(GraphEncoder, _FOLDER / name)
