"""Feature sets with known answers, which the tests of the probes share."""

import numpy as np


def blobs(rows: int, seed: int, *, classes: int = 2, distance: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds ``[rows, 6]``, one a class, and their classes ``[rows]``."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % classes)
    centres = distance * rng.standard_normal((classes, 6))
    return centres[y] + rng.standard_normal((rows, 6)), y


def quadrants(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes that no hyperplane separates and a radial kernel does."""
    x = np.random.default_rng(seed).standard_normal((rows, 2))
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64)


def half_and_quarters(rows: int) -> dict[str, np.ndarray]:
    """A half to train on, a quarter each to validate and to test."""
    order = np.random.default_rng(99).permutation(rows)
    return dict(zip(("train", "val", "test"), np.split(order, [rows // 2, 3 * rows // 4]), strict=True))
