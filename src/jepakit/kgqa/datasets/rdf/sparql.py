"""The triples behind a SPARQL 1.1 endpoint, fetched relation by relation in pages.

The endpoint first counts its triples by relation. Then each relation is fetched in pages (``ORDER BY``, ``LIMIT``,
``OFFSET``) until as many rows have come as were counted. Many public endpoints cut replies at a number of rows without
saying so: where a page is shorter than was asked, the next one starts where it ended. Fewer triples than were counted
are an error, never a silently smaller graph.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jepakit.errors import ConfigError, DataError, in_one_line, require_at_least
from jepakit.kgqa.data import KnowledgeGraph
from jepakit.kgqa.datasets.rdf.files import LABELS, TEXTS, graph_of_statements

if TYPE_CHECKING:
    from pyoxigraph import NamedNode, QuerySolution

    from jepakit.kgqa.datasets.rdf.files import Statement

_RESULTS = "application/sparql-results+json"
_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class SparqlConfig:
    """How an endpoint is asked.

    Args:
        page: rows of a reply that are asked for.
        timeout: seconds until a reply must be there, all of it.
        largest: triples of a graph that is fetched, at most; copy a larger one as a file.
        reply_bytes: of one reply, at most.
    """

    page: int = 10_000
    timeout: int = 120
    largest: int = 20_000_000
    reply_bytes: int = 1 << 28

    def __post_init__(self) -> None:
        require_at_least(self, page=1, timeout=1, largest=1, reply_bytes=1)


def load_sparql(url: str, *, literals: bool = False, config: SparqlConfig | None = None) -> KnowledgeGraph:
    """The graph behind an endpoint: its default graph, by the table in `jepakit.kgqa.datasets.rdf.files`.

    Triples with blank nodes are left out, because their names change from one reply to the next.

    Args:
        url: of the endpoint, ``http`` or ``https``.
        literals: whether values such as dates are entities too.
        config: sizes and times.

    Raises:
        ConfigError: the address is none of the web.
        DataError: the endpoint cannot be reached, is too slow, answers with an error or something that is no result of
            SPARQL, cuts a reply off, has more triples than are fetched, or gives fewer than it has counted. The message
            names the address.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("graph", url, "the address of a SPARQL endpoint, http://... or https://...")
    endpoint = _Endpoint(url, config or SparqlConfig())
    return graph_of_statements(parts.hostname, endpoint.statements(literals), literals=literals)


