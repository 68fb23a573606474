"""The few pieces of HTML that all parts of a report are made of. Captions come as HTML; everything else is escaped."""

from __future__ import annotations

from html import escape

__all__ = ["DIAGNOSTICS", "described", "figure", "missing", "number", "section", "sentence"]

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


def section(title: str, *parts: str) -> str:
    """A heading and the parts that are not empty."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{chr(10).join(part for part in parts if part)}\n</section>"


def figure(caption: str, *parts: str) -> str:
    """A figure under its caption, which is HTML."""
    return f"<figure><figcaption>{caption}</figcaption>{''.join(parts)}</figure>"


def missing(file: str, consequence: str) -> str:
    """The line that stands where a part is left out."""
    return f"<p class='missing'>{escape(file)} is not in the run folder: {escape(consequence)}.</p>"


def number(value: float) -> str:
    """Four digits, with a minus sign that is as wide as a plus."""
    return f"{value:.4g}".replace("-", "−")


def sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
