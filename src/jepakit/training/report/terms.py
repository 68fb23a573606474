"""The names that metrics have on a page, and how to read them."""

from __future__ import annotations

DIAGNOSTICS = {
    "effective_rank": ("Effective rank", "directions in use; higher is better"),
    "within_group_rank": ("Rank within classes", "low: classes have shrunk to points"),
    "predictability": ("Predictability", "correlation of predictions and targets; near 1 the task is too easy"),
    "dead_dims": ("Dead dimensions", "constant; 0 is best"),
    "uniformity": ("Uniformity", "0 is a point; more negative is more even"),
    "mean_cosine": ("Mean cosine", "of different rows; 1 is a point, 0 is best"),
    "sphericity": ("Sphericity", "1: equally wide in every direction"),
    "mean_abs_correlation": ("Mean |correlation|", "between dimensions; 0 is best"),
    "alignment": ("Alignment", "distance of paired views; lower is closer"),
}
"""Diagnostic -> its title on the page, and how to read it; in the order of the page."""


def described(diagnostic: str) -> tuple[str, str]:
    """The title of a diagnostic, and how to read it; an unknown diagnostic keeps its name."""
    return DIAGNOSTICS.get(diagnostic, (diagnostic, ""))
