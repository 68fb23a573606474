"""A report in a real browser: its own script runs under its own policy, and nothing is said on the console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from browser import PROGRAM, Browser
from jepakit.training.report.write import write_report

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")

METHODS = {"jepakit": 0.9, "random": 0.25, "too slow": None, "kernel": 0.5}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    rows = [
        {"dataset": "toys", "method": name, "metric": "accuracy", "value": value, "ours": name == "jepakit"}
        for name, value in METHODS.items()
    ]
    curve = {"title": "By problem", "x_label": "problem", "y_label": "ms", "x": [1, 2, 3], "names": ["a", "b", "c"]}
    lines = [["cold", [3, 4, 5]], ["warm", [1, 2, 2]]]
    table = {"title": "Cells", "columns": ["n", "s"], "rows": [["a", 10.0], ["b", 9.0], ["c", None], ["d", -2.0]]}
    scatter = {"title": "Probe", "label": "y", "true": [0, 1], "predicted": [1, 0], "names": ["first", "second"]}
    content = {"rows": rows, "curves": [{**curve, "lines": lines}], "sections": [table], "scatters": [scatter]}
    (run / "results.json").write_text(json.dumps(content))
    (run / "metrics.csv").write_text("epoch,train/total\n0,3\n1,2\n2,1\n")
    about = {
        "label_names": '["one", "two"]',
        "titles": json.dumps([f"molecule {number} <b>" for number in range(40)]),
        "drawings": json.dumps(["M0 0L30 10L40 50|OH 40 50"] * 40),
    }
    embedding = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    save_file({"embedding": embedding, "label": torch.arange(40) % 2}, run / "embeddings.safetensors", metadata=about)
    return write_report(run)


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Browser]:
    browser.open(report)
    yield browser
    assert browser.messages == []


def methods(page: Browser) -> list[str]:
    return page.run("[...document.querySelectorAll('#results tbody tr:not(.group) th')].map(th => th.textContent)")


def centre(page: Browser, element: str) -> tuple[float, float]:
    """The middle of an element, after it is scrolled to."""
    place: Any = page.run(
        f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
        " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    return place[0], place[1]


def tip(page: Browser) -> str | None:
    return page.run("document.querySelector('.tip').hidden ? null : document.querySelector('.tip').textContent")


def test_tables_are_sorted_by_a_click_and_by_keys(page: Browser) -> None:
    head = "document.querySelectorAll('#results thead th')[1]"
    before = methods(page)
    page.point(*centre(page, f"{head}.querySelector('button')"), click=True)
    assert methods(page) == ["random", "kernel", "jepakitours", "too slow"], "what has no value is last"
    assert page.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    page.press("Enter", "\r")
    assert methods(page) == ["jepakitours", "kernel", "random", "too slow"]
    assert page.run(f"{head}.getAttribute('aria-sort')") == "descending"
    page.press("Enter", "\r")
    assert methods(page) == before
    assert page.run("document.querySelector('#results tbody').rows[0].className") == "group"
    # Numbers are compared as numbers, in a table of another kind too.
    page.point(*centre(page, "document.querySelectorAll('#section-1 thead button')[1]"), click=True)
    shown = page.run("[...document.querySelectorAll('#section-1 tbody tr')].map(tr => tr.textContent.trim())")
    assert [text.split()[0][0] for text in shown] == ["d", "b", "a", "c"]


def test_a_point_says_what_it_is_and_a_class_can_be_shown_alone(page: Browser) -> None:
    point = "document.querySelector('#embeddings .points .c1')"
    page.point(*centre(page, point))
    assert (tip(page) or "").endswith(" <b>"), tip(page)
    assert page.run("document.querySelectorAll('.tip svg path').length") == 1
    assert page.run("document.querySelector('.tip svg text').textContent") == "OH"
    page.point(*centre(page, "document.querySelectorAll('#embeddings .legend button')[0]"), click=True)
    assert page.run("document.querySelectorAll('#embeddings .faded').length") == 20
    assert page.run(f"{point}.matches('.faded')")
    page.press("Enter", "\r")
    assert page.run("document.querySelectorAll('#embeddings .faded').length") == 0


def test_a_map_is_enlarged_and_walked_by_keys(page: Browser) -> None:
    page.run("document.querySelector('#embeddings svg.map').focus()")
    page.press("ArrowRight")
    first = tip(page)
    page.press("ArrowLeft")
    assert None not in (first, tip(page))
    assert first != tip(page)
    spread = "Math.max(...[...document.querySelectorAll('#embeddings .points path')].map(p => p.getCTM().e))"
    before = page.run(spread)
    page.press("+", "+")
    assert page.run(spread) > before + 50
    page.press("0", "0")
    assert page.run(spread) == pytest.approx(before, abs=0.1)


def test_a_chart_says_its_values(page: Browser) -> None:
    page.point(*centre(page, "document.querySelector('#results svg[data-chart]')"))
    assert tip(page) == "b\ncold: 4\nwarm: 2"
    page.run("document.querySelector('#training svg[data-chart]').focus()")
    page.press("End")
    assert tip(page) == "epoch 2\n1"
    page.press("Escape")
    assert tip(page) is None
    page.point(*centre(page, "document.querySelector('#results .map.square .points path')"))
    assert (tip(page) or "").startswith(("first", "second"))


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width
    small = "[...document.querySelectorAll('.plot text')].map(t => t.getBoundingClientRect().height)"
    assert min(browser.run(small)) >= 11, "texts of charts are as large as on a wide page"
