"""The texts around the places in outputs where the values of calls were read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jepakit.core.packed import offsets
from jepakit.guard.data import Trace
from jepakit.guard.networks.hashing import Texts, word_grams
from jepakit.guard.traces.folding import fold
from jepakit.guard.traces.provenance import Flow, Value
from jepakit.guard.traces.records import Span, records

#: Characters before and after a value; an instruction that frames one mostly stands before it.
_BEFORE, _AFTER = 250, 150
#: Places of a value in outputs that are read.
_PLACES = 6
#: Stands for the value, and in no folded text: which value an attacker chose says nothing about the next attack.
_VALUE = " \x1a "
_BREAK = re.compile(r"\\[nrt]")


@dataclass(frozen=True)
class Windows:
    """Windows of the calls of traces, packed; C calls, V values that were read in outputs, W windows, T distinct texts.

    Values that stand as a whole in the user's or the system's words have no window: who asked for them is known.

    Args:
        calls: C.
        call: of each value, ``[V]`` int64.
        value: of each window, ``[W]`` int64.
        text: of each window, its place among the distinct texts, ``[W]`` int64.
        grams: words and pairs of words of the distinct texts.
    """

    calls: int
    call: Tensor
    value: Tensor
    text: Tensor
    grams: Texts


def windows(traces: Sequence[Trace], flows: Sequence[Flow]) -> Windows:
    """The windows of all calls of traces.

    Args:
        traces: the traces.
        flows: of each, see `jepakit.guard.traces.provenance.data_flow`.
    """
    texts: dict[tuple[str, str], int] = {}
    calls, owner, value_of, text_of = 0, list[int](), list[int](), list[int]()
    for trace, flow in zip(traces, flows, strict=True):
        outputs = {call.id: call.output or "" for call in trace.calls}
        spans = lru_cache(maxsize=None)(records)
        for values in flow.values:
            for value in values or ():
                around = dict.fromkeys(_around(value, outputs, spans))
                value_of += [len(owner)] * len(around)
                text_of += [texts.setdefault(text, len(texts)) for text in around]
                owner += [calls] * bool(around)
            calls += 1
    parts = [_grams(text) for text in texts]
    lengths = torch.tensor([len(part) for part in parts], dtype=torch.long)
    ids = torch.from_numpy(np.concatenate(parts) if parts else np.empty(0, np.int64))
    return Windows(calls, _long(owner), _long(value_of), _long(text_of), Texts(ids, offsets(lengths)))


def _around(value: Value, outputs: dict[str, str], spans: Callable[[str], list[Span]]) -> Iterator[tuple[str, str]]:
    """The texts before and after a value, each within the record that it stands in."""
    if any(read.share >= 1 and read.origin.source != "output" for read in value.reads):
        return
    places = [read.origin for read in value.reads if read.origin.source == "output" and read.origin.start is not None]
    for origin in places[:_PLACES]:
        text = outputs[str(origin.call)]
        begin, end = (0, len(text)) if origin.record is None else spans(text)[origin.record]
        start, stop = int(origin.start or 0), int(origin.end or 0)
        yield text[max(begin, start - _BEFORE) : start], text[stop : min(end, stop + _AFTER)]


@lru_cache(maxsize=1 << 14)
def _grams(window: tuple[str, str]) -> NDArray[np.int64]:
    # A backslash and an n are how an output in JSON breaks a line.
    before, after = (fold(_BREAK.sub(" ", part)).text for part in window)
    return word_grams(f"{before}{_VALUE}{after}")


def _long(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.long)
