"""The encoder that a command of ``jepakit graph`` is given: of a run, in a folder, shipped, or on a hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from jepakit.errors import ConfigError, ModelError, did_you_mean
from jepakit.graph.encoder import GraphEncoder
from jepakit.graph.shipped import shipped_encoder, shipped_encoders
from jepakit.loading import kind_of
from jepakit.training import RunFolder, load_encoder_as

ModelT = TypeVar("ModelT", bound=nn.Module)
_PREDICTOR = "predictor"


@dataclass(frozen=True)
class Source:
    """Where an encoder comes from.

    Args:
        given: as the user named it.
        run: the run that it is of, if it is of one.
        shipped: whether it comes with the package.
    """

    given: str
    run: RunFolder | None = None
    shipped: bool = False

    @property
    def place(self) -> str:
        """The encoder, for a sentence."""
        if self.run is not None:
            return str(self.run.encoder)
        return f"the shipped encoder {self.given}" if self.shipped else self.given

    def encoder(self) -> GraphEncoder:
        """The encoder, in eval mode.

        Raises:
            ModelError: it is damaged, or of another kind, or the hub does not give it.
        """
        if self.shipped:
            return shipped_encoder(self.given)
        return load_encoder_as(GraphEncoder, self.given if self.run is None else self.run.encoder)

    def random_encoder(self) -> GraphEncoder | None:
        """The encoder before training; only runs keep it."""
        return None if self.run is None else load_encoder_as(GraphEncoder, self.run.random_encoder)

    def predictor(self, kind: type[ModelT], folder: Path | None) -> ModelT:
        """The fine-tuned encoder: that in ``folder``, or of the run, or else what the user named itself.

        Raises:
            ModelError: there is none.
        """
        if folder is None and self.shipped:
            raise ModelError(f"{self.place} is not fine-tuned; jepakit graph finetune {self.given} does that")
        folder = folder or (None if self.run is None else self.run.path / _PREDICTOR)
        if folder is None:
            return load_encoder_as(kind, self.given)
        if not folder.is_dir():
            way_out = f"jepakit graph finetune {self.given} makes one"
            raise ModelError(f"{folder}: there is no fine-tuned encoder here; {way_out}")
        return load_encoder_as(kind, folder)

    def predictor_folder(self, dataset: str) -> Path:
        """Where a fine-tuned encoder is saved: in the run, or else in a folder named after the data."""
        if self.run is not None:
            return self.run.path / _PREDICTOR
        return Path("runs") / f"{_PREDICTOR}-{Path(dataset).stem}"

    @property
    def training_seconds(self) -> float | None:
        """How long pre-training took; None where it is not known."""
        return None if self.run is None else self.run.training_seconds


def source_of(given: str | Path | None) -> Source:
    """Finds what a command is given as its encoder.

    `jepakit.loading.kind_of` says in which order; `jepakit.training.load_encoder` looks up the id on a hub,
    ``USER/NAME`` or ``USER/NAME@REVISION``.

    Raises:
        ConfigError: it is none of these.
        ModelError: it is a folder, but of no finished run and of no encoder.
    """
    if given is None:
        raise ConfigError("run", None, _expected())
    name, kind, run = str(given), kind_of(given), RunFolder(Path(given).expanduser())
    if kind == "run" or (kind is None and run.path.is_dir()):
        run.require_trained()
        return Source(name, run)
    if kind is None:
        raise ConfigError("run", name, _expected() + did_you_mean(name, shipped_encoders()))
    return Source(name, shipped=kind == "shipped")


def _expected() -> str:
    shipped = ", ".join(shipped_encoders())
    return f"the folder of a finished run or of an encoder, a shipped encoder ({shipped}), or a hub id USER/NAME"
