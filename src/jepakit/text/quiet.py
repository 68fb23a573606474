"""What the model libraries say while they load is no part of a command's output."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["quiet"]


@contextmanager
def quiet() -> Generator[list[str]]:
    """Keeps bars and remarks of transformers and sentence-transformers back; yields the list that gets the remarks.

    Whatever was set before is set again afterwards. The bars of a download are left alone.
    """
    from transformers.utils.logging import set_tqdm_hook

    said: list[str] = []
    handler = _Collector(said)
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    hook = set_tqdm_hook(_hidden_bar)
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    try:
        yield said
    finally:
        set_tqdm_hook(hook)
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def _hidden_bar(bar: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return bar(*args, **{**options, "disable": True})


class _Collector(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
