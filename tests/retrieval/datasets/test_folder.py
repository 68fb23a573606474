"""Folders of files as corpora: what is read, where it is cut, ids that stay; and sentences, words and chunks."""

import json
import re
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepakit.errors import ConfigError, DataError, MissingExtraError
from jepakit.retrieval.datasets import load_dataset
from jepakit.retrieval.datasets.chunks import Block, chunk, sentence_spans, word_spans
from jepakit.retrieval.datasets.folder import load_folder
from jepakit.retrieval.datasets.outline import html_outline, markdown_outline
from jepakit.retrieval.datasets.splits import ensure_splits
from jepakit.retrieval.measuring.comparison import measure
from jepakit.search.documents import Documents
from jepakit.search.hits import Hits

GUIDE = """---
title: Not the title
---
A badge.

# The *Guide* to `tea` {#top}

Water first.

## Brewing

Boil it.

```sh
# not a heading

echo "## nor this"
```

### Green [tea](https://x.org)

At 70 degrees.

Storage
-------

- in the dark
- dry
---

<!--
# an old heading
-->
## Brewing

Again.
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def rows(documents: Documents) -> list[tuple[str, str, str]]:
    return list(zip(documents.ids, documents.titles, documents.texts, strict=True))


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def test_markdown_by_hand(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path / "docs", a__guide_md=GUIDE))
    title = "The Guide to tea"
    code = '```sh\n# not a heading\n\necho "## nor this"\n```'
    assert rows(dataset.documents) == [
        ("a/guide.md", title, "A badge.\n\nWater first."),
        ("a/guide.md#brewing", f"{title} › Brewing", f"Boil it.\n\n{code}"),
        ("a/guide.md#brewing/green-tea", f"{title} › Brewing › Green tea", "At 70 degrees."),
        ("a/guide.md#storage", f"{title} › Storage", "- in the dark\n- dry\n---"),
        ("a/guide.md#brewing-2", f"{title} › Brewing", "Again."),
    ]
    assert dataset.documents.source == ("a/guide.md",) * 5
    assert dataset.documents.metadata[0] == {"path": "a/guide.md", "title": title, "heading": ""}
    assert dataset.documents.metadata[2] == {"path": "a/guide.md", "title": title, "heading": "Green tea"}
    assert (dataset.name, dataset.splits, len(dataset.queries), dataset.labelled) == ("docs", {}, 0, False)


def test_html_by_hand(tmp_path: Path) -> None:
    page = """<?xml version="1.0"?><html><head><title>Tea &mdash; a site</title><style>h1 {}</style>
    <script>var x = "<p>no</p>";</script></head><body><nav><h2>Menu</h2>Home</nav>
    <h1>All about <em>tea</em><a href="#x">¶</a></h1>Caf&eacute; &amp; <b>tea</b>
    house<p>One<br>two<div>three<p>four</p>five</div><!-- no -->
    <h2>Table</h2><table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table><pre>
if x:
    y
