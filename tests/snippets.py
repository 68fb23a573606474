"""The fenced blocks of a page of the documentation, and running them."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from processes import LIMIT, start_command

EXECUTED = ("python", "console", "bash")

_FENCE = re.compile(r"(?P<indent> *)```(?P<language>\S*)$")
_SKIP = re.compile(r"\s*<!-- skip: (?P<reason>.+) -->")
_NUMBER = re.compile(r"[-+−]?\d[\d.,]*(e[-+]?\d+)?")


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
    return [words for words, _ in shown_by(block)]


def shown_by(block: Block) -> list[tuple[list[str], str]]:
    """The words of each command of a console block, and the output that stands below it."""
    text = "\n" + block.code.replace("\\\n", " ")
    parts = [part.partition("\n") for part in text.split("\n$ ")[1:]]
    return [(shlex.split(command), output) for command, _, output in parts]


def missing_output(shown: str, printed: str) -> str | None:
    """The first part of an output that a page shows and that was not printed, in its order; None: all was.

    Numbers, white space and the frames of tables do not count; ``…`` stands for what is left out.
    """
    rest = _comparable(printed)
    for part in map(_comparable, shown.split("…")):
        place = rest.find(part)
        if place < 0:
            return part
        rest = rest[place + len(part) :]
    return None


def _comparable(text: str) -> str:
    return "".join(_NUMBER.sub("0", re.sub(r"[─-╿]", " ", text)).split())


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    """Runs a block of Python."""
    # Empty lines before the code make a traceback name the line of the page.
    source = "\n" * (block.line - 1) + block.code
    exec(compile(source, str(page), "exec"), namespace)


def run_console(block: Block, page: Path, log: Path, servers: ExitStack) -> None:
    """Runs the commands of a block; one that ends with ``&`` is a server, which ``servers`` ends."""
    commands = shown_by(block)
    assert commands, f"{page.name}:{block.line}: no line begins with '$ '"
    for words, shown in commands:
        place = f"{page.name}:{block.line}: {shlex.join(words)}"
        errors = log.with_suffix(".errors")
        for file in (log, errors):
            file.write_text("")
        if words[-1] == "&":
            servers.enter_context(_served(words[1:-1], log.with_suffix(".server"), place))
            continue
        if words[0] == "curl":
            result = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
            printed, code = result.stdout, result.returncode
        else:
            assert words[0] == "jepakit", f"{place}: is not run here: say why with skip"
            process = start_command(words[1:], log, errors=errors)
            process.join(LIMIT)
            printed, code = log.read_text("utf-8"), process.exitcode
            process.kill()
        assert code == 0, f"{place}\n{printed}\n{errors.read_text('utf-8')}"
        missing = missing_output(shown, printed)
        assert missing is None, f"{place}\n{printed}\nshown and not printed: {missing}"


def run_page(page: Path, folder: Path) -> None:
    """Runs the blocks of a page in ``reader`` of a folder, which is empty; what they print is kept beside it."""
    reader, log = folder / "reader", folder / "log"
    reader.mkdir()
    text = page.read_text("utf-8")
    # The port that pages name may be in use here.
    text = text.replace("8765", str(_free_port()))
    # Without it, the classes that a page defines would have no module.
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with chdir(reader), ExitStack() as servers:
        for block in blocks_of(text):
            if block.skip is None and block.language == "python":
                run_python(block, page, namespace)
            elif block.skip is None and block.language in EXECUTED:
                run_console(block, page, log, servers)


@contextmanager
def _served(words: list[str], log: Path, place: str) -> Generator[None]:
    process = start_command(words, log)
    port = int(words[words.index("--port") + 1])
    end = time.monotonic() + LIMIT
    while not _listens(port):
        assert process.is_alive(), f"{place}\n{log.read_text('utf-8')}"
        assert time.monotonic() < end, f"{place}: does not listen"
        time.sleep(0.1)
    try:
        yield
        process.terminate()
        process.join(LIMIT)
        assert process.exitcode is not None, f"{place}: does not end"
    finally:
        process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
