"""The static encoder at query time: numpy alone, no torch.

::

    tokens, pairs -> rows of the table -> sum / sqrt(count) -> [widen] -> x + perceptron(x) -> length 1

The table holds whole numbers from -127 to 127 and a scale for each row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from jepakit.errors import ConfigError, DataError, ModelError, in_one_line
from jepakit.files import read_json, reading, stated_digest
from jepakit.files.digests import check_digest
from jepakit.search.static.features import Bags, Features
from jepakit.search.static.gate import Gate

STATIC = "static"
"""The folder of a static encoder in a run."""
ARCHITECTURE = "jepakit.retrieval.static.network:StaticNetwork"
"""What ``config.json`` of a folder with a static encoder says."""
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
#: Texts whose vectors are computed at once.
_BLOCK = 1024


@dataclass(frozen=True)
class StaticEncoder:
    """Texts -> unit vectors that predict those of a base model.

    Args:
        features: finds the rows of a text.
        table: ``[R, W]`` int8.
        scale: what a 1 in each row of the table means, ``[R]`` float32.
        widen: ``[D, W]`` float32; None where W is the width of the base's vectors, D.
        layers: weights ``[out, in]`` and biases ``[out]`` of the perceptron; none where it has no layers.
        gate: which queries it answers for.
        base: name of the base model.
        fingerprint: of the base model.
        documents: fingerprint of the vectors of documents that its vectors are compared with.
    """

    features: Features
    table: np.ndarray
    scale: np.ndarray
    widen: np.ndarray | None
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    gate: Gate
    base: str
    fingerprint: str
    documents: str

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.table.shape[1] if self.widen is None else len(self.widen)

    @property
    def megabytes(self) -> float:
        """Size of all numbers, in millions of bytes."""
        arrays = [self.table, self.scale, self.gate.frequency, self.features.tokens, self.features.pairs]
        arrays += [array for layer in self.layers for array in layer] + ([] if self.widen is None else [self.widen])
        return (sum(array.nbytes for array in arrays) + len(self.features.rules.encode())) / 1e6

    def within(self, megabytes: float) -> StaticEncoder:
        """The same encoder without its rarest rows, at most so large; pairs are left out first, then tokens.

        Raises:
            ConfigError: what is not in rows is larger.
        """
        single = self.table.shape[1] + self.scale.itemsize + self.gate.frequency.itemsize
        pair = single + self.features.pairs.itemsize
        singles, pairs = self.features.singles, len(self.features.pairs)
        room = int(1e6 * megabytes) - (round(1e6 * self.megabytes) - singles * single - pairs * pair)
        if room < single:
            raise ConfigError("megabytes", megabytes, "more: tokeniser and perceptron alone are larger")
        kept = min(singles, room // single)
        often = np.argsort(-self.gate.frequency[:singles], kind="stable")[:kept]
        both = np.argsort(-self.gate.frequency[singles:], kind="stable")[: (room - kept * single) // pair]
        return self._with_rows(np.sort(often), np.sort(both))

    def _with_rows(self, tokens: np.ndarray, pairs: np.ndarray) -> StaticEncoder:
        numbers = np.full(len(self.features.tokens), -1, np.int32)
        numbers[np.flatnonzero(self.features.tokens >= 0)[tokens]] = np.arange(len(tokens))
        rows = np.concatenate([tokens, self.features.singles + pairs])
        return replace(
            self,
            features=Features(self.features.rules, numbers, self.features.pairs[pairs]),
            table=self.table[rows],
            scale=self.scale[rows],
            gate=replace(self.gate, frequency=self.gate.frequency[rows]),
        )

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """What some rows of the table add to a text, ``[R, D]`` float32."""
        found = self.table[rows] * self.scale[rows, None]
        return found if self.widen is None else found @ self.widen.T

    def familiar(self, bags: Bags) -> np.ndarray:
        """Which of N texts it answers for, ``[N]`` bool."""
        return self.gate.familiar(self.features, bags)

    def require_documents(self, fingerprint: str) -> None:
        """Raises ModelError if documents have vectors of another fingerprint than those of training."""
        if fingerprint != self.documents:
            raise ModelError(
                f"the static encoder was trained for vectors of {self.base} with the fingerprint {self.documents[:8]}, "
                f"not {fingerprint[:8]}: the base model or the adapter changed; train again: jepakit retrieval train"
            )

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of N texts, ``[N, D]`` float32; zeros for a text without a known token."""
        return self.encode_bags(self.features(texts))

    def encode_bags(self, bags: Bags) -> np.ndarray:
        """As `encode`, of features that are known already."""
        vectors = np.zeros((len(bags), self.dim), np.float32)
        starts, counts = bags.starts.tolist(), bags.counts.tolist()
        for first in range(0, len(counts), _BLOCK):
            some = slice(first, first + _BLOCK)
            vectors[some] = self._predicted(
                [bags.rows[a : a + n] for a, n in zip(starts[some], counts[some], strict=True)]
            )
        return vectors

    def _predicted(self, texts: Sequence[np.ndarray]) -> np.ndarray:
        """The vectors of texts that are given by their rows, ``[N, D]``."""
        context = np.zeros((len(texts), self.table.shape[1]), np.float32)
        for summed, rows in zip(context, texts, strict=True):
            if len(rows):
                np.matmul(
                    self.scale[rows] / np.float32(math.sqrt(len(rows))), self.table[rows].astype(np.float32), summed
                )
        vectors = context if self.widen is None else context @ self.widen.T
        if self.layers:
            hidden = vectors
            for weight, bias in self.layers[:-1]:
                hidden = gelu(hidden @ weight.T + bias)
            weight, bias = self.layers[-1]
            vectors = vectors + (hidden @ weight.T + bias)
        length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        # The perceptron makes a vector of nothing, too.
        shares = [1 / max(norm, 1e-12) if len(rows) else 0.0 for norm, rows in zip(length.tolist(), texts, strict=True)]
        return vectors * np.array(shares, np.float32)[:, None]

    @classmethod
    def load(cls, folder: str | Path) -> StaticEncoder:
        """Reads an encoder folder, without torch.

        Raises:
            ModelError: there is none, it is damaged, or it holds another encoder.
        """
        folder = Path(folder).expanduser()
        file = folder / _CONFIG
        if not file.is_file():
            raise ModelError(f"{folder}: no encoder there ({_CONFIG} is missing)")
        about, arrays = read_json(file, ModelError), _arrays(folder / _WEIGHTS)
        if about.get("architecture") != ARCHITECTURE:
            raise ModelError(f"{folder}: holds no static encoder but {about.get('architecture')}")
        if about.get("digests", {}).get(_WEIGHTS) != stated_digest(folder / _WEIGHTS):
            raise ModelError(f"{folder / _WEIGHTS}: not the weights of this {_CONFIG}; train again")
        with reading(file, ModelError):
            return from_arrays(arrays, about["config"])


