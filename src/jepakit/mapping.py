"""Work on many things, one after another here, or by the workers of Ray: ``mapped(work, items)`` of the built-in `map`.

What is done is the same. Each item goes to one call of ``work``, results come in the order of the items, and the first
error in that order is raised, so the place of the work decides how long it takes and nothing else::

    with mapping(ray=True) as mapped:
        vectors = encoder.embed(graphs, mapped=mapped)
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from jepakit.errors import ConfigError, JepakitError, in_one_line, requires_extra

if TYPE_CHECKING:
    from ray import ObjectRef

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Items that the workers have at a time: more would fill the memory of a machine that reads them from a stream.
_WINDOW_ITEMS, _WINDOW_BYTES = 4096, 1 << 28
#: Parts of a window for each processor: a worker that is killed loses one, and slow parts are few.
_PARTS_PER_CPU = 4
_CONNECT_SECONDS = 10.0


class Map(Protocol):
    """The built-in `map` with one iterable, or what does the same elsewhere."""

    def __call__(self, work: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """The results of ``work``, in the order of the items."""
        ...


@contextmanager
def mapping(*, ray: bool) -> Generator[Map]:
    """The built-in `map`, or with ``ray`` one whose work is done by Ray Data.

    Ray runs on the cluster that the environment variable RAY_ADDRESS names, else on the processors of this machine
    until the block ends; a session of Ray that this program has already is used as it is. Ray does again what a killed
    worker has not finished. Work, items and results are pickled on their way.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no cluster at RAY_ADDRESS.
    """
    if not ray:
        yield map
        return
    with _session():
        yield _map_on_ray


@contextmanager
def _session() -> Generator[None]:
    # Else Ray reports what is done with it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with requires_extra("ray"):
        import ray
        from ray.data import DataContext
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    DataContext.get_current().enable_progress_bars = False
    DataContext.get_current().execution_options.preserve_order = True
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    try:
        _reach(address)
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        expected = f"the address of a running Ray cluster, or nothing for this machine ({in_one_line(error)})"
        raise ConfigError("RAY_ADDRESS", address, expected) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raises OSError where nothing answers at ``HOST:PORT``, which Ray itself finds out in two minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


def _map_on_ray(work: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
    import ray
    from ray.cloudpickle.cloudpickle import loads
    from ray.data import from_items

    parts = _PARTS_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    where = ray.put(work)
    for window in _windows(items):
        # As bytes, because Ray Data would make arrays of tensors and lists.
        rows = [{"item": item} for item in window]
        done = from_items(rows, override_num_blocks=min(len(rows), parts)).map(cast(Any, _done), fn_args=(where,))
        for row in done.iter_rows():
            result, error = loads(row["result"])
            if error is not None:
                raise error
            yield result


def _windows(items: Iterable[object]) -> Iterator[list[bytes]]:
    """The items, pickled, as many at a time as the workers have."""
    from ray.cloudpickle.cloudpickle import dumps

    window, size = list[bytes](), 0
    for item in items:
        window.append(dumps(item))
        size += len(window[-1])
        if len(window) == _WINDOW_ITEMS or size >= _WINDOW_BYTES:
            yield window
            window, size = [], 0
    if window:
        yield window


def _done(row: dict[str, bytes], work: ObjectRef[Callable[[Any], Any]]) -> dict[str, bytes]:
    """In a worker: the pickled result, or the error that the work raised on purpose."""
    from ray.cloudpickle.cloudpickle import dumps, loads

    try:
        result = _fetched(work)(loads(row["item"])), None
    except JepakitError as error:
        result = None, error
    return {"result": dumps(result)}


@lru_cache(maxsize=1)
def _fetched(work: ObjectRef[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """The work, with its model if it has one: a worker reads it once, not for each item."""
    import ray

    return ray.get(work)
