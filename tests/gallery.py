"""Takes the pictures of ``docs/gallery`` from the reports that the tutorials write: ``python tests/gallery.py``.

It needs a Chromium.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from PIL import Image  # noqa: E402

from browser import Browser  # noqa: E402
from snippets import run_page  # noqa: E402

#: Page -> picture -> report in the page's folder, and the height of the picture in pixels.
REPORTS = {
    "tutorials/molecules.md": {"molecules": ("solubility-model/report.html", 1400)},
    "tutorials/documents.md": {"documents": ("runs/handbook/report.html", 1100)},
    "tutorials/knowledge-graph.md": {"knowledge-graph": ("answer.html", 1100)},
    "tutorials/linear-programs.md": {"linear-programs": ("runs/days/report.html", 1200)},
    "tutorials/agent.md": {"agent": ("audit/report.html", 1200)},
    "quickstart.md": {"training": ("runs/toys/report.html", 2400), "compare": ("compare.html", 1400)},
}
_WIDTH, _COLOURS = 1000, 64
_SCROLLBAR = 15
_GALLERY = ROOT / "docs" / "gallery"


def main(names: list[str]) -> None:
    """Runs the pages and takes a picture of each report, or of those that are named."""
    for page, reports in REPORTS.items():
        wanted = {name: report for name, report in reports.items() if not names or name in names}
        if not wanted:
            continue
        with TemporaryDirectory() as folder:
            run_page(ROOT / "docs" / page, Path(folder))
            for name, (report, height) in wanted.items():
                picture = _picture(Path(folder) / "reader" / report, Path(folder) / f"{name}-profile", height)
                # The reports have few colours: a palette makes a third of the file.
                picture.quantize(_COLOURS).save(_GALLERY / f"{name}.png", optimize=True)


def _picture(report: Path, profile: Path, height: int) -> Image.Image:
    browser = Browser(profile)
    try:
        browser.open(report, width=_WIDTH, height=height)
        png = browser.screenshot()
    finally:
        browser.close()
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    return picture.crop((0, 0, _WIDTH - _SCROLLBAR, height))


if __name__ == "__main__":
    main(sys.argv[1:])
