"""Every code block of the README, the docs and CONTRIBUTING is executed: what they show works.

The blocks of a page run in order, in one empty folder: Python blocks share a namespace, console blocks are the user's
own commands. A block below the comment ``<!-- skip: reason -->`` is left out.
"""

import re
from pathlib import Path
from typing import get_args

import pytest

from jepakit import core
from jepakit.graph import PRESETS
from jepakit.graph.masking import Strategy
from jepakit.graph.networks.encoding import Encoding
from jepakit.graph.networks.layers import LAYERS
from snippets import EXECUTED, Block, blocks_of, commands_of, run_page, run_python

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Those that run in `test_tutorials`.
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
# What is shown and not run: directives of Sphinx, formulas, and text that is no code.
SHOWN = ("text", "yaml", "html")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_no_block_escapes_for_want_of_a_language(page: Path) -> None:
    for block in blocks_of(page.read_text("utf-8")):
        known = block.language in (*EXECUTED, *SHOWN) or block.language.startswith("{")
        assert known, f"{page.name}:{block.line}: a block in {block.language or 'no language'!r}"


def test_the_guides_name_every_choice() -> None:
    guides = "".join((ROOT / "docs" / f"{name}.md").read_text("utf-8") for name in ("objective", "graph", "METHODS"))
    tables = (core.LOSSES, core.TARGETS, core.PREDICTORS, core.REGULARIZERS)
    choices = [
        *core.__all__,
        *(name for table in tables for name in table),
        *PRESETS,
        *LAYERS,
        *get_args(Strategy),
        *get_args(Encoding),
    ]
    # What they are made of, not what a user chooses among.
    internal = {"Embeddings", "Loss", "Target", "Diagnosis", "PREDICTION_WIDTHS"}
    quoted = " ".join(re.findall(r"`[^`\n]+`", guides))
    words = set(re.findall(r"[\w-]+", quoted))
    assert {choice for choice in choices if choice not in words} - internal == set()


def test_the_readme_has_blocks_that_run() -> None:
    run = [block for block in blocks_of(PAGES[0].read_text("utf-8")) if block.skip is None]
    assert sum(block.language == "python" for block in run) >= 2


def test_blocks_are_found_with_their_lines_and_reasons() -> None:
    page = "a\n\n```python\nx = 1\n```\n\n<!-- skip: slow -->\n```console\n$ jepakit graph \\\n    embed 'a b'\n```\n"
    first, second = blocks_of(page)
    assert first == Block("python", 4, "x = 1\n", None)
    assert second.skip == "slow"
    assert commands_of(second) == [["jepakit", "graph", "embed", "a b"]]


def test_a_block_inside_a_list_is_dedented() -> None:
    (block,) = blocks_of("1. first\n\n   ```python\n   if True:\n       y = 2\n   ```\n")
    assert block.code == "if True:\n    y = 2\n"


def test_a_failing_block_names_its_line_of_the_page() -> None:
    (block,) = blocks_of("one\n\n```python\nok = 1\nraise ValueError\n```\n")
    with pytest.raises(ValueError) as caught:
        run_python(block, Path("page.md"), {})
    assert caught.traceback[-1].lineno + 1 == 5
