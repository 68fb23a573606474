"""A run is a folder: its configuration, its numbers, its checkpoint, its encoder, its report."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from jepakit.errors import ConfigError, DataError, ModelError
from jepakit.files import read_yaml, reading, whole_file, write_text
from jepakit.files.locking import LOCK_NAME


def is_first_process(devices: int) -> bool:
    """Whether this process writes the run folder: on one device always, else the one of rank 0."""
    if devices == 1:
        return True
    from pytorch_lightning.utilities import rank_zero_only

    return not getattr(rank_zero_only, "rank", 0)


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run are.

    Args:
        path: the folder; made when something is first written.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The options of the run."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The metrics of each epoch."""
        return self.path / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def encoder(self) -> Path:
        """The folder of the trained encoder."""
        return self.path / "encoder"

    @property
    def random_encoder(self) -> Path:
        """The folder of the encoder before training, as a floor."""
        return self.path / "random_encoder"

    @property
    def results(self) -> Path:
        """The rows of the evaluation."""
        return self.path / "results.json"

    @property
    def diagnosis(self) -> Path:
        """The diagnosis of the embeddings."""
        return self.path / "diagnosis.json"

    @property
    def embeddings(self) -> Path:
        """The embeddings that the report shows."""
        return self.path / "embeddings.safetensors"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    def start(
        self, config_yaml: str, *, resume: bool, defaults: str = "{}", renamed: Mapping[str, str] | None = None
    ) -> None:
        """Opens the folder for training.

        Args:
            config_yaml: the whole configuration.
            resume: continue the run in the folder.
            defaults: the default configuration, for options that are younger than the run.
            renamed: earlier names of options -> their present names.

        Raises:
            ConfigError: the folder has a run and ``resume`` is not set, or ``resume`` is set and the configuration
                differs from that of the run.
        """
        if self.config.exists() and not resume:
            raise ConfigError("run", self.path, "a new folder, or --resume to go on with the run that is there")
        if self.path.is_file():
            raise ConfigError("run", self.path, "a folder, not a file")
        if self.config.exists():
            earlier = {(renamed or {}).get(name, name): value for name, value in _flat(self.read_config())}
            self._require_same(
                dict(_flat(yaml.safe_load(defaults))) | earlier, dict(_flat(yaml.safe_load(config_yaml)))
            )
        write_text(self.config, config_yaml)

    @property
    def has_begun(self) -> bool:
        """Whether an epoch of the run, or of one of its stages, is complete."""
        return self.metrics.exists() or any(self.path.glob(f"*/{self.metrics.name}"))

    def withdraw(self) -> None:
        """Undoes `start` where no epoch is complete, so that the corrected command can use the folder."""
        if not self.has_begun and self.path.is_dir():
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

    def _require_same(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        changed = [name for name in {**now, **before} if now.get(name) != before.get(name)]
        if changed:
            others = f"; changed too: {', '.join(changed[1:])}" if len(changed) > 1 else ""
            expected = f"{before.get(changed[0])!r} to resume {self.path}{others}"
            raise ConfigError(changed[0], now.get(changed[0]), expected)

    def require_trained(self) -> None:
        """Raises ModelError where the run has no finished encoder; the message names what is missing."""
        if not self.path.is_dir():
            raise ModelError(f"{self.path}: there is no run folder here")
        if not self.config.exists():
            raise ModelError(f"{self.path}: not a run folder (no config.yaml)")
        if not (self.encoder / "config.json").exists():
            raise ModelError(
                f"{self.path}: the run did not finish: {self.encoder.name}/ is missing; go on with it by adding"
                f" --resume to its command, or with --config {self.config} --run {self.path} --resume"
            )

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv; empty where there are none yet.

        Raises:
            DataError: a row has no epoch.
        """
        if not self.metrics.exists():
            return []
        with reading(self.metrics), self.metrics.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for line, row in enumerate(rows, start=2):
            epoch = row.get("epoch")
            if epoch is None or not epoch.isdecimal():
                raise DataError(
                    "not an epoch", file=self.metrics, line=line, field="epoch", value=epoch, expected="a whole number"
                )
        return rows

    def write_metrics(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Replaces metrics.csv; columns are the union over the rows, in order of appearance.

        Raises:
            ModelError: it cannot be written; on a full disk, for one.
        """
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with whole_file(self.metrics) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted option -> value."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(cast(dict[str, Any], value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
