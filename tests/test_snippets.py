"""Every code block of the README, the docs and CONTRIBUTING is executed: what they show works.

The blocks of a page run in order, in one empty folder: Python blocks share a namespace, console blocks are the user's
own commands. A block below the comment ``<!-- skip: reason -->`` is left out.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import pytest

from jepakit import core
from jepakit.graph import PRESETS
from jepakit.graph.masking import Strategy
from jepakit.graph.networks.encoding import Encoding
from jepakit.graph.networks.layers import LAYERS
from processes import LIMIT, start_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXECUTED = ("python", "console", "bash")
# What is shown and not run: directives of Sphinx, formulas, and text that is no code.
SHOWN = ("text", "yaml", "html")

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\S*)$")
_SKIP = re.compile(r"\s*<!-- skip: (?P<reason>.+) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its first line in the page (from 1), its text, and why it is left out."""

    language: str
    line: int
    code: str
    skip: str | None


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.splitlines()
    start, language = None, ""
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if start is None:
            start, language = number, fence["language"]
            continue
        above = next((text for text in reversed(lines[:start]) if text.strip()), "")
        skip = _SKIP.fullmatch(above)
        code = dedent("\n".join(lines[start + 1 : number]) + "\n")
        found.append(Block(language, start + 2, code, skip["reason"] if skip else None))
        start = None
    assert start is None, f"the block that begins in line {start} has no end"
    return found


def commands_of(block: Block) -> list[list[str]]:
    """The words of each command of a console block: lines after ``$``, joined where they end with a backslash."""
    text = block.code.replace("\\\n", " ")
    return [shlex.split(line[2:]) for line in text.splitlines() if line.startswith("$ ")]


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    # Empty lines before the code make a traceback name the line of the page.
    source = "\n" * (block.line - 1) + block.code
    exec(compile(source, str(page), "exec"), namespace)


def run_console(block: Block, page: Path, log: Path) -> None:
    commands = commands_of(block)
    assert commands, f"{page.name}:{block.line}: no line begins with '$ '"
    for words in commands:
        assert words[0] == "jepakit", f"{page.name}:{block.line}: {words[0]} is not run here: say why with skip"
        process = start_command(words[1:], log)
        process.join(LIMIT)
        output = f"{page.name}:{block.line}: {shlex.join(words)}\n{log.read_text()}"
        code = process.exitcode
        process.kill()
        assert code == 0, output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    monkeypatch.chdir(folder)
    # Without it, the classes that a page defines would have no module.
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page.read_text("utf-8")):
        if block.skip is None and block.language == "python":
            run_python(block, page, namespace)
        elif block.skip is None and block.language in EXECUTED:
            run_console(block, page, tmp_path / "log")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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
