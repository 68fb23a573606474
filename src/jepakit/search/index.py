"""The index of a collection: a folder of vectors, words and documents, searched by either and changed while in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from torch import Tensor

from jepakit.errors import DataError, ModelError
from jepakit.search.documents import Documents
from jepakit.search.filters import Filter
from jepakit.search.generations import Manifest, check_files, publish, read_manifest, writing
from jepakit.search.hits import Hits
from jepakit.search.sentences import Sentences
from jepakit.search.store import DocumentStore
from jepakit.search.vectors import IndexConfig, VectorIndex, Vectors
from jepakit.search.words import BM25Config, LexicalIndex

_VECTORS, _WORDS, _SENTENCES, _DOCUMENTS = "vectors", "words", "sentences", "documents.sqlite"
#: How often a reader looks again when the generation it was about to open has just been replaced.
_ATTEMPTS = 20


class Index:
    """An open index: a snapshot that changes only by its own `add` and `delete`, not by those of other processes.

    A row is the number of a document in one generation. Rows are invalid after `add` or `delete`, and in another open
    index. Several threads may search at once.

    Args:
        folder: folder of the index.
        manifest: content of its manifest.
        vectors: search by vector.
        words: search by word.
        store: the documents.
        sentences: the sentences of each row; None where they are not stored.
    """

    has_words = True

    def __init__(
        self,
        folder: str | Path,
        manifest: Manifest,
        vectors: VectorIndex,
        words: LexicalIndex,
        store: DocumentStore,
        sentences: Sentences | None,
    ) -> None:
        self.folder, self.manifest = Path(folder), manifest
        self._vectors, self._words, self._store, self._sentences = vectors, words, store, sentences

    @classmethod
    def build(
        cls,
        folder: str | Path,
        documents: Documents,
        vectors: Vectors | Iterable[Vectors],
        *,
        base: str,
        fingerprint: str,
        sentences: Sentences | None = None,
        config: IndexConfig | None = None,
        bm25: BM25Config | None = None,
    ) -> Index:
        """Builds an index; an index that is already in the folder is replaced once the new one is complete.

        Args:
            folder: a new or empty folder, or an index.
            documents: the documents.
            vectors: one unit vector for each document, ``[N, D]``, all at once or in blocks of rows.
            base: name of the sentence encoder that made the vectors.
            fingerprint: fingerprint of that encoder and, where it changes documents, of the adapter.
            sentences: sentences of each document, by the same encoder; None: the index stores none.
            config: how vectors are searched.
            bm25: how words are scored.

        Raises:
            DataError: a vector is no unit vector, or their number differs from that of the documents.
            ModelError: the folder cannot be written to, another process is writing there, or the disk is full.
        """
        target = Path(folder).expanduser()
        with writing(target):
            made = VectorIndex.build(vectors, config, names=documents.ids)
            _check_count(documents, made.size)
            _check_sentences(documents, sentences, wanted=sentences is not None)
            words = LexicalIndex.build(documents.passages, bm25)

            def write(partial: Path) -> None:
                _save(partial, made, words, sentences)
                DocumentStore.write(partial / _DOCUMENTS, documents).close()

            _publish(target, write, made, base=base, fingerprint=fingerprint)
        return cls.open(target)

    @classmethod
    def open(cls, folder: str | Path, *, fingerprint: str | None = None) -> Index:
        """Opens an index to search in; vectors and words stay on disk and are mapped into memory.

        Args:
            folder: an index that `build` made.
            fingerprint: fingerprint of the encoder of the queries; None: not compared.

        Raises:
            ModelError: there is no index, a file is damaged, or it was made with another encoder or adapter.
        """
        target = Path(folder).expanduser()
        for _ in range(_ATTEMPTS):
            manifest = read_manifest(target)
            if fingerprint is not None and fingerprint != manifest.fingerprint:
                raise ModelError(
                    f"{target}: the base model or the adapter changed under the index, which holds vectors of "
                    f"{manifest.base} with the fingerprint {manifest.fingerprint!r}, not {fingerprint!r}; "
                    f"build it again (of a retrieval run: jepakit retrieval index RUN)"
                )
            try:
                return cls(target, manifest, *_load(target, manifest))
            except ModelError:
                # A writer may have removed the generation while it was being opened: then there is a newer one.
                if read_manifest(target).generation == manifest.generation:
                    raise
        raise ModelError(f"{target}: is written faster than it can be opened; try again")

    def __len__(self) -> int:
        return self.manifest.documents

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.manifest.dim

    @property
    def base(self) -> str:
        """The name of the encoder that the vectors are from."""
        return self.manifest.base

    @property
    def fingerprint(self) -> str:
        """The fingerprint of that encoder and, where it changes documents, of the adapter."""
        return self.manifest.fingerprint

    @property
    def generation(self) -> int:
        """The number of changes since the index was built."""
        return self.manifest.generation

    @property
    def rows(self) -> int:
        """The number of rows, deleted ones included: the length of a mask of rows."""
        return self.manifest.rows

    @property
    def alive(self) -> np.ndarray:
        """``[rows]`` bool: the rows that hold a document."""
        return self._vectors.alive

    @property
    def sentences(self) -> Sentences | None:
        """The sentences of each row, deleted rows included; None where they are not stored."""
        return self._sentences

    def search_vectors(self, queries: Vectors, k: int, where: Filter | None = None) -> Hits:
        """The documents with the nearest vectors for each query.

        Args:
            queries: unit vectors ``[Q, D]``; a row of zeros has no hits.
            k: hits for each query.
            where: filter on the metadata, see `jepakit.search.filters`; None: all documents.

        Returns:
            `Hits` ``[Q, k]``; scores are cosines.

        Raises:
            DataError: the queries are no unit vectors of this width.
            ConfigError: ``k`` is less than 1, or the filter is not valid.
        """
        return self._vectors.search(queries, k, self._allowed(where))

    def search_words(self, texts: Sequence[str], k: int, where: Filter | None = None) -> Hits:
        """The documents with the highest BM25 for each text; one without any of its words is no hit.

        Args:
            texts: ``Q`` queries.
            k: hits for each query.
            where: as in `search_vectors`.

        Returns:
            `Hits` ``[Q, k]``.

        Raises:
            ConfigError: ``k`` is less than 1, or the filter is not valid.
        """
        return self._words.search(texts, k, self._allowed(where))

    def vectors(self, rows: Tensor | Sequence[int]) -> Tensor:
        """The vectors of some rows, ``[n, D]``.

        Raises:
            DataError: there is no such row.
        """
        return self._vectors.vectors(rows)

    def documents(self, rows: Tensor | Sequence[int]) -> Documents:
        """The documents of some rows, which all differ, in that order.

        Raises:
            DataError: there is no such row, or one occurs twice.
        """
        return self._store.documents([int(row) for row in rows])

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The row of each id.

        Raises:
            DataError: there is no such id; the message has the nearest.
        """
        return self._store.rows(ids)

    def add(self, documents: Documents, vectors: Vectors, sentences: Sentences | None = None) -> None:
        """Adds documents; a document with the id of an existing one replaces it.

        The documents are added to the newest generation on disk, which may be newer than this open index.

        Raises:
            DataError: a vector is no unit vector of this width, or there is not one for each document.
            ModelError: as `build`.
        """
        _check_sentences(documents, sentences, wanted=self._sentences is not None)
        self._change(documents, vectors, sentences, lambda store: sorted(store.find(documents.ids).values()))

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes documents.

        Raises:
            DataError: there is no such id; the message has the nearest.
            ModelError: as `build`.
        """
        self._change(None, None, None, lambda store: sorted(set(store.rows(ids))))

    def close(self) -> None:
        """Closes the file of the documents."""
        self._store.close()

    def _change(
        self,
        added: Documents | None,
        vectors: Vectors | None,
        sentences: Sentences | None,
        deleted: Callable[[DocumentStore], list[int]],
    ) -> None:
        with writing(self.folder):
            now = Index.open(self.folder, fingerprint=self.manifest.fingerprint)
            gone = deleted(now._store)
            first = now.rows
            if added is not None and vectors is not None:
                _check_count(added, len(vectors))
                now._vectors.add(vectors, names=added.ids)
                now._words.add(added.passages)
                if now._sentences is not None and sentences is not None:
                    now._sentences = now._sentences.joined(sentences)
            now._vectors.delete(gone)
            now._words.delete(gone)
            now._publish_changed(gone, added, first)
            now._store.close()
        fresh = Index.open(self.folder)
        self.manifest, self._vectors = fresh.manifest, fresh._vectors
        self._words, self._store, self._sentences = fresh._words, fresh._store, fresh._sentences

    def _publish_changed(self, gone: list[int], added: Documents | None, first: int) -> None:
        sparse = self._vectors.sparse
        vectors = self._vectors.compacted() if sparse else self._vectors
        words = self._words.compacted() if sparse else self._words
        sentences = self._sentences
        if sparse and sentences is not None:
            sentences = sentences.taken(np.flatnonzero(self._vectors.alive))

        def write(partial: Path) -> None:
            _save(partial, vectors, words, sentences)
            file = partial / _DOCUMENTS
            changed = self._store.updated(file, deleted=gone, added=added, first=first)
            if sparse:
                with_gaps = file.rename(partial / "with-gaps.sqlite")
                DocumentStore(with_gaps).compacted(file).close()
                with_gaps.unlink()
            changed.close()

        facts = self.manifest
        _publish(self.folder, write, vectors, base=facts.base, fingerprint=facts.fingerprint)

    def _allowed(self, where: Filter | None) -> np.ndarray | None:
        return None if not where else self._store.where(where, self.rows)


def _publish(
    folder: Path,
    write: Callable[[Path], None],
    vectors: VectorIndex,
    *,
    base: str,
    fingerprint: str,
) -> None:
    def describe(generation: int, files: Mapping[str, int]) -> Manifest:
        return Manifest(
            base=base,
            fingerprint=fingerprint,
            kind=vectors.config.kind,
            dim=vectors.dim,
            documents=len(vectors),
            rows=vectors.size,
            generation=generation,
            files=files,
            jepakit=version("jepakit"),
        )

    publish(folder, write, describe)


def _save(folder: Path, vectors: VectorIndex, words: LexicalIndex, sentences: Sentences | None) -> None:
    for name, part in ((_VECTORS, vectors), (_WORDS, words), (_SENTENCES, sentences)):
        if part is not None:
            (folder / name).mkdir()
            part.save(folder / name)


def _load(folder: Path, manifest: Manifest) -> tuple[VectorIndex, LexicalIndex, DocumentStore, Sentences | None]:
    generation = check_files(folder, manifest)
    vectors = VectorIndex.load(generation / _VECTORS)
    words = LexicalIndex.load(generation / _WORDS)
    store = DocumentStore(generation / _DOCUMENTS)
    # Which files there are is in the manifest, and checked: a folder that is not there was never written.
    kept = (generation / _SENTENCES).is_dir()
    sentences = Sentences.load(generation / _SENTENCES) if kept else None
    counts = {len(vectors), len(words), len(store), manifest.documents}
    if len(counts) > 1 or vectors.size != words.size or (sentences is not None and len(sentences) != words.size):
        raise ModelError(f"{generation}: damaged (its vectors, words, sentences and documents differ in number)")
    return vectors, words, store, sentences


def _check_count(documents: Documents, vectors: int) -> None:
    if vectors != len(documents):
        raise DataError(
            "not one vector for each document", field="vectors", value=vectors, expected=str(len(documents))
        )


def _check_sentences(documents: Documents, sentences: Sentences | None, *, wanted: bool) -> None:
    if wanted and (sentences is None or len(sentences) != len(documents)):
        value = None if sentences is None else len(sentences)
        expected = f"those of each of the {len(documents)} documents"
        raise DataError("not the sentences of each document", field="sentences", value=value, expected=expected)
    if sentences is not None and not wanted:
        expected = "None: the index keeps no sentences; build it again to have them"
        raise DataError("sentences for an index without", field="sentences", value=len(sentences), expected=expected)
