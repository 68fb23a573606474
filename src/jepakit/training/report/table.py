"""The result table of a report: ours above, what it is measured against below, and by how much ours is better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from jepakit.training.result_rows import ResultGroup, ResultRow, format_score

__all__ = ["result_table"]

Cell = Callable[[ResultRow, ResultGroup], str]


def result_table(groups: Sequence[ResultGroup]) -> str:
    """An HTML table, one body for each dataset and metric; within it ours first, then floors and rivals, best first.

    Columns that would be empty in every row are left out.
    """
    columns = {
        title: cell
        for title, cell in _COLUMNS.items()
        if any(cell(row, group) for group in groups for row in group.rows)
    }
    head = "".join(f'<th scope="col"{_style(title)}>{escape(title)}</th>' for title in ("Method", *columns))
    caption = (
        "Bold: the best. ± is the standard deviation over seeds. Rows without the mark “ours” are floors and rivals."
    )
    bodies = "".join(_body(group, columns) for group in groups)
    return f'<div class="table"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>{bodies}</table></div>'


def _body(group: ResultGroup, columns: dict[str, Cell]) -> str:
    direction = "lower is better" if group.lower_is_better else "higher is better"
    title = f"<b>{escape(group.dataset)}</b>, {escape(group.metric)} <span>({direction}){_headline(group)}</span>"
    head = f'<tr class="group"><th scope="rowgroup" colspan="{len(columns) + 1}">{title}</th></tr>'
    return f"<tbody>{head}{''.join(_row(row, group, columns) for row in group.rows)}</tbody>"


def _headline(group: ResultGroup) -> str:
    """What the table comes to: ours against the strongest of the others."""
    strongest = next((row for row in group.others if row.value is not None), None)
    gain = group.gain_over(strongest) if strongest is not None else None
    if strongest is None or gain is None:
        return ""
    return f" · ours {_signed(gain, group.decimals)} against the strongest other, {escape(strongest.method)}"


def _row(row: ResultRow, group: ResultGroup, columns: dict[str, Cell]) -> str:
    start, tag = ('<tr class="ours">', '<span class="tag">ours</span>') if row.ours else ("<tr>", "")
    cells = "".join(f"<td{_style(title)}>{cell(row, group)}</td>" for title, cell in columns.items())
    return f'{start}<th scope="row">{escape(row.method)}{tag}</th>{cells}</tr>'


def _score(row: ResultRow, group: ResultGroup) -> str:
    score = format_score(row, group.decimals)
    return f"<b>{score}</b>" if row.value is not None and row.value == group.best else score


def _gain(row: ResultRow, group: ResultGroup) -> str:
    gain = None if row.ours else group.gain_over(row)
    return "" if gain is None else _signed(gain, group.decimals)


def _signed(gain: float, decimals: int) -> str:
    """In the metric's own unit; positive is better whichever way the metric runs."""
    text = f"{gain:+.{decimals}f}".replace("-", "−")
    rounds_to_zero = not any(digit in "123456789" for digit in text)
    kind = "" if rounds_to_zero else "good" if gain > 0 else "bad"
    return f'<span class="{kind}">{text}</span>' if kind else text


def _seeds(row: ResultRow, _: ResultGroup) -> str:
    return "" if row.seeds is None else str(row.seeds)


def _aim(row: ResultRow, group: ResultGroup) -> str:
    if row.aim is None:
        return ""
    outcome = {True: ' <span class="good">met</span>', False: ' <span class="bad">missed</span>', None: ""}[row.met]
    return f"{row.aim:.{group.decimals}f}{outcome}"


def _note(row: ResultRow, _: ResultGroup) -> str:
    return escape(row.note)


_COLUMNS: dict[str, Cell] = {
    "Mean ± std": _score,
    "Gain of ours over it": _gain,
    "Seeds": _seeds,
    "Aim": _aim,
    "Note": _note,
}
_NUMBERS = ("Mean ± std", "Gain of ours over it", "Seeds")


def _style(title: str) -> str:
    return ' class="number"' if title in _NUMBERS else ""