</pre></body></html>"""
    documents = load_dataset(write(tmp_path, page_HTM=page, bare_html="<p>No <i>heading</i> here")).documents
    assert rows(documents) == [
        ("bare.html", "bare", "No heading here"),
        ("page.HTM", "All about tea", "Café & tea house\n\nOne\ntwo\n\nthree\n\nfour\n\nfive"),
        ("page.HTM#table", "All about tea › Table", "a b\n\nc\n\nif x:\n    y"),
    ]


def test_titles_without_one_heading_of_level_1() -> None:
    two = "# One\n\na\n\n# Two\n\n## Deep\n\nb"
    assert markdown_outline(two).title == ""
    assert [section.headings for section in markdown_outline(two).sections] == [("One",), ("Two", "Deep")]
    assert markdown_outline(f"---\ntitle: 'Front'\n---\n{two}").title == "Front"
    assert html_outline("<title>Page</title><h2>One</h2>a").title == "Page"
    assert [s.headings for s in html_outline("<h1>A</h1>x<h1>B</h1>y").sections] == [("A",), ("B",)]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# a\n~~~\n# b\n````",  # a fence ends with its own kind, at least as long
        "~~~~\n# a\n~~~\n# b",  # and one that never ends goes to the end
        "    # indented code",
        "#no-space",
        "####### seven",
        "a\nb\n---",
        "| a |\n---",
        "- a\n---",
        "<!-- # a\n# b --> c",
    ],
)
def test_what_is_no_heading(text: str) -> None:
    assert [section.headings for section in markdown_outline(text).sections] == [()]


def test_other_text_files_are_cut_by_paragraphs_alone(tmp_path: Path) -> None:
    text = "# no heading\r\n\r\nOne.\r\n \r\nTwo."
    documents = load_dataset(write(tmp_path, notes_txt=text, a_rst="Title\n=====\n\nText.")).documents
    assert rows(documents) == [
        ("a.rst", "a", "Title\n=====\n\nText."),
        ("notes.txt", "notes", "# no heading\n\nOne.\n\nTwo."),
    ]


def test_ids_of_other_sections_stay_when_one_is_edited(tmp_path: Path) -> None:
    paragraph = "Word after word after word goes by. " * 5

    def ids(middle: str) -> tuple[str, ...]:
        text = f"# T\n\n## A\n\n{paragraph}\n\n{paragraph}\n\n{middle}\n\n## C\n\n{paragraph}\n\n{paragraph}"
        return load_folder(write(tmp_path, t_md=text), words=40, overlap=0).documents.ids

    before = ids(f"## B\n\n{paragraph}")
    assert before == ("t.md#a", "t.md#a:2", "t.md#b", "t.md#c", "t.md#c:2")
    after = ids(f"## New\n\n{paragraph}\n\n## B\n\n{paragraph * 3}\n\n### A\n\nx")
    assert set(before) < set(after)
    assert len(after) == len(set(after)) == 9


def test_equal_headings_never_share_an_id(tmp_path: Path) -> None:
    text = "\n\n".join(f"## {heading}\n\ntext" for heading in ("Usage", "Usage", "Usage 2", "🎉", "使い方", "usage!"))
    documents = load_dataset(write(tmp_path, t_md=text)).documents
    assert [name.partition("#")[2] for name in documents.ids] == [
        *("usage", "usage-2", "usage-2-2", "section", "使い方", "usage-3")
    ]


def test_which_files_are_read(tmp_path: Path) -> None:
    write(tmp_path / "docs", b_md="b", a__z_MARKDOWN="z", _git__x_md="no", a___y_md="no", c_py="no", d_htm="d")
    write(tmp_path / "elsewhere", far_md="far")
    (tmp_path / "docs/loop").symlink_to(tmp_path / "docs")
    (tmp_path / "docs/0-alias").symlink_to(tmp_path / "docs/a")
    (tmp_path / "docs/0-same.md").symlink_to(tmp_path / "docs/b.md")
    (tmp_path / "docs/broken.md").symlink_to(tmp_path / "docs/gone.md")
    (tmp_path / "docs/linked").symlink_to(tmp_path / "elsewhere")
    assert load_dataset(tmp_path / "docs").documents.ids == ("a/z.MARKDOWN", "b.md", "d.htm", "linked/far.md")


def test_files_without_text_are_skipped_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, a_md="", b_txt="\ufeff \n", c_html="<script>x</script>", d_md="# only a heading", e_md="text")
    assert load_dataset(tmp_path).documents.ids == ("e.md",)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: 4 files without text are skipped: a.md, b.txt, c.html, d.md"
    ]


def test_faults(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("x")
    with pytest.raises(DataError, match=r"no files that can be read; expected \.md, .*\.htm, or corpus\.jsonl"):
        load_dataset(tmp_path)
    write(tmp_path, a_md="\n")
    with pytest.raises(DataError, match=r"no text in any of the files \(found \['a\.md'\]\)"):
        load_dataset(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(DataError, match=r"b\.txt:1: not UTF-8 text \(.* at byte 3\); expected a file saved as UTF-8"):
        load_dataset(tmp_path)


def test_deeply_nested_pages() -> None:
    assert html_outline("<div>" * 5000 + "deep").sections[0].blocks == (Block("deep"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He left. "Why?" she said. (He knew.) So', ["He left.", '"Why?" she said.', "(He knew.)", "So"]),
        ("Dr. J. R. Smith, e.g. Fig. 3 of the U.S. Army et al. Found 3.5 kg.", None),
        ("the ratio is 2.5 . the rest follows . end", ["the ratio is 2.5 .", "the rest follows .", "end"]),
        ("今日は晴れ。明日は「雨。」そうだ！本当？", ["今日は晴れ。", "明日は「雨。」", "そうだ！", "本当？"]),
        ("A list:\n- one\n- two\n1. three\nstill three", ["A list:", "- one", "- two", "1. three\nstill three"]),
        ("no stop here\n\nnor here", ["no stop here", "nor here"]),
        ("Ends etc. and goes on. end", None),
        ("Wait... What?! Yes", ["Wait...", "What?!", "Yes"]),
        (" \n ", []),
    ],
)
def test_sentences_by_hand(text: str, expected: list[str] | None) -> None:
    assert sentences(text) == ([text] if expected is None else expected)


def test_words_by_hand() -> None:
    text = "naïve café-bar 東京へ " + "x" * 85
    assert [text[a:b] for a, b in word_spans(text)] == ["naïve", "café-bar", *"東京へ", "x" * 40, "x" * 40, "x" * 5]


def test_chunks_by_hand() -> None:
    cut = partial(chunk, words=6, overlap=2)
    blocks = [Block("One two."), Block("Three four. Five."), Block("A b. C d. E f. G h. I.")]
    # The first two fit; the third is too long for any chunk, so its sentences fill up what there is.
    assert cut(blocks) == ["One two.\n\nThree four. Five.", "Five.\n\nA b. C d.", "C d. E f. G h.", "G h. I."]
    assert cut([Block("a b c d e f g h i j")]) == ["a b c d e f", "e f g h i j"]
    assert cut([Block("a b c\nd e\n\nf g", code=True)]) == ["a b c\nd e", "d e\n\nf g"]
    assert cut([]) == []


def test_a_paragraph_is_whole_where_it_can_be() -> None:
    """It starts a chunk of its own, repeating nothing if it has no room for that."""
    blocks = [Block("One two three. Four."), Block("A b c. D e f.")]
    assert chunk(blocks, words=6, overlap=2) == ["One two three. Four.", "A b c. D e f."]
    assert chunk(blocks, words=7, overlap=2) == ["One two three. Four.", "Four.\n\nA b c. D e f."]


@given(
    texts=st.lists(st.text(st.sampled_from("ab .。\n字X-"), max_size=60), max_size=5),
    words=st.integers(1, 12),
    overlap=st.integers(0, 11),
    code=st.booleans(),
)
@settings(max_examples=300)
def test_chunks_hold_every_word_once_in_order(texts: list[str], words: int, overlap: int, code: bool) -> None:
    blocks = [Block(text, code) for text in texts]
    overlap = min(overlap, words - 1)
    whole = "\n\n".join(texts)
    # Each is a slice that goes on where the one before ended, but for what it repeats; equal words have several places.
    ends = {0}
    for piece in chunk(blocks, words=words, overlap=overlap):
        assert 0 < len(word_spans(piece)) <= words
        starts = [match.start() for match in re.finditer(f"(?={re.escape(piece)})", whole)]
        ends = {
            start + len(piece)
            for start in starts
            for end in ends
            if start + len(piece) > end
            and not whole[end:start].strip()
            and len(word_spans(whole[start:end])) <= overlap
        }
    assert any(not whole[end:].strip() for end in ends)


@given(text=st.text(st.sampled_from("aB .!?。」\n-1字"), max_size=80))
@settings(max_examples=300)
def test_sentences_hold_every_character_once_in_order(text: str) -> None:
    spans = sentence_spans(text)
    assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())
    assert all(a < b <= c for (a, b), (c, _) in pairwise(spans))
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)


@pytest.mark.parametrize(("words", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_faults_of_the_configuration(words: int, overlap: int) -> None:
    with pytest.raises(ConfigError, match=r"words = 0|overlap = (10|-1): expected 0 to 9"):
        chunk([], words=words, overlap=overlap)


def test_html_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a_md="text")
    monkeypatch.setitem(sys.modules, "bs4", None)
    assert load_dataset(tmp_path).documents.ids == ("a.md",)
    write(tmp_path, b_html="text")
    with pytest.raises(MissingExtraError, match=r"beautifulsoup4 is not installed; .*jepakit\[retrieval\]"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("heading", ["# Page\n\n", ""])
def test_a_pair_may_name_a_page(heading: str, tmp_path: Path) -> None:
    """Thirty pages of several pieces: a search that finds some piece of each page is perfect, in any splits."""
    folder = tmp_path / "pages"
    folder.mkdir()
    for page in range(30):
        sections = "".join(f"## Part {part}\n\nword{page} and part{part} of it.\n\n" for part in range(4))
        (folder / f"page{page}.md").write_text(f"{heading}Start of page{page}.\n\n{sections}")
    pairs = tmp_path / "pairs.jsonl"
    named = [{"query": f"what is word{page}", "document": f"page{page}.md"} for page in range(30)]
    named.append({"query": "one part", "document": load_folder(folder).documents.ids[2]})
    pairs.write_text("".join(json.dumps(row) + "\n" for row in named))
    dataset = load_dataset(folder, pairs=pairs)
    found, documents = dataset.splits["all"], dataset.documents
    assert len(found) == len(documents) + 1
    named_pages = zip(found.query.tolist(), found.document.tolist(), strict=True)
    assert all(documents.source[row] == f"page{query}.md" for query, row in named_pages if query < 30)
    queries = found.queries
    last = torch.tensor([[int(found.document[found.query == query].max())] for query in range(31)])
    measured = measure(Hits(last, torch.ones(31, 1)), queries, found)
    assert all((values == 1).all() for values in measured.values.values())
    splits = ensure_splits(dataset).splits.values()
    assert sum(len({documents.source[row] for row in part.document.tolist()}) for part in splits) == 30
