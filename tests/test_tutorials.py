"""Every tutorial runs as a reader would run it, and prints what it shows."""

from pathlib import Path

import pytest

from snippets import missing_output, run_page

PAGES = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_tutorial_runs_and_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


def test_shown_output_is_compared_by_its_words() -> None:
    printed = "│ ours │ 0.913 │\nUse ours: 12 points better\nreport: a.html"
    assert missing_output("ours  0.7\n…\nreport: a.html", printed) is None
    assert missing_output("", printed) is None
    assert missing_output("report: b.html", printed) == "report:b.html"
    # The order counts.
    assert missing_output("report: a.html\n…\nours 0.7", printed) == "ours0"
