"""A collection of Milvus.

The address is ``milvus://host:19530?collection=docs`` (``milvuss://`` for TLS), or, for Milvus Lite, which one process
at a time can open, ``milvus:/folder/docs.db?collection=docs``. The token of a server is read from the environment
variable ``MILVUS_TOKEN``. Options:

- ``collection``: its name
- ``title``, ``text``, ``vector``: its fields (``title``, ``text``, ``vector``); without the field ``title``, titles are
  empty
- ``metadata``: a field of the type JSON, at which filters look (``metadata``)
- ``encoder``: a field that says in each entity which encoder its vector is from (``encoder``)
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from jepakit.errors import ConfigError, DataError, JepakitError, ModelError
from jepakit.search.engines.database import Address, Database, Record, client_module, closed_on_error, simple_metadata
from jepakit.search.filters import Conditions

_OPTIONS = {
    "collection": None,
    "title": "title",
    "text": "text",
    "vector": "vector",
    "metadata": "metadata",
    "encoder": "encoder",
}
#: Bytes of a text, and hits of a search: the most that Milvus takes.
_MOST_BYTES, _MOST_HITS = 65_535, 16_384
#: Seconds to wait for a server.
_PATIENCE = 10


class Milvus(Database):
    """Opened by `jepakit.search.collection.open_collection`.

    Args:
        client: of ``pymilvus``.
        address: with the names of collection and fields.

    Raises:
        ConfigError: the collection lacks a field that was named.
        ModelError: there is no such collection, or the server does not answer.
    """

    def __init__(self, client: Any, address: Address) -> None:
        super().__init__(f"{address}, collection {address.options['collection']}", 0)
        self._client, self._address, self._options = client, address, address.options
        self._collection = address.options["collection"]
        with _explained(self.name):
            if not client.has_collection(self._collection):
                raise ModelError(f"{self.name}: there is no such collection")
            client.load_collection(self._collection)
            fields = {field["name"]: field for field in client.describe_collection(self._collection)["fields"]}
        for option in ("text", "vector", "title", "metadata", "encoder"):
            named = address.options[option]
            if named not in fields and (option in ("text", "vector") or named != _OPTIONS[option]):
                raise ConfigError(f"index: {option}", named, f"a field of the collection: {', '.join(sorted(fields))}")
        key = next(field for field in fields.values() if field.get("is_primary"))
        self._key, self._numbers_as_ids = key["name"], int(key["type"]) == 5
        self._there = {option for option in _OPTIONS if address.options[option] in fields}
        self.dim = int(fields[address.options["vector"]]["params"]["dim"])
        if "encoder" in self._there:
            with _explained(self.name):
                first = client.query(self._collection, filter="", limit=1, output_fields=[address.options["encoder"]])
            recorded = json.loads(first[0][address.options["encoder"]]) if first else None
            if recorded is not None:
                self.base, self.fingerprint = str(recorded["base"]), str(recorded["fingerprint"])

    @classmethod
    def open(cls, address: str, *, fingerprint: str | None) -> Milvus:
        """Connects, and looks at the collection."""
        read = Address.of(address, _OPTIONS)
        client = _client(read)
        with closed_on_error(partial(_close, client, read)):
            collection = cls(client, read)
            collection.require(fingerprint)
        return collection

    @classmethod
    def create(cls, address: str, *, dim: int, base: str, fingerprint: str) -> Milvus:
        """Makes an empty collection with an index of Milvus' own choice."""
        read = Address.of(address, _OPTIONS)
        client, name = _client(read), read.options["collection"]
        types = client_module("pymilvus", "pymilvus", "milvus").DataType
        with closed_on_error(partial(_close, client, read)):
            with _explained(f"{read}, collection {name}"):
                if client.has_collection(name):
                    raise ConfigError("index: collection", name, "a collection that is not there yet")
                schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
                schema.add_field("id", types.VARCHAR, max_length=_MOST_BYTES, is_primary=True)
                for option in ("title", "text", "encoder"):
                    schema.add_field(read.options[option], types.VARCHAR, max_length=_MOST_BYTES)
                schema.add_field(read.options["metadata"], types.JSON)
                schema.add_field(read.options["vector"], types.FLOAT_VECTOR, dim=dim)
                index = client.prepare_index_params()
                index.add_index(read.options["vector"], index_type="AUTOINDEX", metric_type="COSINE")
                client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
            collection = cls(client, read)
        collection.base, collection.fingerprint = base, fingerprint
        return collection

    def __len__(self) -> int:
        with _explained(self.name):
            return int(self._client.query(self._collection, filter="", output_fields=["count(*)"])[0]["count(*)"])

    def close(self) -> None:
        """Closes the connection, and in Milvus Lite the file, for all that this process has open there."""
        _close(self._client, self._address)

    def _nearest(self, query: np.ndarray, k: int, conditions: Conditions) -> list[tuple[str, float]]:
        if k > _MOST_HITS:
            raise ConfigError("k", k, f"at most {_MOST_HITS}, the most that Milvus finds")
        with _explained(self.name):
            (hits,) = self._client.search(
                self._collection,
                [query.tolist()],
                anns_field=self._options["vector"],
                filter=self._expression(conditions),
                limit=k,
                output_fields=[self._key],
                search_params={"metric_type": "COSINE"},
            )
        return [(str(hit["entity"][self._key]), float(hit["distance"])) for hit in hits]

    def _read(self, ids: Sequence[str], *, with_vectors: bool) -> dict[str, Record]:
        wanted = ["title", "text", "metadata"] + ["vector"] * with_vectors
        fields = [self._key, *(self._options[option] for option in wanted if option in self._there)]
        with _explained(self.name):
            found = self._client.query(self._collection, filter=self._one_of(ids), output_fields=fields)
        records: dict[str, Record] = {}
        for entity in found:
            values = {option: entity.get(self._options[option]) for option in wanted}
            vector = values.get("vector")
            records[str(entity[self._key])] = Record(
                title=values["title"] or "",
                text=values["text"] or "",
                metadata=simple_metadata(values["metadata"]),
                vector=None if vector is None else np.array(vector),
            )
        return records

    def _write(self, records: Mapping[str, Record]) -> None:
        entities: list[dict[str, Any]] = []
        for name, record in records.items():
            if len(record.text.encode("utf-8", "surrogatepass")) > _MOST_BYTES:
                expected = f"at most {_MOST_BYTES} bytes, the most that Milvus takes; split the document"
                raise DataError("the text is too long", field="text", value=name, expected=expected)
            values = {
                "title": record.title,
                "text": record.text,
                "metadata": dict(record.metadata),
                "vector": [] if record.vector is None else record.vector.tolist(),
                "encoder": json.dumps({"base": self.base, "fingerprint": self.fingerprint}),
            }
            entity = {self._options[option]: value for option, value in values.items() if option in self._there}
            entities.append({self._key: int(name) if self._numbers_as_ids else name, **entity})
        with _explained(self.name):
            self._client.upsert(self._collection, entities)

    def _remove(self, ids: Sequence[str]) -> None:
        with _explained(self.name):
            self._client.delete(self._collection, filter=self._one_of(ids))

    def _one_of(self, ids: Sequence[str]) -> str:
        values = [int(name) for name in ids if name.isdecimal()] if self._numbers_as_ids else ids
        return f"{self._key} in [{', '.join(_literal(value) for value in values)}]"

    def _expression(self, conditions: Conditions) -> str:
        clauses: list[str] = []
        for field, condition in conditions.items():
            if "metadata" not in self._there:
                raise ConfigError("filter", field, f"no filter: {self.name} has no field of the type JSON for metadata")
            entry = f"{self._options['metadata']}[{_literal(field)}]"
            if isinstance(condition, Mapping):
                clauses += [f"({entry} {sign} {_literal(bound)})" for sign, bound in condition.items()]
            else:
                clauses.append("(" + " or ".join(f"{entry} == {_literal(value)}" for value in condition) + ")")
        return " and ".join(clauses)


