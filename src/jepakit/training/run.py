"""A run is a folder: its configuration, its numbers, its checkpoint, its encoder, its report."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jepakit.errors import ConfigError, DataError, ModelError

__all__ = ["RunFolder", "write_text_atomically"]


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run are.

    Args:
        path: the folder; made when something is first written.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def encoder(self) -> Path:
        return self.path / "encoder"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def diagnosis(self) -> Path:
        return self.path / "diagnosis.json"

    @property
    def embeddings(self) -> Path:
        return self.path / "embeddings.safetensors"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def start(self, config_yaml: str, *, resume: bool) -> None:
        """Opens the folder for training.

        Args:
            config_yaml: the whole configuration.
            resume: go on with what is there.

        Raises:
            ConfigError: a finished or interrupted run is there and ``resume`` is not set, or ``resume`` is set and the
                configuration is not that run's.
        """
        if self.config.exists() and not resume:
            raise ConfigError("run", self.path, "a new folder, or --resume to go on with the run that is there")
        if self.path.is_file():
            raise ConfigError("run", self.path, "a folder, not a file")
        if self.config.exists():
            before, now = self.config.read_text("utf-8").splitlines(), config_yaml.splitlines()
            changed = [line.strip() for line in now if line not in before]
            if changed:
                raise ConfigError("resume", "; ".join(changed[:5]), f"the configuration in {self.config}")
        self.path.mkdir(parents=True, exist_ok=True)
        write_text_atomically(self.config, config_yaml)

    def require_trained(self) -> None:
        """Raises ModelError where there is no finished encoder, saying what there is instead."""
        if not self.path.is_dir():
            raise ModelError(f"{self.path}: there is no run folder here")
        if not self.config.exists():
            raise ModelError(f"{self.path}: not a run folder (no config.yaml)")
        if not (self.encoder / "config.json").exists():
            raise ModelError(f"{self.path}: the run did not finish; go on with it with --resume")

    def read_metrics(self) -> list[dict[str, str]]:
        """The rows of metrics.csv; empty where there are none yet."""
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def write_metrics(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Replaces metrics.csv; columns are the union over the rows, in order of appearance."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        partial = self.metrics.with_name("metrics.csv.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.metrics)

    def read_results(self) -> dict[str, Any]:
        """results.json, or an empty mapping.

        Raises:
            DataError: the file is not JSON.
        """
        if not self.results.exists():
            return {}
        try:
            return json.loads(self.results.read_text("utf-8"))
        except json.JSONDecodeError as error:
            raise DataError("not JSON", file=self.results, line=error.lineno, expected="delete it") from error


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a file so that a reader, or a crash, never meets half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
