"""The part of a report that shows the embeddings: their spectrum, and a map of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepakit.core.diagnostics import effective_rank
from jepakit.training.report.charts import key_of, spectrum_chart
from jepakit.training.report.data import Embeddings
from jepakit.training.report.figures import SHAPES, LegendEntry, Ramp, ReportFigure
from jepakit.training.report.maps import Point, level_keys, point_map

_MAP_POINTS = 2000
_SPECTRUM_ROWS = 5000
#: Below this number of rows neighbourhoods say little, and the axes of PCA are exact.
_TSNE_ROWS = 50


@dataclass(frozen=True)
class EmbeddingFigures:
    """Sentences on what is wrong with the embeddings, and the figures that can be drawn."""

    problems: tuple[str, ...]
    figures: tuple[ReportFigure, ...]


def embedding_figures(embeddings: Embeddings, *, collapsed: bool) -> EmbeddingFigures:
    """The spectrum and the map.

    Args:
        embeddings: of the run.
        collapsed: whether the run's diagnosis says so; the map then carries a warning.
    """
    problems = [f"{embeddings.dropped:,} rows are not finite and left out."] if embeddings.dropped else []
    rows = embeddings.embedding[sample_rows(len(embeddings.embedding), _SPECTRUM_ROWS)]
    figures: tuple[ReportFigure, ...] = ()
    if len(rows) < 3:
        problems.append("Too few rows for a spectrum or a map.")
    elif (rank := effective_rank(rows)) == 0:
        problems.append("All embeddings are equal: there is nothing to draw.")
    else:
        figures = (_spectrum(rows, rank, len(embeddings.embedding)), _map(embeddings, collapsed=collapsed))
    return EmbeddingFigures(tuple(problems), figures)


def _spectrum(rows: Tensor, rank: float, count: int) -> ReportFigure:
    singular = singular_values(rows)
    reading = f"effective rank {rank:.1f} of {len(singular)}"
    description = f"Singular values of the embeddings on a logarithmic axis, {reading}"
    return ReportFigure(
        "Spectrum",
        f"singular values of {_of(len(rows), count)} centred embeddings; {reading}",
        spectrum_chart(singular, rank, description=description),
        hint="a cliff on the left is a collapse",
    )


def _map(embeddings: Embeddings, *, collapsed: bool) -> ReportFigure:
    ids = sample_rows(len(embeddings.embedding), _MAP_POINTS)
    places, method = project_to_plane(embeddings.embedding[ids])
    keys, legend, ramp = _keys(embeddings, ids)
    points = [Point(key, *embeddings.facts_of(row)) for key, row in zip(keys, ids.tolist(), strict=True)]
    classes = ", ".join(f"{entry.name} ({entry.count})" for entry in legend)
    told = f"by class: {classes}" if classes else f"by {ramp.name}" if ramp else "without labels"
    readable = method == "t-SNE" and not collapsed
    return ReportFigure(
        f"Map ({method})",
        f"{_of(len(ids), len(embeddings.embedding))} embeddings",
        point_map(places, points, description=f"The embeddings in a plane by {method}, {told}"),
        hint="neighbours are meaningful, distances between groups are not" if readable else "",
        warning="collapsed: any shape is drawn from the little spread that is left" if collapsed else "",
        legend=legend,
        ramp=ramp,
    )


def _keys(embeddings: Embeddings, ids: Tensor) -> tuple[list[str], list[LegendEntry], Ramp | None]:
    """The colour of each sampled row, by value or by class, and what they mean. Rare classes share one entry."""
    if embeddings.value is not None:
        value = embeddings.value[ids].double().numpy()
        if np.isfinite(value).any():
            low, high = np.nanmin(value), np.nanmax(value)
            return level_keys(value), [], Ramp(embeddings.value_name, f"{low:.4g}", f"{high:.4g}")
    if embeddings.label is None:
        return [key_of(0)] * len(ids), [], None
    label = embeddings.label[ids].numpy()
    classes, counts = np.unique(label[label >= 0], return_counts=True)
    kept = np.sort(classes[np.argsort(-counts, kind="stable")[: len(SHAPES)]])
    names = embeddings.label_names
    colour = np.full(len(label), -1)
    legend: list[LegendEntry] = []
    for which, value in enumerate(kept):
        colour[label == value] = which
        name = names[value] if value < len(names) else f"class {value}"
        legend.append(LegendEntry(key_of(which), SHAPES[which], name, int((label == value).sum())))
    unlabelled = int((label < 0).sum())
    others = int((colour < 0).sum()) - unlabelled
    kinds = {f"{len(classes) - len(kept)} other classes": others, "no label": unlabelled}
    if others or unlabelled:
        name = ", ".join(kind for kind, count in kinds.items() if count)
        legend.append(LegendEntry("none", "●", name, others + unlabelled))
    return ["none" if which < 0 else key_of(which) for which in colour.tolist()], legend, None


def _of(shown: int, count: int) -> str:
    return f"{count:,}" if shown == count else f"{shown:,} sampled of {count:,}"


def sample_rows(count: int, most: int) -> Tensor:
    """Sorted ids of at most ``most`` of ``count`` rows, drawn without replacement; always the same ids."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most].sort().values


def project_to_plane(embedding: Tensor) -> tuple[np.ndarray, str]:
    """Points ``[N, 2]`` for rows ``[N, D]``, and the name of the method.

    That is t-SNE with scikit-learn installed and 50 rows or more, else PCA. t-SNE (van der Maaten and Hinton 2008)
    keeps neighbourhoods and makes distances between groups meaningless; PCA keeps the two directions of largest
    variance, and its name says how much.
    """
    centred = embedding.double() - embedding.double().mean(0)
    left, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    # A single dimension lies on the first axis.
    points = F.pad(left * singular, (0, 1))[:, :2].numpy()
    if len(embedding) >= _TSNE_ROWS:
        # Not UMAP: it compiles for half a minute in each process, and keeps neighbourhoods no better at this size.
        with suppress(ImportError):
            from sklearn.manifold import TSNE

            # One scale for all embeddings, and its small one for the start, as scikit-learn takes them.
            unit = max(float(points[:, 0].std()), torch.finfo(torch.double).tiny)
            start: Any = 1e-4 * points / unit
            mapper = TSNE(init=start, random_state=0, max_iter=500, n_jobs=1)
            return mapper.fit_transform(embedding.double().numpy() / unit), "t-SNE"
    share = float(singular[:2].square().sum() / singular.square().sum())
    return points, f"PCA, {share:.0%} of the variance"


def singular_values(embedding: Tensor) -> np.ndarray:
    """Singular values of the centred rows ``[N, D]``, largest first: ``[min(N - 1, D)]``.

    N centred rows add up to zero, so an N-th value would only be rounding noise.
    """
    rows = embedding.double()
    return torch.linalg.svdvals(rows - rows.mean(0)).numpy()[: len(rows) - 1]
