"""Keeps the messages of model libraries out of a command's output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from logging.handlers import BufferingHandler
from typing import Any


@contextmanager
def quiet() -> Generator[list[logging.LogRecord]]:
    """Hides progress bars and log messages of transformers and sentence-transformers; yields the messages.

    Earlier settings are restored afterwards. Progress bars of downloads are still shown.
    """
    from transformers.utils.logging import set_tqdm_hook

    handler = BufferingHandler(sys.maxsize)
    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
    hook = set_tqdm_hook(_hidden_bar)
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    try:
        yield handler.buffer
    finally:
        set_tqdm_hook(hook)
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def _hidden_bar(bar: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return bar(*args, **{**options, "disable": True})
