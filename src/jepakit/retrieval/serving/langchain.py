"""A search as a retriever of LangChain."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jepakit.errors import ConfigError, MissingExtraError
from jepakit.retrieval.serving.searcher import Mode, Searcher, require_search
from jepakit.search.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever


def langchain_retriever(
    searcher: Searcher, *, k: int = 10, mode: Mode = "fused", where: Filter | None = None
) -> BaseRetriever:
    """A LangChain retriever: ``invoke``, ``ainvoke``, ``batch``, and a part of chains.

    ``page_content`` is the text of a document. ``id``, ``title`` and ``score`` are added to its metadata and replace
    fields of the same names. Arguments are those of `Searcher.search`; ``invoke(query, k=1)`` and its like replace
    them for one call.

    Raises:
        ConfigError: ``k`` is less than 1, or no such mode.
        MissingExtraError: langchain-core is not installed.
    """
    require_search(k, mode)
    return _retriever_class()(searcher=searcher, k=k, mode=mode, where=where)


@cache
def _retriever_class() -> Callable[..., BaseRetriever]:
    """Defines the class on first use, so that LangChain is imported only then."""
    try:
        from langchain_core.documents import Document
        from langchain_core.retrievers import BaseRetriever
        from langchain_core.runnables.config import run_in_executor
    except ModuleNotFoundError as error:
        raise MissingExtraError("langchain-core", "langchain") from error

    class JepakitRetriever(BaseRetriever):
        """The documents that a `Searcher` finds."""

        searcher: Searcher
        k: int
        mode: Mode
        where: Any

        def _get_relevant_documents(
            self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
        ) -> list[Document]:
            return self._found(query, options)

        async def _aget_relevant_documents(
            self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
        ) -> list[Document]:
            return await run_in_executor(None, self._found, query, options)

        def _found(self, query: str, options: dict[str, Any]) -> list[Document]:
            given: dict[str, Any] = {"k": self.k, "mode": self.mode, "where": self.where}
            # LangChain passes its own option on.
            options.pop("verbose", None)
            for name in options.keys() - given:
                raise ConfigError(name, options[name], "k, mode or where")
            chosen = given | options
            require_search(chosen["k"], chosen["mode"])
            (answer,) = self.searcher.search([query], **chosen)
            return [
                Document(
                    id=found.id,
                    page_content=found.text,
                    metadata={**found.metadata, "id": found.id, "title": found.title, "score": found.score},
                )
                for found in answer
            ]

    return JepakitRetriever
