"""A run is a folder: its configuration, its numbers, its checkpoint, its encoder, its report."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.files import read_text, read_yaml, whole_file, write_text
from jepakit.files.locking import LOCK_NAME
from jepakit.files.reading import parse_yaml


def is_first_process(processes: int) -> bool:
    """Whether this process of so many writes the run folder: where it is the only one, else that of rank 0."""
    if processes == 1:
        return True
    from pytorch_lightning.utilities import rank_zero_only

    return not getattr(rank_zero_only, "rank", 0)


def require_launcher(num_nodes: int) -> None:
    """Checks that something else has started the processes of a training on several machines.

    Raises:
        ConfigError: neither torchrun nor SLURM has.
    """
    if num_nodes > 1 and not {"RANK", "SLURM_PROCID"} & os.environ.keys():
        raise ConfigError("num_nodes", num_nodes, "1; or start the command with torchrun or srun on each machine")


class RunFolder:
    """The paths of the parts of a run.

    Args:
        path: the folder; made when something is first written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = Path(path)
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.csv"
        self.checkpoint = path / "checkpoints" / "last.safetensors"
        self.diagnosis = path / "diagnosis.json"
        self.embeddings = path / "embeddings.safetensors"
        self.random_encoder = path / "random_encoder"
        self.encoder = path / "encoder"
        self.results = path / "results.json"
        self.report = path / "report.html"

    def start(
        self,
        config_yaml: str,
        *,
        resume: bool,
        overwrite: bool = False,
        defaults: str = "{}",
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        """Opens the folder for training.

        Args:
            config_yaml: the whole configuration.
            resume: continue the run in the folder.
            overwrite: replace the run in the folder; `withdraw` puts it back where no epoch of the new one is complete.
            defaults: the default configuration, for options that are younger than the run.
            renamed: earlier names of options -> their present names.

        Raises:
            ConfigError: see `require_startable`.
        """
        how: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "defaults": defaults, "renamed": renamed}
        self.require_startable(config_yaml, **how)
        if overwrite:
            self._set_aside()
        write_text(self.config, config_yaml)

    def require_startable(
        self,
        config_yaml: str,
        *,
        resume: bool,
        overwrite: bool = False,
        defaults: str = "{}",
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        """Checks that `start` would not refuse; nothing is written.

        Raises:
            ConfigError: the folder has a run, and it is neither resumed nor replaced, or has another configuration.
        """
        if self.path.is_file():
            raise ConfigError("run", self.path, "a folder, not a file")
        if resume and overwrite:
            raise ConfigError("overwrite", True, "false beside --resume")
        if self.config.exists() and not overwrite:
            if not resume:
                way_out = "a new folder, --resume to continue its run, or --overwrite to replace it"
                raise ConfigError("run", self.path, way_out)
            earlier = {(renamed or {}).get(name, name): value for name, value in flat_options(self.read_config())}
            before = dict(flat_options(parse_yaml(defaults))) | earlier
            now = dict(flat_options(parse_yaml(config_yaml)))
            if changed := [name for name in {**now, **before} if now.get(name) != before.get(name)]:
                others = f"; changed too: {', '.join(changed[1:])}" if len(changed) > 1 else ""
                expected = f"{before.get(changed[0])!r} to resume {self.path}{others}"
                raise ConfigError(changed[0], now.get(changed[0]), expected)

    def _set_aside(self) -> None:
        """Moves the run in the folder out of the way."""
        self._settle()
        if not self.config.exists():
            return
        self._aside.mkdir()
        for path in self._parts():
            shutil.move(path, self._aside / path.name)

    def _settle(self) -> bool:
        """Removes what was set aside where an epoch is complete, else puts it back; whether it was put back."""
        if not self._aside.is_dir():
            return False
        begun = self.has_begun
        if not begun:
            for path in self._parts():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            for path in list(self._aside.iterdir()):
                shutil.move(path, self.path / path.name)
        shutil.rmtree(self._aside)
        return not begun

    @property
    def _aside(self) -> Path:
        folder = self.path.resolve()
        return folder.with_name(f".{folder.name}.replaced")

    def _parts(self) -> list[Path]:
        return [path for path in self.path.iterdir() if path.name != LOCK_NAME]

    @property
    def has_begun(self) -> bool:
        """Whether an epoch of the run, or of one of its stages, is complete."""
        return self.metrics.exists() or any(self.path.glob(f"*/{self.metrics.name}"))

    def withdraw(self) -> None:
        """Undoes `start` where no epoch is complete, so that the corrected command can use the folder.

        Where one is complete, the run that it replaces is removed for good.
        """
        if not self._settle() and not self.has_begun and self.path.is_dir():
            self.config.unlink(missing_ok=True)
            if {path.name for path in self.path.iterdir()} <= {LOCK_NAME}:
                (self.path / LOCK_NAME).unlink(missing_ok=True)
                self.path.rmdir()

    def read_config(self) -> dict[str, Any]:
        """The options in config.yaml.

        Raises:
            DataError: the file is damaged.
        """
        config = read_yaml(self.config)
        if not isinstance(config, dict):
            raise DataError("no options", file=self.config, value=config, expected="a mapping of options to values")
        return cast(dict[str, Any], config)

    def require_trained(self) -> None:
        """Raises ModelError where the run has no finished encoder; the message names what is missing."""
        if not self.path.is_dir():
            raise ModelError(f"{self.path}: there is no run folder here")
        if not self.config.exists():
            raise ModelError(f"{self.path}: not a run folder (no config.yaml)")
        if not (self.encoder / "config.json").exists():
            raise ModelError(
                f"{self.path}: the run did not finish: {self.encoder.name}/ is missing; to continue it, add --resume to"
                f" its command, or use --config {self.config} --run {self.path} --resume"
            )

    @property
    def training_seconds(self) -> float:
        """How long the training took, by metrics.csv; errors as of `read_metrics`."""
        return sum(float(row.get("seconds") or 0) for row in self.read_metrics())

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv; empty where there are none yet.

        Raises:
            DataError: a row has no epoch, or not a cell for each column.
        """
        if not self.metrics.exists():
            return []
        rows = list(csv.DictReader(read_text(self.metrics).splitlines()))
        for line, row in enumerate(rows, start=2):
            if None in row or None in row.values():
                raise DataError("not a cell for each column", file=self.metrics, line=line, value=list(row.values()))
            if not (epoch := row.get("epoch", "")).isdecimal():
                place: dict[str, Any] = {"file": self.metrics, "line": line, "field": "epoch"}
                raise DataError("not an epoch", value=epoch, expected="a whole number", **place)
        return rows

    def write_metrics(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Replaces metrics.csv; columns are the union over the rows, in order of appearance.

        Raises:
            ModelError: see `jepakit.files.whole_file`.
        """
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with whole_file(self.metrics) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def flat_options(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The options of a configuration and of the mappings in it: dotted name, value."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from flat_options(cast(dict[str, Any], value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