def from_arrays(arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> StaticEncoder:
    """The encoder of a `jepakit.retrieval.static.network.StaticNetwork` with these tensors and arguments.

    Raises:
        DataError: the tensors do not belong together.
    """
    features = Features(arrays["rules"].tobytes().decode(), arrays["tokens"], arrays["pairs"])
    table, scale = arrays["table"], arrays["scale"]
    if len(features) != len(table) or len(scale) != len(table) or features.tokens.max(initial=-1) >= len(table):
        raise DataError("its table has not one row for each feature", value=len(table), expected=str(len(features)))
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise DataError("not every number is finite", field=name, expected="another training, at lower rates")
    numbers = sorted({int(name.split(".")[2]) for name in arrays if name.startswith("predictor.layers.")})
    encoder = StaticEncoder(
        features=features,
        table=table,
        scale=scale,
        widen=arrays.get("widen.weight"),
        layers=tuple(
            (arrays[f"predictor.layers.{number}.weight"], arrays[f"predictor.layers.{number}.bias"])
            for number in numbers
        ),
        gate=Gate(arrays["frequency"], arrays["weights"], float(arrays["threshold"])),
        base=str(config["base"]),
        fingerprint=str(config["fingerprint"]),
        documents=str(config["documents"]),
    )
    probe = Bags(np.zeros(min(1, len(table)), np.int64), np.array([min(1, len(table))]), np.zeros(1, np.float32))
    try:
        encoder.encode_bags(probe)
        encoder.familiar(probe)
    except (IndexError, ValueError) as error:
        raise DataError(f"its tensors do not fit together ({in_one_line(error)})", expected=ARCHITECTURE) from error
    return encoder


def quantised(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows as whole numbers from -127 to 127 with a scale each: ``[R, W] -> [R, W] int8, [R] float32``.

    An entry is off by at most half the scale of its row.
    """
    scale = (np.abs(table).max(axis=1, initial=0) / 127).astype(np.float32)
    whole = np.rint(table / np.where(scale > 0, scale, 1)[:, None])
    return np.clip(whole, -127, 127).astype(np.int8), scale


def gelu(x: np.ndarray) -> np.ndarray:
    """``x Φ(x)``, float32 -> float32, exact to 2e-7 · |x|.

    Source: the error function by Abramowitz & Stegun 1964, 7.1.26.
    """
    a = np.abs(x) * np.float32(1 / math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * a)
    series = np.float32(1.061405429) * t
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series += np.float32(coefficient)
        series *= t
    # 1 - Φ(|x|), from which x Φ(x) follows for both signs.
    series *= np.exp(-a * a) * np.float32(0.5)
    return np.maximum(x, 0) - np.abs(x) * series


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with reading(file, ModelError):
        check_digest(file)
        with safe_open(file, framework="numpy") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 -- not a mapping
