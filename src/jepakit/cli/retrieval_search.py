"""``jepakit retrieval search``: torch is imported where the base model is used; a static encoder takes less time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.text import Text

from jepakit.cli.interactive import answer_lines, is_interactive
from jepakit.cli.messages import say
from jepakit.cli.outcome import Outcome
from jepakit.cli.reading import Command
from jepakit.search.filters import parse_filter
from jepakit.search.found import Found
from jepakit.search.generations import read_manifest
from jepakit.search.static.encoder import STATIC
from jepakit.search.static.searcher import Mode, StaticSearcher

if TYPE_CHECKING:
    from jepakit.retrieval.serving.rerank import CrossEncoderReranker
    from jepakit.retrieval.serving.searcher import Searcher
    from jepakit.text import TextEncoder
    from jepakit.training import RunFolder

QueryEncoder = Literal["static", "transformer"]
RUN = Path("runs/retrieval")
#: Documents that a cross-encoder puts in order.
RERANKED = 50


@dataclass
class SearchOptions:
    """Searching a run's index.

    Args:
        query: what is asked; without one, queries are read line by line until Ctrl-D.
        run: folder of a finished run.
        index: another folder, or a database: ``postgresql://user@host/db?table=docs``, ``qdrant://host:6333?collection=docs``,
            ``milvus://host:19530?collection=docs``; by default the run's own index.
        k: how many documents.
        mode: ``dense``, ``words``, or ``fused`` as the held-out pairs had it.
        where: conditions on metadata, such as ``[lang=en|de, year>=2020]``.
        query_encoder: ``static`` answers familiar queries by the run's static encoder, where it has one;
            ``transformer`` answers all by the base model.
        rerank: a cross-encoder, by id or folder, that puts the first 50 in order.
        interactive: read queries line by line where no person sits at a terminal either.
    """

    query: str | None = None
    run: Path = RUN
    index: str | None = None
    k: int = 5
    mode: Mode = "fused"
    where: list[str] = field(default_factory=list)
    query_encoder: QueryEncoder = "static"
    rerank: str | None = None
    interactive: bool = False


def run_search(options: SearchOptions, out: Console) -> Outcome:
    """Searches and prints the hits, for one query or for one after another."""
    many = is_interactive("query", options.query, asked_for=options.interactive)
    with ExitStack() as stack:
        search = _Search(options, out, stack)

        def answer(query: str) -> Outcome:
            hits = search(query)
            if not hits:
                say(out, "nothing found")
            for rank, document in enumerate(hits, start=1):
                out.print(_shown(rank, document), soft_wrap=True)
            return Outcome({"query": query, "hits": [asdict(document) for document in hits]})

        if many:
            search.open()
            return answer_lines(answer, out)
        return answer(options.query or "")


class _Search:
    """A run's index, and what encodes queries: opened when it is first needed, closed with the stack."""

    def __init__(self, options: SearchOptions, out: Console, stack: ExitStack) -> None:
        self._options, self._out, self._stack = options, out, stack
        self._where = parse_filter(options.where)

    def open(self) -> None:
        """Opens what the first query would open."""
        if self._static is None:
            _ = self._searcher

    def __call__(self, query: str) -> Sequence[Found]:
        """The hits, best first."""
        options, hits = self._options, None
        k = options.k if options.rerank is None else max(options.k, RERANKED)
        if self._static is not None:
            hits = self._static.search(query, k, mode=options.mode, where=self._where or None)
            if hits is None:
                say(self._out, "an unfamiliar query: it is encoded by the base model")
        if hits is None:
            (hits,) = self._searcher.search([query], k, mode=options.mode, where=self._where)
        return hits if self._reranker is None else self._reranker.rerank(query, hits, options.k)

    @cached_property
    def _static(self) -> StaticSearcher | None:
        """None where the run has no static encoder or leaves all to the base, or the index is of another kind."""
        run = self._options.run
        if self._options.query_encoder == "transformer" or self._options.index is not None:
            return None
        if not (run / STATIC).is_dir():
            return None
        if read_manifest(run / "index").kind != "exact":
            return None
        searcher = StaticSearcher.open(run)
        self._stack.enter_context(closing(searcher.store))
        return None if searcher.encoder.gate.closed else searcher

    @cached_property
    def _searcher(self) -> Searcher:
        from jepakit.cli.retrieval import saved_options
        from jepakit.cli.runs import trained_run
        from jepakit.retrieval.adapter.stage import base_of
        from jepakit.text import load_cached_encoder

        run = trained_run(self._options.run)
        encoder = load_cached_encoder(base_of(run, saved_options(run).text))
        static = self._options.query_encoder == "static"
        searcher = open_searcher(run, encoder, self._options.index, self._out, static=static)
        self._stack.enter_context(closing(searcher.index))
        return searcher

    @cached_property
    def _reranker(self) -> CrossEncoderReranker | None:
        if self._options.rerank is None:
            return None
        from jepakit.retrieval.serving.rerank import CrossEncoderReranker

        return CrossEncoderReranker(self._options.rerank)


def open_searcher(run: RunFolder, encoder: TextEncoder, index: str | None, out: Console, *, static: bool) -> Searcher:
    """`Searcher.open`, and prints its notes."""
    from jepakit.retrieval.serving.searcher import Searcher

    searcher = Searcher.open(run.path, index=index, encoder=encoder, static=static)
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


COMMANDS: dict[str, Command] = {
    "search": Command(SearchOptions, run_search, ("run", "query"), run_first=True, json=True)
}
