"""What a notebook shows: the numbers, and nothing of the data as markup."""

from __future__ import annotations

from html.parser import HTMLParser

from torch import nn

from jepakit.core import Diagnosis
from jepakit.core.diagnostics import Finding
from jepakit.lp import linprog
from jepakit.notebook import html_table
from jepakit.search.found import Found, FoundDocuments
from jepakit.training import FitResult, RunFolder, TrainedRun
from jepakit.training.result_rows import ResultRow
from jepakit.training.results import Evaluation, Pretrained

HOSTILE = "<script>alert('x')</script>&amp;"


class Page(HTMLParser):
    """The tags and the texts of a page; every tag but ``p`` must be closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.texts, self.open = set[str](), list[str](), list[str]()
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def evaluation() -> Evaluation:
    rows = (
        ResultRow(HOSTILE, "ours", "accuracy %", 91.25, 0.5, note=HOSTILE, ours=True),
        ResultRow(HOSTILE, HOSTILE, "accuracy %", None),
    )
    return Evaluation(title="Rings", summary=("ten folds",), recommendation=HOSTILE, rows=rows)


def test_everything_is_shown_as_text() -> None:
    finding = Finding(HOSTILE, "lower it", "error")
    network = nn.Linear(2, 3)
    diagnosis = Diagnosis({"effective_rank": 2.5}, (finding,))
    run = TrainedRun(RunFolder(HOSTILE), network, diagnosis, evaluation())
    result = FitResult(epochs=3, steps=12, stopped_early=False, metrics={"train/total": 0.125})
    trained = Pretrained(encoder=network, random_encoder=network, fit=result, diagnosis=diagnosis)
    hits = FoundDocuments([Found("d1", 0.5, HOSTILE, f"{HOSTILE} " * 20, {}), Found(HOSTILE, 0.25, "", "short", {})])
    solution = linprog([1.0, 1.0], A_ub=[[-1.0, -2.0]], b_ub=[-2.0])
    table = html_table((HOSTILE,), [(HOSTILE,)], title=HOSTILE)
    shown = {
        "run": (run._repr_html_(), ["91.25 ± 0.50", "—", "Linear", "9", "2.5", f"{HOSTILE}: lower it"]),
        "trained": (trained._repr_html_(), ["3", "12", "0.125"]),
        "evaluation": (evaluation()._repr_html_(), ["Rings", "ten folds", "accuracy %"]),
        "hits": (hits._repr_html_(), ["0.5", "0.25", "short"]),
        "solution": (solution._repr_html_(), ["optimal", "1"]),
        "table": (table, [HOSTILE]),
    }
    for name, (html, expected) in shown.items():
        page = Page(html)
        assert page.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "p"}, name
        assert set(expected) <= set(page.texts), name
        assert "<script" not in html