def _literal(value: str | float) -> str:
    """As Milvus' language of filters writes it."""
    return json.dumps(value, ensure_ascii=False)


def _client(address: Address) -> Any:
    module = client_module("pymilvus", "pymilvus", "milvus")
    parts = address.parts
    with _explained(str(address)):
        if not parts.netloc:
            client_module("milvus_lite", "milvus-lite", "milvus")
            return module.MilvusClient(parts.path)
        uri = address.url("https" if parts.scheme == "milvuss" else "http")
        return module.MilvusClient(uri, token=os.environ.get("MILVUS_TOKEN", ""), timeout=_PATIENCE)


def _close(client: Any, address: Address) -> None:
    client.close()
    if not address.parts.netloc:
        # Milvus Lite keeps the file locked until the process ends.
        manager = client_module("milvus_lite.server_manager", "milvus-lite", "milvus")
        manager.server_manager_instance.release_server(address.parts.path)


@contextmanager
def _explained(name: str) -> Generator[None]:
    """Turns the client's errors into ours."""
    faults = client_module("pymilvus.exceptions", "pymilvus", "milvus")
    try:
        yield
    except JepakitError:
        raise
    except (faults.MilvusException, OSError, RuntimeError, ValueError) as error:
        message = getattr(error, "message", None) or str(error)
        raise ModelError(f"{name}: {' '.join(str(message).split())[:300]}") from error
