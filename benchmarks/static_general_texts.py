"""The mixed English text that the shipped static encoder is made from: see `benchmarks.static_general`.

Every source is read as data. Sentences that one of the benchmark's collections has, and questions asked of them, are
left out.
"""

from __future__ import annotations

import ast
import json
import re
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from benchmarks.harness import data_dir
from jepakit.datasets.standard_library import no_garbage_collection, parse_source
from jepakit.retrieval import load_dataset
from jepakit.retrieval.ranking import sentences_of
from jepakit.retrieval.static.texts import excerpts

COLLECTIONS = ("scifact", "stackfaq", "medquad", "cranfield")
"""What the encoder is measured on, so that none of it may be read."""
#: The most texts of a source; of the others all.
_MOST = {
    "headwords": 60_000,
    "headwords with definitions": 30_000,
    "sentences of books": 200_000,
    "docstrings": 75_000,
    "descriptions of packages": 10_000,
}
_EXCERPTS = 100_000
_FROM = ("sentences of books", "sentences of abstracts", "docstrings", "definitions")
_MOST_WORDS, _MOST_CHARACTERS, _FEWEST_LETTERS = 60, 400, 0.8
_CODE = re.compile(r">>>|==|\(\)|::|__|http|[{}<>|\\]")


def mixed_texts(wordnet: Path, books: Path, abstracts: Path, *, seed: int = 0) -> list[str]:
    """All texts, all different, in random order.

    Args:
        wordnet: folder of WordNet's database (``data.noun`` and so on).
        books: folder of textbooks in CNXML.
        abstracts: ``ori_pqal.json`` of PubMedQA; its questions are not read.
        seed: of the samples and the order.
    """
    draw = np.random.default_rng(seed)
    sources = {**_wordnet(wordnet), **_books(books)}
    asked = json.loads(abstracts.read_text("utf-8")).values()
    sources["sentences of abstracts"] = _sentences(
        [text for one in asked for text in (*one["CONTEXTS"], one["LONG_ANSWER"])]
    )
    packages = Path(sysconfig.get_paths()["purelib"])
    sources["docstrings"] = _sentences(_docstrings([Path(sysconfig.get_paths()["stdlib"]), packages]))
    sources["descriptions of packages"] = _sentences(_descriptions(packages))
    sources["names of diseases, genes and drugs"] = _names(data_dir() / "kgqa" / "primekg_subset" / "triples_59k.tsv")
    kept: dict[str, list[str]] = {}
    seen, measured = set[str](), _measured()
    for name, texts in sources.items():
        new = [text for text in dict.fromkeys(" ".join(text.split()) for text in texts) if _is_prose(text)]
        new = [text for text in new if text not in seen and _plain(text) not in measured]
        seen.update(new)
        kept[name] = [new[row] for row in draw.permutation(len(new))[: _MOST.get(name, len(new))]]
    runs = excerpts([text for name in _FROM for text in kept[name]], _EXCERPTS, draw)
    texts = list(dict.fromkeys([*(text for some in kept.values() for text in some), *runs]))
    return [texts[row] for row in draw.permutation(len(texts))]


def _wordnet(folder: Path) -> dict[str, list[str]]:
    """Words, what they mean, and the examples of their use."""
    found: dict[str, list[str]] = {"headwords": [], "definitions": [], "examples": [], "headwords with definitions": []}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("latin-1").splitlines():
            if line.startswith("  "):
                continue  # The licence.
            fields, gloss = line.split(" | ", 1)
            columns = fields.split()
            words = columns[4 : 4 + 2 * int(columns[3], 16) : 2]
            words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words]
            meaning = re.sub(r'[;:,]?\s*"[^"]*"?', "", gloss.strip()).strip(" ;")
            found["headwords"] += words
            found["definitions"].append(meaning)
            found["examples"] += re.findall(r'"([^"]+)"', gloss)
            found["headwords with definitions"].append(f"{words[0]}: {meaning}")
    return found


def _books(folder: Path) -> dict[str, list[str]]:
    """Titles, terms and sentences, without formulas."""
    short: list[str] = []
    long: list[str] = []
    for file in sorted(folder.rglob("*.cnxml")):
        for element in ElementTree.parse(file).iter():
            kind = element.tag.rsplit("}", 1)[-1]
            if kind in ("title", "term"):
                short.append("".join(_text_of(element)))
            elif kind in ("para", "item", "meaning"):
                long.append(" ".join("".join(_text_of(element)).split()))
    return {"titles and terms of books": short, "sentences of books": _sentences(long)}


def _text_of(element: ElementTree.Element) -> Iterator[str]:
    if element.tag.endswith("}math"):
        return
    yield element.text or ""
    for child in element:
        yield from _text_of(child)
        yield child.tail or ""


def _docstrings(folders: Iterable[Path]) -> Iterator[str]:
    """Paragraphs of all docstrings but those of tests."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    with no_garbage_collection():
        for file in dict.fromkeys(file for folder in folders for file in sorted(folder.rglob("*.py"))):
            tree = None if "/test" in file.as_posix() else parse_source(file)
            for node in ast.walk(tree) if tree else ():
                if isinstance(node, kinds):
                    yield from _paragraphs(ast.get_docstring(node) or "")


def _descriptions(packages: Path) -> Iterator[str]:
    for file in sorted(packages.glob("*.dist-info/METADATA")):
        yield from _paragraphs(file.read_text("utf-8", "replace").partition("\n\n")[2])


def _names(triples: Path) -> list[str]:
    rows = (line.split("\t") for line in triples.read_text("utf-8").splitlines())
    return [name for row in rows for name in (row[0], row[-1])]


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def _sentences(texts: Iterable[str]) -> list[str]:
    """The sentences; a text of a single one is its own."""
    return [sentence for text in texts for sentence in sentences_of([text])[0] or [text]]


def _measured() -> set[str]:
    """Sentences, titles and questions of the collections, in plain words, of five words or more."""
    found = set[str]()
    for name in COLLECTIONS:
        dataset = load_dataset(name)
        sentences = sentences_of(dataset.documents.texts)[0]
        found.update(map(_plain, [*sentences, *dataset.documents.titles, *dataset.queries.texts]))
    return {text for text in found if len(text.split()) > 4}


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().lower()


def _is_prose(text: str) -> bool:
    if not text or len(text) > _MOST_CHARACTERS or len(text.split()) > _MOST_WORDS or _CODE.search(text):
        return False
    return sum(letter.isalpha() or letter == " " for letter in text) / len(text) > _FEWEST_LETTERS