@dataclass(frozen=True)
class _Endpoint:
    url: str
    config: SparqlConfig

    def statements(self, literals: bool) -> Iterator[Statement]:
        texts = ", ".join(f"<{one}>" for one in (*LABELS, *TEXTS))
        fetched = f"!isBlank(?s) && !isBlank(?o){'' if literals else f' && (!isLiteral(?o) || ?p IN ({texts}))'}"
        counts = self._counts(fetched)
        total = sum(counts.values())
        if total > self.config.largest:
            expected = f"at most {self.config.largest}; fetch a copy of the data as a file"
            raise DataError("more triples than are fetched", file=self.url, value=total, expected=expected)
        for relation, count in counts.items():
            yield from self._pages(relation, fetched, count)

    def _counts(self, fetched: str) -> dict[NamedNode, int]:
        """Triples of each relation, by its name."""
        rows = self.ask(f"SELECT ?p (COUNT(*) AS ?n) WHERE {{ ?s ?p ?o FILTER({fetched}) }} GROUP BY ?p")
        counts: dict[NamedNode, int] = {}
        for row in rows:
            relation, number = row["p"], row["n"]
            # An empty graph may be one group without a relation.
            if relation is not None:
                counts[relation] = _number(number, self.url)
        return {relation: counts[relation] for relation in sorted(counts, key=str)}

    def _pages(self, relation: NamedNode, fetched: str, count: int) -> Iterator[Statement]:
        arrived = 0
        while arrived < count:
            wanted = f"SELECT ?s ?o WHERE {{ ?s {relation} ?o BIND({relation} AS ?p) FILTER({fetched}) }}"
            rows = self.ask(f"{wanted} ORDER BY ?s ?o LIMIT {self.config.page} OFFSET {arrived}")
            if not rows:
                expected = (
                    f"the {count} that it has counted; read it while its data do not change, or load a copy from a file"
                )
                raise DataError(
                    "the endpoint gave too few triples",
                    file=self.url,
                    field=str(relation.value),
                    value=arrived,
                    expected=expected,
                )
            for row in rows:
                yield row["s"], relation, row["o"]
            arrived += len(rows)

    def ask(self, query: str) -> list[QuerySolution]:
        """The rows that a query gives."""
        import pyoxigraph

        content = self._reply(query)
        try:
            found = pyoxigraph.parse_query_results(content, pyoxigraph.QueryResultsFormat.JSON)
            rows = list(found) if isinstance(found, pyoxigraph.QuerySolutions) else None
        except SyntaxError as error:
            raise self._no_result(in_one_line(error), content) from error
        finally:
            # It must be dropped by the thread that has made it; an error would keep it with this frame.
            found = None
        if rows is None:
            raise self._no_result("a yes or no, not rows", content)
        return rows

    def _no_result(self, problem: str, content: bytes) -> DataError:
        start = content[:60].decode("utf-8", "replace")
        problem = f"the reply is cut off, or no result of SPARQL ({problem})"
        return DataError(problem, file=self.url, value=start, expected=_RESULTS)

    def _reply(self, query: str) -> bytes:
        body = urllib.parse.urlencode({"query": query}).encode()
        headers = {"Accept": _RESULTS, "Content-Type": "application/x-www-form-urlencoded", "User-Agent": "jepakit"}
        request = urllib.request.Request(self.url, body, headers)
        try:
            return self._read(request)
        except urllib.error.HTTPError as error:
            with error:
                said = " ".join(error.read(300).decode("utf-8", "replace").split())
            raise DataError(
                f"the endpoint answered {error.code} {error.reason}", file=self.url, value=said or None
            ) from error
        except TimeoutError as error:
            raise self._slow() from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, TimeoutError):
                raise self._slow() from error
            raise DataError(
                f"the endpoint cannot be reached, or has cut the reply off ({in_one_line(_as_error(reason))})",
                file=self.url,
                expected="the address of a SPARQL endpoint that is up",
            ) from error

    def _read(self, request: urllib.request.Request) -> bytes:
        # The timeout of a socket is one of each block: an endpoint that sends a byte a second would never end.
        end = time.monotonic() + self.config.timeout
        content = bytearray()
        with urllib.request.urlopen(request, timeout=self.config.timeout) as response:
            while block := response.read1(_BLOCK_BYTES):
                content += block
                if time.monotonic() > end:
                    raise self._slow()
                if len(content) > self.config.reply_bytes:
                    expected = f"at most {self.config.reply_bytes} bytes; ask for smaller pages"
                    raise DataError("the reply is too large", file=self.url, expected=expected)
            stated = response.headers.get("Content-Length")
        if stated is not None and stated.isdigit() and int(stated) != len(content):
            raise http.client.IncompleteRead(bytes(content[:0]), int(stated) - len(content))
        return bytes(content)

    def _slow(self) -> DataError:
        expected = f"a reply within {self.config.timeout} s; ask for smaller pages, or fetch a copy as a file"
        return DataError("the endpoint is too slow", file=self.url, expected=expected)


def _as_error(reason: str | BaseException) -> BaseException:
    return reason if isinstance(reason, BaseException) else OSError(reason)


def _number(term: object, url: str) -> int:
    value = getattr(term, "value", "")
    if not str(value).isdigit():
        raise DataError("the reply is no result of SPARQL", file=url, value=value, expected="a count")
    return int(value)
