"""The part of a report that shows the embeddings: their spectrum, and a map of them."""

from __future__ import annotations

from html import escape

import numpy as np
from torch import Tensor

from jepakit.core.diagnostics import effective_rank
from jepakit.training.report.data import Embeddings
from jepakit.training.report.embedding_map import project_to_plane, sample_rows, singular_values
from jepakit.training.report.figures import MARKERS, point_map, spectrum_chart
from jepakit.training.report.page import figure, missing, section

__all__ = ["embedding_section"]

_MAP_POINTS = 3000
_SPECTRUM_ROWS = 5000


def embedding_section(embeddings: Embeddings | None, *, collapsed: bool) -> str:
    """The section on the embeddings.

    Args:
        embeddings: None where the run has none.
        collapsed: whether the run's diagnosis says so; the map then carries a warning.
    """
    if embeddings is None:
        return section("Embeddings", missing("embeddings.safetensors", "no spectrum and no map"))
    lost = f"{embeddings.dropped:,} rows are not finite and left out."
    parts = [f'<p class="bad">{lost}</p>'] if embeddings.dropped else []
    rows = embeddings.embedding[sample_rows(len(embeddings.embedding), _SPECTRUM_ROWS)]
    if len(rows) < 3:
        parts.append('<p class="missing">Too few rows for a spectrum or a map.</p>')
    elif (rank := effective_rank(rows)) == 0:
        parts.append('<p class="bad">All embeddings are equal: there is nothing to draw.</p>')
    else:
        parts += [_spectrum(rows, rank, len(embeddings.embedding)), _map(embeddings, collapsed=collapsed)]
    return section("Embeddings", *parts)


def _spectrum(rows: Tensor, rank: float, count: int) -> str:
    singular = singular_values(rows)
    reading = f"effective rank {rank:.1f} of {len(singular)}"
    caption = f"<b>Spectrum</b> singular values of {_of(len(rows), count)} centred embeddings; {reading}"
    description = f"Singular values of the embeddings on a logarithmic axis, {reading}"
    return figure(
        f"{caption} <span>— a cliff on the left is a collapse</span>",
        spectrum_chart(singular, rank, name="spectrum", description=description),
    )


def _map(embeddings: Embeddings, *, collapsed: bool) -> str:
    ids = sample_rows(len(embeddings.embedding), _MAP_POINTS)
    plane = project_to_plane(embeddings.embedding[ids])
    colour, legend = _classes(embeddings, ids)
    warning = ""
    if collapsed:
        warning = (
            '<span class="bad">— collapsed: any shape it shows is drawn from the little spread that is left</span>'
        )
    elif plane.method == "UMAP":
        warning = "<span>— neighbours are meaningful, distances between groups are not</span>"
    classes = ", ".join(f"{name} ({count})" for _, name, count in legend)
    description = (
        f"The embeddings in a plane by {plane.method}, {'by class: ' + classes if classes else 'without labels'}"
    )
    return figure(
        f"<b>Map ({escape(plane.method)})</b> {_of(len(ids), len(embeddings.embedding))} embeddings {warning}",
        f'<ul class="legend">{"".join(_legend_item(*item) for item in legend)}</ul>' if legend else "",
        point_map(plane.points, colour, name="map", description=description),
    )


def _legend_item(which: int, name: str, count: int) -> str:
    colour, shape = ("--muted", "●") if which < 0 else (f"--c{which}", MARKERS[which][1])
    swatch = f'<span aria-hidden="true" style="color: var({colour})">{shape}</span>'
    return f'<li>{swatch} {escape(name)} <span class="hint">{count:,}</span></li>'


def _classes(embeddings: Embeddings, ids: Tensor) -> tuple[np.ndarray, list[tuple[int, str, int]]]:
    """A colour for each sampled row, -1 for none, and the legend: colour, class, rows. Rare classes share one entry."""
    if embeddings.label is None:
        return np.full(len(ids), -1), []
    label = embeddings.label[ids].numpy()
    classes, counts = np.unique(label[label >= 0], return_counts=True)
    kept = np.sort(classes[np.argsort(-counts, kind="stable")[: len(MARKERS)]])
    names = embeddings.label_names
    colour = np.full(len(label), -1)
    legend: list[tuple[int, str, int]] = []
    for which, value in enumerate(kept):
        colour[label == value] = which
        name = names[value] if value < len(names) else f"class {value}"
        legend.append((which, name, int((label == value).sum())))
    unlabelled = int((label < 0).sum())
    others = int((colour < 0).sum()) - unlabelled
    kinds = {f"{len(classes) - len(kept)} other classes": others, "no label": unlabelled}
    if others or unlabelled:
        legend.append((-1, ", ".join(kind for kind, count in kinds.items() if count), others + unlabelled))
    return colour, legend


def _of(shown: int, count: int) -> str:
    return f"{count:,}" if shown == count else f"{shown:,} sampled of {count:,}"
