"""Results as HTML, for the cells of a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Cell = str | float | None


def html_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, title: str = "") -> str:
    """A table. All texts are escaped, so data cannot bring markup or scripts into the page.

    Args:
        columns: the heads; empty for a table without.
        rows: their cells; numbers are shown with four digits, None as a dash.
        title: above the table.
    """
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    heads = "".join(f"<th>{escape(column)}</th>" for column in columns)
    head = f"<thead><tr>{heads}</tr></thead>" if heads else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def html_lines(lines: Iterable[str]) -> str:
    """A paragraph for each line that is not empty, escaped."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines if line)


def _cell(value: Cell) -> str:
    if value is None:
        return "<td>—</td>"
    if isinstance(value, str):
        return f'<td style="text-align: left">{escape(value)}</td>'
    return f'<td style="text-align: right">{escape(f"{value:.4g}" if isinstance(value, float) else str(value))}</td>'
