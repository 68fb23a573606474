"""Words of a report: what the diagnostics are called, how numbers and sentences are written."""

from __future__ import annotations

DIAGNOSTICS = {
    "effective_rank": ("Effective rank", "directions in use; higher is better"),
    "within_group_rank": ("Rank within classes", "low: classes have shrunk to points"),
    "dead_dims": ("Dead dimensions", "constant ones; 0 is best"),
    "uniformity": ("Uniformity", "0 is a point; more negative is more even"),
    "mean_cosine": ("Mean cosine", "of different rows; 1 is a point, 0 is best"),
    "sphericity": ("Sphericity", "1: equally wide in every direction"),
    "mean_abs_correlation": ("Mean |correlation|", "between dimensions; 0 is best"),
    "alignment": ("Alignment", "distance of paired views; lower is closer"),
}
"""Diagnostic -> its name for people, and how to read it. The order is the order on the page."""


def described(diagnostic: str) -> tuple[str, str]:
    """The name of a diagnostic for people, and how to read it; of an unknown one its own name."""
    return DIAGNOSTICS.get(diagnostic, (diagnostic, ""))


def number(value: float) -> str:
    """Four digits, with a minus sign that is as wide as a plus."""
    return f"{value:.4g}".replace("-", "−")


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
