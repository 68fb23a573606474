"""``jepakit retrieval search``: torch is imported where the base model is used; a static encoder takes less time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from jepakit.cli.messages import say
from jepakit.cli.reading import Command
from jepakit.errors import ConfigError
from jepakit.search.filters import parse_filter
from jepakit.search.found import Found
from jepakit.search.generations import read_manifest
from jepakit.search.static.encoder import STATIC
from jepakit.search.static.searcher import Mode, StaticSearcher

if TYPE_CHECKING:
    from jepakit.retrieval.serving.searcher import Searcher
    from jepakit.text import TextEncoder
    from jepakit.training import RunFolder

RUN = Path("runs/retrieval")
#: Documents that a cross-encoder puts in order.
RERANKED = 50


@dataclass
class SearchOptions:
    """Searching a run's index.

    Args:
        query: what is asked.
        run: folder of a finished run.
        index: another folder, or a database: ``postgresql://user@host/db?table=docs``, ``qdrant://host:6333?collection=docs``,
            ``milvus://host:19530?collection=docs``; by default the run's own index.
        k: how many documents.
        mode: ``dense``, ``words``, or ``fused`` as the held-out pairs had it.
        where: conditions on metadata, such as ``[lang=en|de, year>=2020]``.
        rerank: a cross-encoder, by id or folder, that puts the first 50 in order.
    """

    query: str | None = None
    run: Path = RUN
    index: str | None = None
    k: int = 5
    mode: Mode = "fused"
    where: list[str] = field(default_factory=list)
    rerank: str | None = None


def run_search(options: SearchOptions, out: Console) -> None:
    """Searches and prints the hits."""
    if not options.query:
        raise ConfigError("query", options.query, "what to search for")
    k = options.k if options.rerank is None else max(options.k, RERANKED)
    hits = _by_static_encoder(options, options.query, k, out)
    if hits is None:
        hits = _by_base_model(options, options.query, k, out)
    if options.rerank is not None:
        from jepakit.retrieval.serving.rerank import CrossEncoderReranker

        hits = CrossEncoderReranker(options.rerank).rerank(options.query, hits, options.k)
    if not hits:
        say(out, "nothing found")
    for rank, document in enumerate(hits, start=1):
        out.print(_shown(rank, document), soft_wrap=True)


def _by_static_encoder(options: SearchOptions, query: str, k: int, out: Console) -> Sequence[Found] | None:
    """The hits; None where the run has no static encoder, it does not know the query, or the index is another kind."""
    if options.index is not None or not (options.run / STATIC).is_dir():
        return None
    if read_manifest(options.run / "index").kind != "exact":
        return None
    searcher = StaticSearcher.open(options.run)
    with closing(searcher.store):
        hits = searcher.search(query, k, mode=options.mode, where=parse_filter(options.where) or None)
    if hits is None:
        say(out, "an unfamiliar query: it is encoded by the base model")
    return hits


def _by_base_model(options: SearchOptions, query: str, k: int, out: Console) -> Sequence[Found]:
    from jepakit.cli.retrieval import saved_options
    from jepakit.cli.runs import trained_run
    from jepakit.retrieval.adapter.stage import base_of, text_encoder

    run = trained_run(options.run)
    with text_encoder(base_of(run, saved_options(run).text), show=False) as encoder:
        searcher = open_searcher(run, encoder, options.index, out)
        with closing(searcher.index):
            (hits,) = searcher.search([query], k, mode=options.mode, where=parse_filter(options.where))
    return hits


def open_searcher(run: RunFolder, encoder: TextEncoder, index: str | None, out: Console) -> Searcher:
    """`Searcher.open`, and prints its notes."""
    from jepakit.retrieval.serving.searcher import Searcher

    searcher = Searcher.open(run.path, index=index, encoder=encoder)
    for note in searcher.notes:
        say(out, f"{shown_place(index or run.path / 'index')}: {note}")
    return searcher


def shown_place(place: str | Path) -> str:
    """Without a user's name and password."""
    return re.sub(r"//[^/@]*@", "//", str(place))


def _shown(rank: int, document: Found, limit: int = 300) -> Text:
    text = " ".join(document.text.split())
    head = f"{rank:2}. {document.title or document.id}"
    score = f"  {document.score:.3f}  {document.id}\n"
    return Text.assemble((head, "bold"), (score, "dim"), "    ", text[:limit] + ("…" if len(text) > limit else ""))


COMMANDS: dict[str, Command] = {"search": Command(SearchOptions, run_search, ("run", "query"), run_first=True)}
