"""Batches as a function of (seed, epoch, step), so that an interrupted run can be repeated to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, cast, get_args

import torch
import torch.distributed as dist
from torch import Tensor

from jepakit.core.distributed import alone, is_distributed, own_rows
from jepakit.errors import ConfigError, require_choice

#: What the processes of a training share out, see `EpochLoader`.
Shared = Literal["examples", "views", "nothing"]


class EpochLoader:
    """Shuffles ``size`` examples anew each epoch and makes the views of each batch.

    In a process group every process takes its share of each batch, so ``batch_size`` is the global one. A batch of
    fewer examples than processes is not shared: each process does all of it.

    Args:
        size: number of examples.
        batch_size: examples per optimiser step; the last batch of an epoch may be smaller.
        make_views: ``(indices [B], generator) -> views``; the generator is all the randomness it may use.
        seed: of order and views.
        shared: what the processes share out. ``examples``: each makes the views of its examples, with draws of its own.
            ``views``: each gets the indices of the whole batch and the same generator, and returns the views of its
            `jepakit.core.distributed.own_rows`, so that draws are those of one process. ``nothing``: each does all.

    Raises:
        ConfigError: there are no examples, or the batch size is not positive.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        make_views: Callable[[Tensor, torch.Generator], Any],
        *,
        seed: int = 0,
        shared: Shared = "examples",
    ) -> None:
        if size < 1:
            raise ConfigError("size", size, "at least one example to train on")
        if batch_size < 1:
            raise ConfigError("batch_size", batch_size, "at least 1")
        self.size, self.batch_size, self.make_views, self.seed = size, batch_size, make_views, seed
        self.shared: Shared = shared
        require_choice("shared", shared, get_args(Shared))
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.size / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Call before each epoch: it decides the order and the views."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(self.size, generator=_generator(self.seed, self.epoch, -1))
        for step, indices in enumerate(order.split(self.batch_size)):
            with self.sharing(step):
                views = self._views_of(indices, step)
            yield views

    def sharing(self, step: int) -> AbstractContextManager[None]:
        """The context of views and losses of a step: `jepakit.core.distributed.alone` where it is not shared."""
        examples = min(self.batch_size, self.size - step * self.batch_size)
        shares = self.shared != "nothing" and is_distributed() and examples >= dist.get_world_size()
        return nullcontext() if shares else alone()

    def _views_of(self, indices: Tensor, step: int) -> Any:
        if self.shared == "examples" and is_distributed():
            stream = step * dist.get_world_size() + dist.get_rank()
            return self.make_views(indices[own_rows(len(indices))], _generator(self.seed, self.epoch, stream))
        return self.make_views(indices, _generator(self.seed, self.epoch, step))


class Batches:
    """Any iterable of batches as a loader: a list, a ``DataLoader``, an object that makes them anew on each pass.

    Each pass over the iterable is an epoch. A run that goes on repeats an interrupted one if the passes themselves
    repeat.

    Args:
        batches: the views of each step; an iterator, which can be passed over once only, is refused.
        seed: of dropout and other draws during training.

    Raises:
        ConfigError: it is an iterator, or holds no batch.
    """

    def __init__(self, batches: Iterable[Any], *, seed: int = 0) -> None:
        if isinstance(batches, Iterator):
            expected = "a list, a DataLoader or the like: every epoch is a pass over it, and an iterator has one"
            raise ConfigError("loader", type(batches).__name__, expected)
        self.batches, self.seed = batches, seed
        try:
            self._length = len(batches) if isinstance(batches, Sized) else sum(1 for _ in batches)
        except TypeError:  # a DataLoader over a stream has the method, and no length
            self._length = sum(1 for _ in batches)
        if not self._length:
            raise ConfigError("loader", "no batches", "at least one batch to train on")

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Nothing: the iterable itself decides the order of each pass."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def sharing(self, step: int) -> AbstractContextManager[None]:
        """A context without effect: there is one process."""
        return nullcontext()


def derived_seed(seed: int, epoch: int, step: int) -> int:
    """A seed for one step of one epoch; steps below -1 are for draws once an epoch."""
    # Primes keep the streams of neighbouring epochs and steps apart; a generator takes no more than 63 bits.
    return ((seed * 1_000_003 + epoch) * 1_000_033 + step + 1) % 2**63


def _generator(seed: int, epoch: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, epoch, step))


def to_device(value: Any, device: torch.device) -> Any:
    """The value with every tensor in it on ``device``; Lightning's own function refuses frozen dataclasses."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: to_device(part, device) for key, part in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_device(part, device) for part in cast(list[Any], value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: to_device(getattr(value, f.name), device) for f in fields(value) if f.init})
    return value
