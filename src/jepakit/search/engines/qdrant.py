"""A collection of Qdrant.

The address is ``qdrant://host:6333?collection=docs`` (``qdrants://`` for TLS), or ``qdrant:/folder?collection=docs``
for the client's local mode, which one process at a time can open. A server's key is read from the environment variable
``QDRANT_API_KEY``. Options:

- ``collection``: its name
- ``title``, ``text``: fields of the payload (``title``, ``text``)
- ``vector``: the name of the vector, where points have several
- ``metadata``: the field of the payload that holds what filters look at; without it the other fields are looked at

A document's id is that of its point. Qdrant takes numbers and UUIDs only: in collections that `create` made, a point's
UUID is computed from the document's id, which the field ``id`` holds.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from jepakit.errors import ConfigError, JepakitError, ModelError
from jepakit.search.engines.database import Address, Database, Record, client_module, closed_on_error, simple_metadata
from jepakit.search.filters import Conditions

_OPTIONS = {"collection": None, "title": "title", "text": "text", "vector": "", "metadata": ""}
_NAMESPACE = uuid.UUID("0b2f9cb0-6f0b-5d4e-9d6c-6a1d5a3c7e11")
#: Seconds to wait for a server.
_PATIENCE = 10


class Qdrant(Database):
    """Opened by `jepakit.search.collection.open_collection`.

    Args:
        client: of ``qdrant_client``.
        address: with the names of collection and fields.

    Raises:
        ConfigError: the collection has no such vector, or compares vectors by another measure than the cosine.
        ModelError: there is no such collection, or the server does not answer.
    """

    def __init__(self, client: Any, address: Address) -> None:
        super().__init__(f"{address}, collection {address.options['collection']}", 0)
        self._client, self._models = client, _models()
        self._collection, self._title, self._text = (address.options[n] for n in ("collection", "title", "text"))
        self._vector = address.options["vector"] or None
        with _explained(self.name):
            if not client.collection_exists(self._collection):
                raise ModelError(f"{self.name}: there is no such collection")
            config = client.get_collection(self._collection).config
        parameters = config.params.vectors
        if isinstance(parameters, Mapping) or self._vector:
            known: list[str] = list(parameters) if isinstance(parameters, Mapping) else []
            if self._vector not in known:
                raise ConfigError("index: vector", self._vector, f"a vector of the collection: {', '.join(known)}")
            parameters = parameters[self._vector]
        self.dim = int(parameters.size)
        if parameters.distance not in (self._models.Distance.COSINE, self._models.Distance.DOT):
            raise ConfigError("index: collection", self._collection, "one that compares by cosine or inner product")
        recorded = (config.metadata or {}).get("jepakit")
        # Only collections that `create` made hold ids in the payload, and metadata in a field of its own.
        self._own = recorded is not None
        self._metadata = address.options["metadata"] or ("metadata" if self._own else "")
        if recorded is not None:
            self.base, self.fingerprint = str(recorded["base"]), str(recorded["fingerprint"])

    @classmethod
    def open(cls, address: str, *, fingerprint: str | None) -> Qdrant:
        """Connects, and looks at the collection."""
        read = Address.of(address, _OPTIONS)
        client = _client(read)
        with closed_on_error(client.close):
            collection = cls(client, read)
            collection.require(fingerprint)
        return collection

    @classmethod
    def create(cls, address: str, *, dim: int, base: str, fingerprint: str) -> Qdrant:
        """Makes an empty collection."""
        read, models = Address.of(address, _OPTIONS), _models()
        client, name = _client(read), read.options["collection"]
        with closed_on_error(client.close):
            with _explained(f"{read}, collection {name}"):
                if client.collection_exists(name):
                    raise ConfigError("index: collection", name, "a collection that is not there yet")
                parameters = models.VectorParams(size=dim, distance=models.Distance.COSINE)
                vector = read.options["vector"]
                client.create_collection(
                    name,
                    vectors_config={vector: parameters} if vector else parameters,
                    metadata={"jepakit": {"base": base, "fingerprint": fingerprint}},
                )
            return cls(client, read)

    def __len__(self) -> int:
        with _explained(self.name):
            return int(self._client.count(self._collection, exact=True).count)

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def _nearest(self, query: np.ndarray, k: int, conditions: Conditions) -> list[tuple[str, float]]:
        with _explained(self.name):
            points = self._client.query_points(
                self._collection,
                query=query.tolist(),
                using=self._vector,
                query_filter=self._filter(conditions),
                limit=k,
                with_payload=["id"] if self._own else False,
            ).points
        return [(self._id_of(point), float(point.score)) for point in points]

    def _read(self, ids: Sequence[str], *, with_vectors: bool) -> dict[str, Record]:
        points = [point for name in ids if (point := self._point_of(name)) is not None]
        vectors: Any = ([self._vector] if self._vector else True) if with_vectors else False
        with _explained(self.name):
            read = self._client.retrieve(self._collection, points, with_payload=True, with_vectors=vectors)
        return {self._id_of(point): self._record(point) for point in read}

    def _record(self, point: Any) -> Record:
        payload: dict[str, Any] = point.payload or {}
        vector = point.vector[self._vector] if self._vector and point.vector else point.vector
        others = {name: value for name, value in payload.items() if name not in (self._title, self._text)}
        return Record(
            title=str(payload.get(self._title) or ""),
            text=str(payload.get(self._text) or ""),
            metadata=simple_metadata(payload.get(self._metadata) if self._metadata else others),
            vector=None if vector is None else np.array(vector),
        )

    def _write(self, records: Mapping[str, Record]) -> None:
        points: list[Any] = []
        for name, record in records.items():
            point = self._point_of(name)
            if point is None:
                raise ConfigError("ids", name, "numbers or UUIDs, or a collection that jepakit made")
            payload = {self._title: record.title, self._text: record.text}
            payload |= {"id": name} if self._own else {}
            payload |= {self._metadata: dict(record.metadata)} if self._metadata else dict(record.metadata)
            vector = [] if record.vector is None else record.vector.tolist()
            vectors = {self._vector: vector} if self._vector else vector
            points.append(self._models.PointStruct(id=point, vector=vectors, payload=payload))
        with _explained(self.name):
            self._client.upsert(self._collection, points, wait=True)

    def _remove(self, ids: Sequence[str]) -> None:
        with _explained(self.name):
            self._client.delete(self._collection, [self._point_of(name) for name in ids], wait=True)

    def _point_of(self, name: str) -> int | str | None:
        """The id of the point; None where there can be none."""
        if self._own:
            return str(uuid.uuid5(_NAMESPACE, name.encode("utf-8", "surrogatepass").hex()))
        try:
            return int(name) if name.isdecimal() else str(uuid.UUID(name))
        except ValueError:
            return None

    def _id_of(self, point: Any) -> str:
        return str((point.payload or {}).get("id", point.id)) if self._own else str(point.id)

    def _filter(self, conditions: Conditions) -> Any:
        models = self._models
        return models.Filter(must=[self._condition(field, value) for field, value in conditions.items()]) or None

    def _condition(self, field: str, condition: Any) -> Any:
        models, key = self._models, self._key(field)
        if isinstance(condition, Mapping):
            if any(isinstance(bound, str) for bound in condition.values()):
                raise ConfigError(f"filter.{field}", dict(condition), "bounds that are numbers: Qdrant orders no texts")
            names = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}
            bounds = models.Range(**{names[sign]: bound for sign, bound in condition.items()})
            return models.FieldCondition(key=key, range=bounds)
        choices: list[Any] = []
        for value in condition:
            if isinstance(value, str | bool):
                choices.append(models.FieldCondition(key=key, match=models.MatchValue(value=value)))
            else:
                choices.append(models.FieldCondition(key=key, range=models.Range(gte=value, lte=value)))
        return models.Filter(should=choices)

    def _key(self, field: str) -> str:
        if not field or '"' in field or "\\" in field:
            raise ConfigError("filter", field, "a field whose name has no quotes and no backslashes")
        name = json.dumps(field, ensure_ascii=False)
        return f"{self._metadata}.{name}" if self._metadata else name


def _client(address: Address) -> Any:
    module = client_module("qdrant_client", "qdrant-client", "qdrant")
    parts = address.parts
    with _explained(str(address)):
        if not parts.netloc:
            return module.QdrantClient(path=parts.path)
        url = address.url("https" if parts.scheme == "qdrants" else "http")
        key = os.environ.get("QDRANT_API_KEY")
        return module.QdrantClient(url=url, api_key=key, timeout=_PATIENCE, check_compatibility=False)


def _models() -> Any:
    return client_module("qdrant_client.models", "qdrant-client", "qdrant")


@contextmanager
def _explained(name: str) -> Generator[None]:
    """Turns the client's errors into ours; its local mode raises those of Python."""
    faults = client_module("qdrant_client.http.exceptions", "qdrant-client", "qdrant")
    try:
        yield
    except JepakitError:
        raise
    except (faults.ApiException, OSError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(f"{name}: {' '.join(lines[:4]) or type(error).__name__}") from error
